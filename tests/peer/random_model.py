#!/usr/bin/env python3
"""Writes a Hugging Face folder with random weights from a folder that has a config.json and perhaps a tokenizer.

    random_model.py SOURCE OUT [--seed 1] [--std 0.1] [--dtype fp32|bf16]

For peer tests that need a model with a tokenizer but no download: `random_model.py configs/tiny_model OUT`.
"""
import argparse
import shutil
from pathlib import Path

import torch
from peer import DTYPES
from transformers import AutoConfig, AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--std", type=float, default=0.1)
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(args.seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(args.source))
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(1.0 if p.ndim == 1 else 0.0, args.std, generator=generator)
    model.to(DTYPES[args.dtype]).save_pretrained(args.out)
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        if (args.source / name).exists():
            shutil.copy(args.source / name, args.out / name)


if __name__ == "__main__":
    main()
