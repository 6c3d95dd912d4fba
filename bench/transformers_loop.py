#!/usr/bin/env python3
"""Training speed of a plain transformers + torch.optim.AdamW loop: what ours is measured against.

    transformers_loop.py --model DIR --corpus C.h5 [--steps 6] [--warmup 1] [--batch 8] [--max-tokens 512] [--threads 2] [--dtype fp32]

Rows in file order, --batch at a time, padded to the longest of the batch; loss on trained tokens only; gradients clipped to
norm 1. bf16: weights, gradients and moments in bf16 (the shortest loop one would write). Prints one JSON object:
tokens_per_second (non-padding tokens / seconds, warm-up steps left out), step_seconds, losses, peak_memory_bytes (VmHWM).
"""
import argparse
import json
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--steps", type=int, default=6, help="timed steps")
    parser.add_argument("--warmup", type=int, default=1, help="steps before them")
    parser.add_argument("--first-row", type=int, default=0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--fused", action="store_true", help="AdamW(fused=True)")
    return parser.parse_args()


def padded_batch(torch, corpus, rows, max_tokens):
    """input_ids, attention_mask, labels [rows, longest]."""
    spans = []
    for row in rows:
        begin, end = (int(x) for x in corpus["offsets"][row:row + 2])
        spans.append((begin, min(end, begin + max_tokens)))
    longest = max(end - begin for begin, end in spans)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, (begin, end) in enumerate(spans):
        tokens = torch.from_numpy(corpus["tokens"][begin:end]).long()
        trained = torch.from_numpy(corpus["trained"][begin:end]).bool()
        ids[i, :end - begin], mask[i, :end - begin] = tokens, 1
        labels[i, :end - begin] = torch.where(trained, tokens, -100)
    return ids, mask, labels


def peak_memory():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def main():
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when torch is loaded
    import h5py
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).train()
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    norms = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}],
                                  lr=args.lr, betas=(0.9, 0.95), fused=args.fused or None)
    corpus = h5py.File(args.corpus, "r", locking=False)
    count = len(corpus["offsets"]) - 1
    seconds, tokens, padding, losses = [], [], [], []
    for step in range(args.warmup + args.steps):
        begin = time.perf_counter()
        first = (args.first_row + step * args.batch) % count
        ids, mask, labels = padded_batch(torch, corpus, range(first, min(first + args.batch, count)), args.max_tokens)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
        tokens.append(int(mask.sum()))
        padding.append(mask.numel() - tokens[-1])
    timed = slice(args.warmup, None)
    print(json.dumps({
        "program": "transformers", "torch": torch.__version__, "transformers": transformers.__version__, "dtype": args.dtype,
        "threads": torch.get_num_threads(), "batch": args.batch, "max_tokens": args.max_tokens, "fused": args.fused,
        "parameters": sum(p.numel() for p in model.parameters()), "tokens_per_second": sum(tokens[timed]) / sum(seconds[timed]),
        "tokens": sum(tokens[timed]), "padding_tokens": sum(padding[timed]), "step_seconds": [round(x, 3) for x in seconds[timed]],
        "losses": [round(x, 4) for x in losses], "peak_memory_bytes": peak_memory()}))


if __name__ == "__main__":
    main()
