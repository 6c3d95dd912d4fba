#!/usr/bin/env python3
"""A folder that we wrote loads in transformers as it is and gives our logits.

    hf_folder_test.py HF_DIR OUR_LOGITS.safetensors [--tolerance 1e-4] [--no-tokenizer]

OUR_LOGITS: ids int64 [T], starts int32 [n+1], logits fp32 [T, V] of our fp32 model on that folder.
"""
import argparse
from pathlib import Path

from peer import Report, load_dump, load_model, ragged_logits
from transformers import AutoTokenizer, GenerationConfig


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("ours", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--no-tokenizer", action="store_true", help="the folder has none, by intent")
    args = parser.parse_args()
    report = Report()
    model = load_model(args.folder)
    ids, starts, ours = load_dump(args.ours)
    theirs = ragged_logits(model, ids, starts)
    report.check(ours.shape == theirs.shape, f"shape of the logits: ours {tuple(ours.shape)}, transformers {tuple(theirs.shape)}")
    if ours.shape == theirs.shape:
        distance = (ours - theirs).abs().max().item()
        report.check(distance <= args.tolerance, f"logits of {len(ids)} tokens in {len(starts) - 1} examples: largest difference {distance:.2e}, "
                     f"allowed {args.tolerance:.0e} (spread of the logits {theirs.std().item():.2f})")
    if not args.no_tokenizer:
        tokenizer = AutoTokenizer.from_pretrained(args.folder)
        text = "A question, then 1,234 and naïve “quotes”.\n\nAnswer: done"
        back = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
        report.check(back == text, f"AutoTokenizer reads the folder and gives a text back: {back!r}")
        stated = GenerationConfig.from_pretrained(args.folder).eos_token_id
        stated = stated if isinstance(stated, list) else [stated]
        report.check(tokenizer.eos_token_id in stated, f"generation_config's eos {stated} holds the tokenizer's {tokenizer.eos_token_id}")
        report.check(tokenizer.vocab_size <= theirs.shape[1], f"{tokenizer.vocab_size} tokens fit into {theirs.shape[1]} logits")
    report.finish()


if __name__ == "__main__":
    main()
