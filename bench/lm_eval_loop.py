"""Log-likelihoods of options by lm-evaluation-harness (HF backend, fp32), for bench/eval_speed.sh.

Usage: lm_eval_loop.py MODEL SAMPLES.jsonl BATCH OUT.json    (samples as spt eval writes them: prompt, options, loglikelihoods)
Writes {"seconds", "items", "largest_difference", "argmax_equal"} against the samples' own log-likelihoods.
"""
import json
import sys
import time

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM


def main(model, samples, batch, out):
    with open(samples) as lines:
        samples = [json.loads(line) for line in lines]
    letters = all(sample["options"] and sample["prompt"].endswith("Answer:") and f"\nA. {sample['options'][0]}" in sample["prompt"] for sample in samples)
    lm = HFLM(pretrained=model, dtype="float32", device="cpu", batch_size=int(batch))
    requests = []
    for sample in samples:
        for i, option in enumerate(sample["options"]):
            text = chr(ord("A") + i) if letters else option
            requests.append(Instance(request_type="loglikelihood", doc={}, arguments=(sample["prompt"], " " + text), idx=i))
    with torch.inference_mode():
        lm.loglikelihood(requests[:8], disable_tqdm=True)  # warm
        begin = time.perf_counter()
        found = lm.loglikelihood(requests, disable_tqdm=True)
        seconds = time.perf_counter() - begin
    place, largest, equal = 0, 0.0, 0
    for sample in samples:
        ours = sample["loglikelihoods"]
        theirs = [value[0] for value in found[place:place + len(ours)]]
        place += len(ours)
        largest = max(largest, *(abs(a - b) for a, b in zip(ours, theirs)))
        equal += ours.index(max(ours)) == theirs.index(max(theirs))
    with open(out, "w") as file:
        json.dump({"seconds": seconds, "items": len(samples), "largest_difference": largest, "argmax_equal": equal}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
