#!/usr/bin/env python3
"""Log-likelihoods of options equal lm-evaluation-harness' to 1e-4, and every best option is the same.

    choices_test.py --model DIR --evaluation FOLDER [--dev MMLU/dev --shots 5]

FOLDER: of `spt eval` in fp32 with eval.template=none and tasks of bench/eval_tasks. The harness's model is in fp32, its log-softmax in
fp64: in fp32 on the CPU, its default, that alone is 2e-4 away from an fp64 model's log-likelihoods for options of ten tokens (ours: 1e-5).
"""
import argparse
import sys
from pathlib import Path

from peer import Report

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import lm_eval_loop


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--dev")
    parser.add_argument("--shots", type=int, default=0)
    args = parser.parse_args()
    report = Report()
    harness = lm_eval_loop.Harness(args.model, softmax_dtype="float64")
    files = sorted((args.evaluation / "samples").glob("*.jsonl"))
    report.check(bool(files), f"{len(files)} tasks")
    for file in files:
        samples = lm_eval_loop.read_samples(file)
        pairs = [pair for sample in samples for pair in lm_eval_loop.contexts(sample, args.shots, args.dev)]
        largest, equal = lm_eval_loop.compare(samples, harness.loglikelihoods(pairs, batch=8))
        report.check(len(samples) > 0 and largest <= 1e-4, f"{file.stem}: {len(pairs)} log-likelihoods at most {largest:.1e} apart (1e-4)")
        report.check(equal == len(samples), f"{file.stem}: {equal} of {len(samples)} best options equal")
    report.finish()


if __name__ == "__main__":
    main()
