#!/usr/bin/env python3
"""Greedy continuations of given lengths by transformers' `generate` in fp32: what bench/generate_speed.sh measures ours against.

    transformers_generate.py --model DIR --prompts P.jsonl --batch N [--ours O.jsonl] [--items N] [--attention sdpa] [--cache dynamic] [--threads 2]

P: {"prompt_ids", "new_tokens"} a line, fed --batch at a time, in their order, padded on the left; O: what generate_loop wrote. A
row ends at its length, a batch with its last row. Prints one JSON object: seconds, tokens, tokens_per_second, equal (the same as O's).
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
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--ours")
    parser.add_argument("--items", type=int, help="the first ones only")
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    parser.add_argument("--cache", choices=("dynamic", "static"), default="dynamic")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def left_padded(torch, prompts):
    """input_ids, attention_mask [rows, longest]."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask


def main():
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when torch is loaded
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation=args.attention).eval()
    model.generation_config.eos_token_id = None
    with open(args.prompts, encoding="utf-8") as lines:
        work = [json.loads(line) for line in lines][:args.items]

    class OwnLengths(transformers.StoppingCriteria):
        def __init__(self, ends):
            self.ends = ends

        def __call__(self, ids, scores, **_):
            return ids.shape[1] >= self.ends

    def answer(rows, most=None):
        ids, mask = left_padded(torch, [row["prompt_ids"] for row in rows])
        lengths = torch.tensor([min(row["new_tokens"], most or row["new_tokens"]) for row in rows])
        out = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=int(lengths.max()), pad_token_id=0,
                             stopping_criteria=[OwnLengths(ids.shape[1] + lengths)], cache_implementation=args.cache)
        return [row[ids.shape[1]:ids.shape[1] + int(length)].tolist() for row, length in zip(out, lengths)]

    answer(work[:args.batch], most=3)  # warm
    begin = time.perf_counter()
    made = [row for i in range(0, len(work), args.batch) for row in answer(work[i:i + args.batch])]
    seconds = time.perf_counter() - begin
    ours = []
    if args.ours:
        with open(args.ours, encoding="utf-8") as lines:
            ours = [json.loads(line)["output_ids"] for line in lines]
    tokens = sum(map(len, made))
    print(json.dumps({
        "program": "transformers", "torch": torch.__version__, "transformers": transformers.__version__, "attention": args.attention,
        "cache": args.cache, "batch": args.batch, "answers": len(made), "seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds,
        "equal": sum(a == b for a, b in zip(made, ours))}))


if __name__ == "__main__":
    main()
