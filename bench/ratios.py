#!/usr/bin/env python3
"""Holds the ratios that the scripts of bench/ print to the last committed ones (bench/ratios.json). Never absolute times: machines are noisy.

    bench/train_speed.sh RECORDS.jsonl | tee out.txt; bench/ratios.py train_speed < out.txt            # exit status 1: one is below 0.9 of the committed one
    bench/ratios.py train_speed --record "bench/train_speed.sh RECORDS.jsonl" < out.txt                # writes them, with date, machine and commit

A ratio is a number behind the word "ratio" or "efficiency", or in front of "× the time"; its name is what stands in front of the first colon or of two spaces.
"""
import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

FILE = Path(__file__).with_name("ratios.json")
LEAST = 0.9  # of the committed ratio


def ratios(text):
    """{name: (value, larger is better)}"""
    found = {}
    for line in text.splitlines():
        name = re.split(r":|  ", line.strip(), maxsplit=1)[0]
        ratio = [(name if word == name else f"{name}, {word}", float(value), name != "peak memory")
                 for word, value in re.findall(r"\b(ratio|efficiency):?\s+([\d.]+)", line)]
        ratio += [(name, float(value), False) for value in re.findall(r"([\d.]+) × the time", line)]
        for key, value, larger_is_better in ratio:
            if key in found:
                sys.exit(f"ratios.py: two lines are called {key}: read the output of one variant at a time")
            found[key] = value, larger_is_better
    return found


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = Path("/proc/cpuinfo").read_text().count("processor\t:")
    flags = re.search(r"flags\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1).split()
    return f"{cores} × {model.group(1) if model else '?'}, {'AVX-512' if 'avx512f' in flags else 'AVX2' if 'avx2' in flags else '?'}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the script, and of the variant: train_speed, train_speed_bf16")
    parser.add_argument("--record", metavar="COMMAND", help="write what is read, as the result of this command")
    args = parser.parse_args()
    now = ratios(sys.stdin.read())
    if not now:
        sys.exit("ratios.py: no ratio on standard input")
    committed = json.loads(FILE.read_text()) if FILE.exists() else {}
    if args.record:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True, cwd=FILE.parent).stdout.strip()
        committed[args.name] = {"command": args.record, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "commit": commit,
                                "ratios": {name: value for name, (value, _) in now.items()}}
        FILE.write_text(json.dumps(dict(sorted(committed.items())), indent=2, ensure_ascii=False) + "\n")
        return
    if args.name not in committed:
        sys.exit(f"ratios.py: {FILE.name} has no {args.name}; it has {', '.join(committed) or 'nothing'}")
    worse = False
    if committed[args.name]["machine"] != machine():
        print(f"the committed ones are of another machine: {committed[args.name]['machine']}; here: {machine()}")
    for name, before in committed[args.name]["ratios"].items():
        if name not in now:
            print(f"{name}: {before} before, absent now")
            worse = True
            continue
        value, larger_is_better = now[name]
        is_worse = value < LEAST * before if larger_is_better else value > before / LEAST
        print(f"{name}: {before} before, {value} now{': worse' if is_worse else ''}")
        worse |= is_worse
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
