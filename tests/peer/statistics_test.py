#!/usr/bin/env python3
"""spt compare gives scipy's numbers: bootstrap intervals and p within Monte-Carlo error, exact tests and t-intervals.

    statistics_test.py --spt PROGRAM
"""
import argparse
import json
import math
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import scipy
from peer import Report
from scipy import stats

RESAMPLES = 100_000
# Two bootstraps of B resamples: a quantile at 0.025 scatters by √(q(1−q)/B)/φ(z) standard errors each; five times that.
QUANTILE_ERROR = 5 * math.sqrt(2 * 0.025 * 0.975 / RESAMPLES) / stats.norm.pdf(stats.norm.ppf(0.025))


def write_evaluation(folder, tasks):
    """`tasks`: name → (metric, samples)."""
    (folder / "samples").mkdir(parents=True)
    results = {name: {"metric": metric, "n": len(samples)} for name, (metric, samples) in tasks.items()}
    (folder / "results.json").write_text(json.dumps({"tasks": results}))
    for name, (_, samples) in tasks.items():
        (folder / "samples" / f"{name}.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return folder


def scored(values, groups=None):
    samples = [{"id": f"{i:06}", "prompt": "p", "gold": "g", "score": float(value)} for i, value in enumerate(values)]
    for sample, group in zip(samples, [] if groups is None else groups):
        sample["group"] = str(group)
    return ("accuracy", samples)


def losses(values, tokens):
    return ("perplexity", [{"id": f"{i:06}", "nll": float(value), "trained_tokens": int(count)} for i, (value, count) in enumerate(zip(values, tokens))])


def check_bootstrap(report, name, pair, a, b, weights, seed):
    """`a`, `b` and `weights` are sums over what is drawn as a whole."""
    def difference(x, y, w, axis=-1):
        return (x.sum(axis=axis) - y.sum(axis=axis)) / w.sum(axis=axis)
    found = stats.bootstrap((a, b, weights), difference, paired=True, vectorized=True, n_resamples=RESAMPLES, batch=1000, method="percentile",
                            rng=np.random.default_rng(seed))
    value = difference(a, b, weights)
    report.check(abs(pair["difference"] - value) < 1e-12, f"{name}: difference {pair['difference']:.6f}")
    # A step of the scores between neighbouring resamples is no error either.
    allowed = QUANTILE_ERROR * found.standard_error + np.abs(a - b)[a != b].min() / weights.sum()
    distance = max(abs(pair["low"] - found.confidence_interval.low), abs(pair["high"] - found.confidence_interval.high))
    report.check(distance <= allowed, f"{name}: [{pair['low']:.5f}, {pair['high']:.5f}] is {distance:.1e} from scipy's, allowed {allowed:.1e}")
    p = (np.count_nonzero(np.abs(found.bootstrap_distribution - value) >= abs(value) * (1 - 1e-12)) + 1) / (RESAMPLES + 1)
    allowed = 5 * math.sqrt(2 * max(p * (1 - p), 1 / RESAMPLES) / RESAMPLES)
    report.check(abs(pair["p"] - p) <= allowed, f"{name}: p {pair['p']:.5f} and {p:.5f}, allowed {allowed:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spt", required=True)
    args = parser.parse_args()
    report = Report()
    draw = np.random.default_rng(11)

    def compare(a, b, *options):
        command = [args.spt, "compare", *a, "--baseline", *b, "--json", *options]
        return json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout)

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        # Bootstrap: 0/1, parts of a point, groups of unequal size, losses.
        right = [draw.random(400) < share for share in (0.55, 0.5)]
        parts = draw.random(300), draw.random(300)
        groups = draw.integers(0, 40, 900) ** 2 // 40
        ease = draw.random(40)[groups]
        grouped = [draw.random(900) < ease * share for share in (1.0, 0.93)]
        tokens = draw.integers(1, 300, 250)
        nll = draw.gamma(2, 1, 250) * tokens
        other_nll = nll * draw.normal(1.01, 0.1, 250)
        sides = [write_evaluation(work / side, {"right": scored(right[i]), "parts": scored(parts[i]), "grouped": scored(grouped[i], groups),
                                                "losses": losses((nll, other_nll)[i], tokens)}) for i, side in enumerate("ab")]
        tasks = compare(sides[:1], sides[1:], "--resamples", RESAMPLES)["tasks"]
        ones = np.ones
        check_bootstrap(report, "right", tasks["right"]["pairs"][0], right[0] * 1.0, right[1] * 1.0, ones(400), 1)
        check_bootstrap(report, "parts", tasks["parts"]["pairs"][0], *parts, ones(300), 2)
        sums = [np.bincount(groups, weights)[np.unique(groups)] for weights in (*grouped, ones(900))]
        report.check(tasks["grouped"]["groups"] == len(sums[0]), f"grouped: {len(sums[0])} groups")
        check_bootstrap(report, "grouped", tasks["grouped"]["pairs"][0], *sums, 3)
        check_bootstrap(report, "losses", tasks["losses"]["pairs"][0], nll, other_nll, tokens * 1.0, 4)

        # McNemar, a task a table.
        tables = {f"{a}-{b}": (a, b) for a, b in ((0, 0), (1, 0), (3, 3), (2, 9), (60, 41), (700, 800), (2500, 2300), (30, 400))}
        sides = [write_evaluation(work / f"mcnemar-{side}", {name: scored([1 - side] * a + [side] * b + [1, 0]) for name, (a, b) in tables.items()})
                 for side in (0, 1)]
        for name, task in compare(sides[:1], sides[1:], "--resamples", 100)["tasks"].items():
            a, b = tables[name]
            pair = task["pairs"][0]
            expected = stats.binomtest(a, a + b).pvalue if a + b else 1
            report.check((pair["only_a"], pair["only_b"]) == (a, b) and abs(pair["p_mcnemar"] - expected) <= 1e-9 * expected,
                         f"McNemar {name}: {pair['p_mcnemar']:.6g} and {expected:.6g}")

        # Seeds.
        for seeds in 3, 5, 8:
            sides = [[write_evaluation(work / f"{side}-{seeds}-{seed}", {"t": scored(draw.random(50))}) for seed in range(seeds)] for side in "ab"]
            task = compare(*sides, "--resamples", 100)["tasks"]["t"]
            differences = [pair["difference"] for pair in task["pairs"]]
            low, high = stats.t.interval(0.95, seeds - 1, np.mean(differences), stats.sem(differences))
            over = task["over_seeds"]
            report.check(abs(over["low"] - low) < 1e-9 and abs(over["high"] - high) < 1e-9, f"{seeds} seeds: [{over['low']:.6f}, {over['high']:.6f}]")
    print(f"scipy {scipy.__version__}")
    report.finish()


if __name__ == "__main__":
    main()
