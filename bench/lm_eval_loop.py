#!/usr/bin/env python3
"""Log-likelihoods of options by lm-evaluation-harness (HF backend, fp32, CPU), for bench/eval_speed.sh and tests/peer/choices_test.py.

    lm_eval_loop.py --model DIR --samples S.jsonl --batch N [--items N] [--shots 5 --dev MMLU/dev] [--threads 2]

S: the samples of `spt eval` with eval.template=none and a task of bench/eval_tasks. Prints one JSON object: seconds, items,
items_per_second, and against the samples' own log-likelihoods largest_difference and argmax_equal.
"""
import argparse
import csv
import json
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
LETTERS = "ABCDEFGHIJ"


def read_samples(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def examples(dev, group, count):
    """The text of MMLU's worked examples, as `shots` of bench/eval_tasks/mmlu.yaml."""
    with open(Path(dev) / f"{group}_dev.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[:count]
    return "".join(f"{row[0]}\nA. {row[1]}\nB. {row[2]}\nC. {row[3]}\nD. {row[4]}\nAnswer: {row[5]}\n\n" for row in rows)


def contexts(sample, shots=0, dev=None):
    """(context, continuation) of each option; where the question lists them, the continuation is the letter."""
    prompt = (examples(dev, sample["group"], shots) if shots else "") + sample["prompt"]
    is_listed = f"\nA. {sample['options'][0]}" in sample["prompt"]
    return [(prompt, " " + (LETTERS[i] if is_listed else option)) for i, option in enumerate(sample["options"])]


class Harness:
    def __init__(self, model, threads=None, softmax_dtype=None):
        warnings.simplefilter("ignore")
        import torch
        import transformers
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        if threads:
            torch.set_num_threads(threads)
        self.instance = Instance
        self.lm = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=1, softmax_dtype=softmax_dtype)

    def loglikelihoods(self, pairs, batch):
        self.lm.batch_size_per_gpu = batch
        requests = [self.instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs]
        return [value for value, _ in self.lm.loglikelihood(requests, disable_tqdm=True)]


def compare(samples, values):
    """The largest difference to the samples' log-likelihoods, and how many have the same best option."""
    values = iter(values)
    largest, equal = 0.0, 0
    for sample in samples:
        ours = sample["loglikelihoods"]
        theirs = [next(values) for _ in ours]
        largest = max(largest, *(abs(a - b) for a, b in zip(ours, theirs)))
        equal += ours.index(max(ours)) == theirs.index(max(theirs))
    return largest, equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--items", type=int, help="the first ones only")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--dev", help="folder of the worked examples")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read when torch is loaded
    samples = read_samples(args.samples)[:args.items]
    harness = Harness(args.model, args.threads)
    pairs = [pair for sample in samples for pair in contexts(sample, args.shots, args.dev)]
    harness.loglikelihoods(pairs[:4], args.batch)  # warm
    begin = time.perf_counter()
    values = harness.loglikelihoods(pairs, args.batch)
    seconds = time.perf_counter() - begin
    largest, equal = compare(samples, values)
    print(json.dumps({"program": "lm-eval", "batch": args.batch, "items": len(samples), "seconds": seconds,
                      "items_per_second": len(samples) / seconds, "largest_difference": largest, "argmax_equal": equal}))


if __name__ == "__main__":
    main()
