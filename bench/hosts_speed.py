#!/usr/bin/env python3
"""Training over hosts with slow links between them, against what `spt plan` predicts, with and without mesh.overlap.

    bench/hosts_speed.py [--spt build/spt] [--steps 6] [--rates 1gbit 200mbit] [--hosts 1 2 4]

Hosts are network namespaces of this one (bench/hosts.py: as root) and share its cores. As many trainings of one rank each as a layout has ranks, at once and without a
link, say what computing takes there: the plan is scaled to that, and links are the rates that were set. A model of 30M parameters, fp32.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from hosts import Hosts

HEADERS = 1448 / 1514  # of a frame on the link, TCP carries so much
LAYOUTS = [(1, 2, 1, ()), (2, 1, 1, ()), (2, 1, 1, ("optimizer.zero=2",)), (4, 1, 1, ()), (2, 2, 2, ())]  # hosts, ranks a host, tp, keys


def bytes_a_second(rate):
    number, unit = re.fullmatch(r"(\d+)([mg])bit", rate).groups()
    return int(number) * {"m": 10**6, "g": 10**9}[unit] / 8 * HEADERS


class Bench:
    def __init__(self, arguments, folder):
        self.spt, self.steps, self.folder = Path(arguments.spt).resolve(), arguments.steps, folder
        self.model = folder / "model"
        shutil.copytree("configs/tiny_model", self.model)
        config = json.loads((self.model / "config.json").read_text())
        config.update(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8, head_dim=64,
                      max_position_embeddings=1024, tie_word_embeddings=False)
        (self.model / "config.json").write_text(json.dumps(config))
        records = folder / "records.jsonl"
        with open(records, "wb") as file:
            subprocess.run(["python3", "bench/make_records.py", "configs/samples/records.jsonl", "256"], check=True, stdout=file)
        subprocess.run([self.spt, "prepare", records, "--tokenizer", self.model, "--max-tokens", "512", "--out", folder / "corpus.h5"], check=True,
                       stdout=subprocess.DEVNULL)
        self.machine = folder / "machine.yaml"
        os.sched_setaffinity(0, {0})
        self.planned_alone, _ = self.plan(1, 1, (), "--save-machine", str(self.machine))
        os.sched_setaffinity(0, range(os.cpu_count()))
        self.alone = {}

    def arguments(self, run, dp, keys):
        return ["/dev/null", f"run.dir={self.folder / run}", f"model.path={self.model}", "model.init=random", "model.dtype=fp32",
                f"data.train={self.folder / 'corpus.h5'}", f"train.steps={self.steps}", f"train.batch_examples={4 * dp}",
                "checkpoint.final_optimizer=false", "train.micro_batch_tokens=1024", *keys]

    def medians(self, run):
        rows = [json.loads(line) for line in (self.folder / run / "metrics.jsonl").read_text().splitlines()][2:]
        return tuple(statistics.median(row[key] for row in rows) for key in ("seconds", "comm_exposed_seconds"))

    def plan(self, dp, tp, keys, *options):
        planned = subprocess.run([self.spt, "plan", *self.arguments("none", dp, keys), "--ranks", str(dp * tp), "--json", *options], check=True,
                                 capture_output=True, text=True).stdout
        seconds = json.loads(planned)["step_seconds"]
        computing = sum(seconds[part] for part in ("matrix products", "other computing", "optimizer"))
        return computing, sum(seconds.values()) - computing

    def scale(self, ranks):
        """What a core of the plan's is to a rank, where so many compute at once."""
        if ranks not in self.alone:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            jobs = [subprocess.Popen([self.spt, "train", *self.arguments(f"alone-{ranks}-{i}", 1, ())], env=env, stderr=subprocess.DEVNULL) for i in range(ranks)]
            if any(job.wait() for job in jobs):
                raise SystemExit("a training of one rank failed")
            measured = statistics.mean(self.medians(f"alone-{ranks}-{i}")[0] for i in range(ranks))
            print(f"{ranks} trainings of one rank at once: {measured:.2f} s a step; planned on a core of its own {self.planned_alone:.2f} s", flush=True)
            self.alone[ranks] = self.planned_alone / measured
        return self.alone[ranks]

    def predicted(self, ranks_a_host, rate, dp, tp, keys):
        """Seconds a step, and of them exposed."""
        values = dict(line.split(": ") for line in self.machine.read_text().splitlines()[1:])
        scale = self.scale(dp * tp)
        for key in ("fp32_tflops", "bf16_tflops", "memory_gb_s"):
            values[key] = float(values[key]) * scale
        values.update(devices_per_node=ranks_a_host, network_gb_s=bytes_a_second(rate) / ranks_a_host / 1e9, network_us=50)
        file = self.folder / "hosts.yaml"
        file.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
        computing, exposed = self.plan(dp, tp, keys, "--gpu", str(file))
        return computing + exposed, exposed

    def measured(self, count, ranks_a_host, rate, tp, keys, overlap):
        run = f"run-{count}-{ranks_a_host}-{rate}-{overlap}-{'-'.join(keys)}"
        with Hosts(count, rate, "0") as hosts:
            done = hosts.run(["mpirun", "--allow-run-as-root", "-np", count * ranks_a_host, "--map-by", f"ppr:{ranks_a_host}:node", "--oversubscribe",
                              "-x", "OMP_NUM_THREADS=1", self.spt, "train", *self.arguments(run, count * ranks_a_host // tp, keys)],
                             {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        return self.medians(run)

    def rows(self, rate, layouts, is_first_rate):
        for count, ranks_a_host, tp, more in layouts:
            if count == 1 and not is_first_rate:
                continue  # nothing goes over a link
            ranks = count * ranks_a_host
            for overlap in ("off", "on"):
                keys = (f"mesh.overlap={overlap}", f"mesh.tp={tp}", *more)
                planned, hidden_not = self.predicted(ranks_a_host, rate, ranks // tp, tp, keys)
                seconds, exposed = self.measured(count, ranks_a_host, rate, tp, keys, overlap)
                yield (f"{count} × {ranks_a_host}", f"{ranks // tp} × {tp}", rate if count > 1 else "", " ".join(more) or "", overlap, f"{planned:.2f}", f"{seconds:.2f}",
                       f"{seconds / planned:.2f}", f"{hidden_not:.2f}", f"{exposed:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spt", default="build/spt")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rates", nargs="+", default=["1gbit", "200mbit"])
    parser.add_argument("--hosts", nargs="+", type=int, default=[1, 2, 4])
    arguments = parser.parse_args()
    layouts = [layout for layout in LAYOUTS if layout[0] in arguments.hosts]
    os.chdir(Path(__file__).resolve().parent.parent)
    with tempfile.TemporaryDirectory(prefix="spt-hosts-speed-") as folder:
        bench = Bench(arguments, Path(folder))
        for ranks in sorted({count * ranks_a_host for count, ranks_a_host, _, _ in layouts}):
            bench.scale(ranks)
        print("\n| hosts × ranks | dp × tp | link | keys | overlap | planned s a step | measured | ratio | planned exposed s | measured |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for rate in arguments.rates:
            for row in bench.rows(rate, layouts, rate == arguments.rates[0]):
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
