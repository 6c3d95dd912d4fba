#!/usr/bin/env python3
"""The matrix products of training steps, alone: what bench/train_speed.sh holds a step's time to.

    products_loop.py --model DIR --metrics RUN/metrics.jsonl [--threads 2] [--dtype fp32]

Of each step of metrics.jsonl but the first, each of one micro-batch: the blocks' products (q, k and v in one, gate and up in one) and the vocabulary's over trained tokens, forward
and backward, gradients added up in fp32, weights of all blocks apart. No attention. bf16 where the CPU has no instructions for it: converted to fp32 for the product, as spt does.
Prints one JSON object: seconds, steps.
"""
import argparse
import json
import os
import time
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--metrics", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    return parser.parse_args()


def main():
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when torch is loaded
    import torch

    torch.set_num_threads(args.threads)
    config = json.loads(Path(args.model, "config.json").read_text())
    width, mlp, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or width // heads
    q, kv = heads * head_dim, config.get("num_key_value_heads", heads) * head_dim
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    widens = dtype == torch.bfloat16 and "avx512_bf16" not in Path("/proc/cpuinfo").read_text()

    def factor(x):
        return x.float() if widens else x

    shapes = [(q + 2 * kv, width), (width, q), (2 * mlp, width), (width, mlp)]
    blocks = [[(torch.randn(shape).to(dtype), torch.zeros(shape)) for shape in shapes] for _ in range(layers)]
    head = torch.randn(config["vocab_size"], width).to(dtype), torch.zeros(config["vocab_size"], width)
    rows = [json.loads(line) for line in Path(args.metrics).read_text().splitlines()][1:]
    most = max(row["tokens"] for row in rows)
    inputs = {size: torch.randn(most, size).to(dtype) for shape in shapes for size in shape}

    def add(gradient, g, x):
        if g.dtype == gradient.dtype:
            gradient.addmm_(g.t(), x)
        else:
            gradient.add_(g.t() @ x)

    def backward(weight, gradient, tokens):
        g, x = factor(inputs[weight.shape[0]][:tokens]), factor(inputs[weight.shape[1]][:tokens])
        add(gradient, g, x)
        (g @ factor(weight)).to(dtype)

    def step(tokens, trained):
        for block in blocks:
            for weight, _ in block:
                (factor(inputs[weight.shape[1]][:tokens]) @ factor(weight).t()).to(dtype)
        chunk = max(1, (1 << 24) // head[0].shape[0])
        table = factor(head[0])
        for begin in range(0, trained, chunk):
            x = factor(inputs[width][begin:min(begin + chunk, trained)])
            logits = x @ table.t()
            logits @ table
            add(head[1], logits, x)
        for block in reversed(blocks):
            for weight, gradient in reversed(block):
                backward(weight, gradient, tokens)

    step(rows[0]["tokens"], rows[0]["trained_tokens"])
    begin = time.perf_counter()
    for row in rows:
        step(row["tokens"], row["trained_tokens"])
    print(json.dumps({"seconds": time.perf_counter() - begin, "steps": len(rows)}))


if __name__ == "__main__":
    main()
