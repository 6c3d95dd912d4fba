#!/usr/bin/env python3
"""Training that is killed again and again: nothing is lost but the steps since the last checkpoint, no bit is wrong, and no folder blocks a restart.

usage: soak.py [--cycles 200] [--seed 1]        SPT_PROGRAM: the binary [build/spt]; SPT_MPIEXEC: mpirun

Each cycle starts the same run on 1 to 4 ranks (run.reproducible: any number gives the same bits) and ends it at a random moment: while it starts or resumes, in a step, in
a save, in a prune; by SIGKILL to all ranks, or to one (the others must end by themselves), or by SIGTERM to all (it saves and stops). After each, metrics must be those of a run
that nothing interrupted, as far as they go, and the next start must go on after the newest whole checkpoint. At its end the weights must be the same. Exit status 1 where not.
"""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
os.environ.setdefault("SPT_PROGRAM", str(SOURCE / "build/spt"))
os.environ.setdefault("SPT_MPIEXEC", shutil.which("mpirun") or "mpirun")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(SOURCE / "tests/integration"))
from runs import MPIEXEC, PROGRAM, STOPPED, Job, checkpoints, curve, last_weights, make_corpus, make_small_model, read_rows, sample_records  # noqa: E402

EVERY, STEPS_A_CYCLE, LONGEST_START, LIMIT = 4, 8, 2.5, 60


class Wrong(Exception):
    pass


def steps_of(run):
    return [int(name[5:]) for name in checkpoints(run) if name.startswith("step-") and name[5:].isdigit()]


def without_held_out(rows):
    return [row[:-1] for row in curve(rows)]


def wait(job, condition, seconds):
    end = time.monotonic() + seconds
    while job.status is None and time.monotonic() < end and not condition():
        time.sleep(0.0005)


class Soak:
    def __init__(self, folder, cycles, seed):
        self.folder, self.cycles, self.random = folder, cycles, random.Random(seed)
        self.model = make_small_model(folder / "model", num_key_value_heads=2)
        self.corpus = make_corpus(folder / "corpus.h5", self.model, sample_records(folder / "records.jsonl", 40))
        self.steps = STEPS_A_CYCLE * min(cycles, 40)
        self.counts = collections.Counter()
        self.most_lost = 0

    def start(self, run, ranks):
        arguments = [PROGRAM, "train", "/dev/null", f"run.dir={run}", "run.reproducible=true", f"model.path={self.model}", "model.init=random", f"data.train={self.corpus}",
                     f"train.steps={self.steps}", "train.batch_examples=8", "train.micro_batch_tokens=320", "optimizer.lr=1e-3", f"checkpoint.every_steps={EVERY}",
                     "run.collective_timeout_s=20", f"checkpoint.background={str(self.random.random() < 0.7).lower()}"]
        return Job([MPIEXEC, "--oversubscribe", "--bind-to", "none", "-np", ranks, *arguments], self.folder)

    def moment(self, job, run):
        """Waits for a random moment; its name."""
        kind = self.random.choice(["start", "step", "save", "prune"])
        seen = len(read_rows(run)) if (run / "metrics.jsonl").exists() else 0
        if kind == "start":
            wait(job, lambda: False, self.random.uniform(0, LONGEST_START))
        elif kind == "step":
            size = (run / "metrics.jsonl").stat().st_size if seen else 0
            more = self.random.randint(1, 3 * EVERY) * 100  # bytes: a row has some 300
            wait(job, lambda: (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > size + more, LIMIT)
        else:
            end = ".partial" if kind == "save" else ".deleting"
            wait(job, lambda: any(name.endswith(end) for name in checkpoints(run)), LIMIT)
            time.sleep(self.random.uniform(0, 0.01))
        return kind

    def end(self, job):
        how = self.random.choice(["all", "all", "one", "term"])
        ranks = [pid for pid, environment in job.processes().items() if "OMPI_COMM_WORLD_RANK" in environment]
        if how == "all" or not ranks:
            job.kill()
        elif how == "one":
            os.kill(self.random.choice(ranks), signal.SIGKILL)
            job.finish(LIMIT)
        else:
            for pid in ranks:
                try:
                    os.kill(pid, signal.SIGUSR1)
                except ProcessLookupError:
                    pass
            if job.finish(LIMIT) not in (0, STOPPED, 128 + signal.SIGUSR1):  # the last one: before it listens
                raise Wrong(f"status {job.status} after SIGUSR1:\n{job.output[-2000:]}")
        job.kill()  # and what is left of it
        return how

    def check(self, run, whole):
        rows = read_rows_that_are_whole(run)
        if without_held_out(rows) != without_held_out(whole[:len(rows)]):
            raise Wrong(f"{run}: metrics of {len(rows)} steps are not those of the whole run")

    def go(self):
        reference = self.folder / "whole"
        job = self.start(reference, 1)
        if job.finish(600) != 0:
            raise Wrong(job.output)
        whole, weights = read_rows(reference), last_weights(reference)
        run, number = self.folder / "run-0", 0
        for cycle in range(self.cycles):
            ranks, before = self.random.randint(1, 4), steps_of(run)
            trained = len(read_rows_that_are_whole(run))
            job = self.start(run, ranks)
            kind = self.moment(job, run)
            if job.status is None:
                self.counts[f"{kind}, {self.end(job)}"] += 1
            else:
                self.counts["done"] += 1
            if job.status == 1:
                raise Wrong(f"cycle {cycle}: the restart is blocked:\n{job.output[-2000:]}")
            if before and "resuming after step" in job.output:
                at = int(job.output.split("resuming after step ")[1].split()[0])
                if at != max(before):
                    raise Wrong(f"cycle {cycle}: went on after step {at}, not {max(before)}")
                self.most_lost = max(self.most_lost, trained - at)
            self.check(run, whole)
            if steps_of(run) and max(steps_of(run)) == self.steps:
                if last_weights(run) != weights:
                    raise Wrong(f"{run}: other weights than the whole run's")
                number += 1
                run = self.folder / f"run-{number}"
        job = self.start(run, 2)  # to its end
        if job.finish(600) != 0 or last_weights(run) != weights:
            raise Wrong(f"{run} does not end with the whole run's weights:\n{job.output[-2000:]}")
        return number + 1


def read_rows_that_are_whole(run):
    """Without a torn last line."""
    try:
        text = (run / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="spt-soak-"))
    soak = Soak(folder, options.cycles, options.seed)
    begin = time.monotonic()
    try:
        runs = soak.go()
    except Wrong as wrong:
        print(f"soak.py: {wrong}\nkept: {folder}", file=sys.stderr)
        return 1
    for what, count in sorted(soak.counts.items()):
        print(f"{what}: {count}")
    print(f"{options.cycles} cycles in {time.monotonic() - begin:.0f} s, {runs} runs to their end: the whole run's bits; at most {soak.most_lost} steps made again")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
