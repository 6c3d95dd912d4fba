#!/usr/bin/env python3
"""The training of bench/gpu.sh's piece `peer` by others: transformers with its fastest attention here, or, where it is not installed, a plain torch loop.

    gpu_peer.py --model DIR --corpus C.h5 --examples 16 --tokens 4096 --steps 5

Weights, gradients and moments in bf16 (8 bytes a parameter; spt keeps 16), fused AdamW, one example a pass, gradients clipped to norm 1. With as little recomputed as memory allows.
"""
import argparse
import json
import statistics
import time
from pathlib import Path

import h5py
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, mlp, self.heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=config["rms_norm_eps"]) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate_up, self.down = nn.Linear(width, 2 * mlp, bias=False), nn.Linear(mlp, width, bias=False)

    def forward(self, x, cos, sin):
        q, k, v = (part.view(*x.shape[:2], self.heads, -1).transpose(1, 2) for part in self.qkv(self.norms[0](x)).chunk(3, -1))
        turn = lambda y: y * cos + torch.cat((-y[..., y.shape[-1] // 2:], y[..., :y.shape[-1] // 2]), -1) * sin
        x = x + self.out(F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True).transpose(1, 2).reshape(x.shape))
        gate, up = self.gate_up(self.norms[1](x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class PlainLlama(nn.Module):
    """A Llama without grouped heads."""

    def __init__(self, config):
        super().__init__()
        self.head_dim, self.recompute = config["hidden_size"] // config["num_attention_heads"], False
        self.embed = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.norm, self.head = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"]), nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)

    def forward(self, ids, labels):
        angles = torch.arange(ids.shape[1], device=ids.device)[:, None] / 10000 ** (torch.arange(0, self.head_dim, 2, device=ids.device) / self.head_dim)
        cos, sin = (torch.cat((part, part), -1).to(self.embed.weight.dtype) for part in (angles.cos(), angles.sin()))
        x = self.embed(ids)
        for block in self.blocks:
            x = checkpoint(block, x, cos, sin, use_reentrant=False) if self.recompute else block(x, cos, sin)
        return F.cross_entropy(self.head(self.norm(x))[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())


def make_model(folder, device, recompute):
    """(name, the model, a function of ids and labels that gives the loss); random weights."""
    config = json.loads((folder / "config.json").read_text())
    torch.set_default_dtype(torch.bfloat16)
    try:
        import transformers
    except ImportError:
        with torch.device(device):
            model = PlainLlama(config)
        model.recompute = recompute
        return f"a plain torch {torch.__version__} loop", model, model
    for attention in ("flash_attention_2", "sdpa"):
        try:
            with torch.device(device):
                model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder), dtype=torch.bfloat16, attn_implementation=attention)
            break
        except (ImportError, ValueError):
            continue
    if recompute:
        model.gradient_checkpointing_enable()
    return (f"transformers {transformers.__version__}, {attention}, torch {torch.__version__}", model.train(),
            lambda ids, labels: model(input_ids=ids, labels=labels, use_cache=False).loss)


def train(args, device, recompute):
    name, model, loss_of = make_model(args.model, device, recompute)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    with h5py.File(args.corpus, "r") as corpus:
        offsets, tokens, trained = corpus["offsets"][:], torch.from_numpy(corpus["tokens"][:]).long(), torch.from_numpy(corpus["trained"][:]).bool()
    seconds, losses, counts = [], [], []
    for step in range(args.steps):
        begin, total, count = time.perf_counter(), 0.0, 0
        for i in range(args.examples):
            row = (step * args.examples + i) % (len(offsets) - 1)
            part = slice(offsets[row], min(offsets[row + 1], offsets[row] + args.tokens))
            ids, mask = tokens[part].to(device)[None], trained[part].to(device)[None]
            loss = loss_of(ids, torch.where(mask, ids, -100)) / args.examples
            loss.backward()
            total, count = total + loss.detach(), count + ids.numel()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        losses.append(float(total))  # waits for the device
        seconds.append(time.perf_counter() - begin)
        counts.append(count)
    rates = [count / took for count, took in zip(counts, seconds)]
    return {"program": name, "recompute": recompute, "tokens_per_second": statistics.median(rates[2:] or rates), "seconds": [round(x, 3) for x in seconds], "losses": losses,
            "memory_bytes": torch.cuda.max_memory_reserved() if device == "cuda" else None}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    for name in ("examples", "tokens", "steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for recompute in (False, True):
        try:
            print(json.dumps(train(args, device, recompute)))
            return
        except torch.OutOfMemoryError:
            if recompute:
                raise
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
