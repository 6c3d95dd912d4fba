#!/usr/bin/env python3
"""Greedy texts of `spt eval` equal those of transformers' generate in fp32.

    gsm8k_test.py --model DIR --evaluation FOLDER --max-new-tokens N

FOLDER: of `spt eval` in fp32 with eval.template=none and bench/eval_tasks/gsm8k.yaml.
"""
import argparse
import json
from pathlib import Path

import torch
from peer import Report, load_model
from transformers import AutoTokenizer


@torch.no_grad()
def answer(model, tokenizer, prompt, new):
    inputs = tokenizer(prompt, return_tensors="pt")
    out = model.generate(**inputs, do_sample=False, max_new_tokens=new, pad_token_id=tokenizer.eos_token_id)
    return tokenizer.decode(out[0, inputs.input_ids.shape[1]:], skip_special_tokens=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--max-new-tokens", type=int, required=True)
    args = parser.parse_args()
    report = Report()
    model, tokenizer = load_model(args.model), AutoTokenizer.from_pretrained(args.model)
    samples = [json.loads(line) for line in (args.evaluation / "samples/gsm8k.jsonl").read_text(encoding="utf-8").splitlines()]
    report.check(bool(samples), f"{len(samples)} answers")
    for sample in samples:
        theirs = answer(model, tokenizer, sample["prompt"], args.max_new_tokens)
        report.check(theirs == sample["output"], f"{sample['id']}: {len(theirs)} characters" +
                     ("" if theirs == sample["output"] else f", ours:\n{sample['output']}\ntransformers:\n{theirs}"))
    report.finish()


if __name__ == "__main__":
    main()
