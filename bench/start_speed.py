#!/usr/bin/env python3
"""Seconds from the start of `spt train` to its first finished step, of one example of up to 128 tokens: of a model of 1M parameters, and of MODEL, whose weights are hashed
for the first time (an empty cache) and again.

    bench/start_speed.py [MODEL] [--spt build/spt] [--turns 5]

Files are in the page cache. The end is the first line of metrics.jsonl; medians over turns.
"""
import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


def first_step(spt, folder, model, keys, cache):
    """Seconds until the first line of metrics.jsonl."""
    run = Path(tempfile.mkdtemp(dir=folder))
    metrics = run / "metrics.jsonl"
    begin = time.perf_counter()
    job = subprocess.Popen([spt, "train", "/dev/null", f"run.dir={run}", f"model.path={model}", f"data.train={folder / model.name}.h5", "train.steps=1",
                            "train.batch_examples=1", "checkpoint.final_optimizer=false", "model.dtype=fp32", *keys],
                           env={**os.environ, "XDG_CACHE_HOME": cache}, stderr=subprocess.PIPE)
    while job.poll() is None and not (metrics.exists() and metrics.stat().st_size > 0):
        time.sleep(0.002)
    seconds = time.perf_counter() - begin
    errors = job.communicate()[1]
    if job.returncode != 0:
        raise SystemExit(errors.decode())
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=Path("models/SmolLM2-135M-Instruct"))
    parser.add_argument("--spt", type=Path, default=Path("build/spt"))
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    os.chdir(Path(__file__).resolve().parent.parent)
    tiny = Path("configs/tiny_model")
    with tempfile.TemporaryDirectory(prefix="spt-start-speed-") as name:
        folder = Path(name)
        for model in (tiny, arguments.model):
            subprocess.run([arguments.spt, "prepare", "configs/samples/records.jsonl", "--tokenizer", model, "--max-tokens", "128", "--out",
                            f"{folder / model.name}.h5"], check=True, stdout=subprocess.DEVNULL)

        def median(model, keys=(), cold=False):
            warm = tempfile.mkdtemp(dir=folder)
            turns = [first_step(arguments.spt, folder, model, keys, tempfile.mkdtemp(dir=folder) if cold else warm) for _ in range(arguments.turns + 1)]
            return f"{statistics.median(turns[1:]):.2f} s"

        print(f"1M parameters, random                 {median(tiny, ['model.init=random'])}")
        print(f"{arguments.model.name}, hashed before  {median(arguments.model)}")
        print(f"{arguments.model.name}, not hashed yet {median(arguments.model, cold=True)}")


if __name__ == "__main__":
    main()
