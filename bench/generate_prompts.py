#!/usr/bin/env python3
"""GSM8K questions and lengths of their answers, for bench/generate_speed.sh: {"prompt_ids": […], "new_tokens": N} a line.

    generate_prompts.py --model DIR --questions gsm8k/test.jsonl --answers 64 --shortest 16 --longest 256

Lengths are evenly spaced and in an order that looks random.
"""
import argparse
import json
import os
import random

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--answers", type=int, default=64)
    parser.add_argument("--shortest", type=int, required=True)
    parser.add_argument("--longest", type=int, required=True)
    args = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    with open(args.questions, encoding="utf-8") as lines:
        questions = [json.loads(line)["question"] for line in lines][:args.answers]
    lengths = [round(args.shortest + (args.longest - args.shortest) * i / (len(questions) - 1)) for i in range(len(questions))]
    random.Random(1).shuffle(lengths)
    for question, length in zip(questions, lengths):
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        print(json.dumps({"prompt_ids": tokenizer(text).input_ids, "new_tokens": length}))


if __name__ == "__main__":
    main()
