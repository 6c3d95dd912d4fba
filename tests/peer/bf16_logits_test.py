#!/usr/bin/env python3
"""Our bf16 logits are about as near to fp32 as transformers' bf16 logits are.

    bf16_logits_test.py HF_DIR OUR_BF16_LOGITS.safetensors [--factor 1.2]

OUR_BF16_LOGITS: ids int64 [T], starts int32 [n+1], logits fp32 [T, V] (bf16 arithmetic, converted). Distance: root of the mean
square of the difference to transformers' fp32 logits of the same folder.
"""
import argparse
from pathlib import Path

from peer import Report, load_dump, load_model, ragged_logits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("ours", type=Path)
    parser.add_argument("--factor", type=float, default=1.2)
    args = parser.parse_args()
    report = Report()
    ids, starts, ours = load_dump(args.ours)
    exact = ragged_logits(load_model(args.folder, "fp32"), ids, starts)
    theirs = ragged_logits(load_model(args.folder, "bf16"), ids, starts)
    report.check(ours.shape == exact.shape, f"shape of the logits: ours {tuple(ours.shape)}, transformers {tuple(exact.shape)}")
    if ours.shape == exact.shape:
        own, peers = ((x - exact).pow(2).mean().sqrt().item() for x in (ours, theirs))
        report.check(own <= args.factor * peers, f"distance to fp32 over {len(ids)} tokens: ours {own:.3e}, transformers {peers:.3e}, "
                     f"ratio {own / peers:.3f}, allowed {args.factor}")
        largest, theirs_largest = ((x - exact).abs().max().item() for x in (ours, theirs))
        print(f"       largest difference: ours {largest:.3e}, transformers {theirs_largest:.3e}")
        report.check(own > 1e-3 * peers, "our logits were computed in bf16 (not fp32 numbers under another name)")
    report.finish()


if __name__ == "__main__":
    main()
