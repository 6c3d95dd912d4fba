#!/usr/bin/env python3
"""Prints the ratios of bench/train_speed.sh from the files it left in its folder."""
import json
import struct
import sys
from pathlib import Path

out, model = Path(sys.argv[1]), Path(sys.argv[2])


def ours(name):
    """Tokens a second over all steps but the first, and peak memory of the largest rank."""
    rows = [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()][1:]
    return sum(r["tokens"] for r in rows) / sum(r["seconds"] for r in rows), max(r["memory_bytes"] for r in rows)


def seconds(name):
    """Of all steps but the first."""
    return sum(json.loads(line)["seconds"] for line in (out / name / "metrics.jsonl").read_text().splitlines()[1:])


def parameters():
    """Of all weight files, from their headers."""
    total = 0
    for path in model.glob("*.safetensors"):
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        for name, entry in header.items():
            if name != "__metadata__":
                count = 1
                for size in entry["shape"]:
                    count *= size
                total += count
    return total


theirs = [json.loads((out / f"theirs_{i}.json").read_text()) for i in (1, 2)]
mine = [ours(f"ours_{i}") for i in (1, 2)]
one, two = ours("rank_1"), ours("rank_2")
speed, peer = sum(m[0] for m in mine) / 2, sum(t["tokens_per_second"] for t in theirs) / 2
print(f"spt                  {speed:8.1f} tokens/s   ({', '.join(f'{m[0]:.1f}' for m in mine)})")
print(f"transformers         {peer:8.1f} tokens/s   ({', '.join(format(t['tokens_per_second'], '.1f') for t in theirs)})")
print(f"ratio                {speed / peer:8.2f}")
products = json.loads((out / "products.json").read_text())
print(f"a step takes         {seconds('ours_2') / products['seconds']:8.2f} × the time of its matrix products")
print(f"1 rank × 1 thread    {one[0]:8.1f} tokens/s")
print(f"2 ranks × 1 thread   {two[0]:8.1f} tokens/s   efficiency {two[0] / one[0] / 2:.2f}")
count = parameters()
print(f"peak memory          {mine[0][1] / 1e9:8.2f} GB, 16 bytes a parameter are {16 * count / 1e9:.2f} GB: ratio {mine[0][1] / (16 * count):.2f}")
