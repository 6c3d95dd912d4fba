#!/usr/bin/env python3
"""Seconds that `spt train` stops for a checkpoint which it writes in the background, against those of one that it writes while training waits, in one run: of three saves with the
same bytes the last one is always waited for. The first one's copies take memory that the process did not have yet, the second one's what the first gave back.

    bench/checkpoint_stall.py [MODEL] [--spt build/spt] [--turns 3] [--folder TMP] [key=value…]

Checkpoints go to FOLDER, which says what disk is measured. In fp32; medians over turns, of the ratios (the second's stop to the last's) too. Where a save had to wait for the one before it, that one's stop has the wait in it.
"""
import argparse
import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

STEPS = 10  # between two saves


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=Path("models/SmolLM2-135M-Instruct"))
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--spt", type=Path, default=Path("build/spt"))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    os.chdir(Path(__file__).resolve().parent.parent)
    turns = []
    with tempfile.TemporaryDirectory(prefix="spt-checkpoint-stall-", dir=arguments.folder) as name:
        corpus = Path(name, "corpus.h5")
        subprocess.run([arguments.spt, "prepare", "configs/samples/records.jsonl", "--tokenizer", arguments.model, "--max-tokens", "128", "--out", corpus],
                       check=True, stdout=subprocess.DEVNULL)
        for turn in range(arguments.turns):
            run = Path(name, "run")
            done = subprocess.run([arguments.spt, "train", "/dev/null", f"run.dir={run}", f"model.path={arguments.model}", f"data.train={corpus}", "model.dtype=fp32",
                                   "train.batch_examples=1", f"train.steps={3 * STEPS}", f"checkpoint.every_steps={STEPS}", *arguments.overrides],
                                  capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(done.stderr)
            saves = re.findall(r"saved \S+ in (\S+) s \(training stopped for (\S+) s\)", done.stderr)
            (_, first), (in_background, stopped), (_, waited) = [tuple(map(float, save)) for save in saves]
            bytes_saved = sum(path.stat().st_size for path in next((run / "checkpoints").iterdir()).rglob("*") if path.is_file())
            note = "; a save waited for the one before it" if " waited " in done.stderr else ""
            print(f"turn {turn + 1}: {bytes_saved / 1e9:.2f} GB, training stopped for {first:.2f} s, then {stopped:.2f} s (written in {in_background:.1f} s), "
                  f"waiting for all of it {waited:.2f} s, ratio {stopped / waited:.3f}{note}", flush=True)
            turns.append((stopped, waited, stopped / waited))
            subprocess.run(["rm", "-r", run], check=True)
    stopped, waited, ratio = (statistics.median(values) for values in zip(*turns))
    print(f"in the background {stopped:.2f} s, waited for {waited:.2f} s: ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
