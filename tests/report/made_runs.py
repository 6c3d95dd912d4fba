"""Run folders as spt train, eval and judge leave them, made up: for the tests of spt report, and to look at its page.

    made_runs.py FOLDER [ITEMS]      two arms of three seeds, seven tasks, a judgement
"""
import json
import math
import random
import sys
from pathlib import Path

ARMS = ("role", "plain")
EXPERTS = ["mathematics teacher", "marine biologist", "software engineer", "historian of science", "nutritionist", "patient tutor", "physicist",
           "careful logician", "lawyer", "chemist", "travel guide", "editor"]
GROUPS = ["anatomy", "astronomy", "college_biology", "econometrics", "formal_logic", "global_facts", "jurisprudence", "machine_learning",
          "philosophy", "prehistory", "sociology", "virology", "world_religions", "marketing", "management", "nutrition", "miscellaneous", "law",
          "physics", "moral_disputes", "medicine", "geography"]
# What a model may write to get out of the page, its data or a terminal.
HOSTILE = [
    "</script><script>window.broken = 1</script>", "<!--<script>", "<img src=x onerror='window.broken = 1'>", "\u2028\u2029line ends", "\x1b[31mred\x1b]0;title\x07",
    "a\x00b", "\u202egnp.exe", "]]>&lt;b&gt;", "{{data}} {{script}}", "javascript:window.broken=1", "${window.broken = 1}", "🚀 \u0000", "<b onmouseover=alert(1)>",
    '"}];window.broken=1//',
]


def config_of(folder, arm, seed, **changes):
    values = {
        "run": {"dir": str(folder), "seed": seed, "log_every": 1}, "mesh": {"tp": 1, "backend": "auto"},
        "model": {"path": "models/SmolLM2-135M-Instruct", "init": "pretrained", "dtype": "fp32"},
        "data": {"train": f"data/lima-{arm}.h5", "valid": f"data/lima-{arm}-valid.h5", "packing": True},
        "optimizer": {"lr": 1e-5, "betas": [0.9, 0.95], "weight_decay": 0.1, "clip_norm": 1.0}, "schedule": {"kind": "linear", "final_lr": 1e-6},
        "train": {"epochs": 5, "batch_examples": 64}, "checkpoint": {"keep": 2},
    }
    for key, value in changes.items():
        section, name = key.split("__")
        values[section][name] = value
    return "".join(f"{section}:\n" + "".join(f"  {name}: {json.dumps(value)}\n" for name, value in fields.items()) for section, fields in values.items())


def make_run(folder, arm="role", seed=1, steps=85, total=85, **changes):
    """A training run of `steps` of its `total` steps."""
    folder.mkdir(parents=True)
    rng = random.Random(f"{arm} {seed}")
    (folder / "config.yaml").write_text(config_of(folder, arm, seed, **changes))
    (folder / "manifest.json").write_text(json.dumps({
        "program": {"version": "0.1.0", "git_commit": "41b92a7", "libraries": {"libtorch": "2.11.0", "hdf5": "1.10.8", "mpi": "Open MPI v4.1.4"}, "backends": ["mpi"]},
        "command_line": ["spt", "train", "x.yaml"], "mesh": {"dp": 2, "tp": 1}, "seed": seed, "steps": total, "corpus_sha256": f"{arm:x<64}", "weights_sha256": "ab" * 32,
        "ranks": [{"host": "node1", "count": 2, "threads": 1, "cpu": "AMD EPYC 9354 32-Core Processor", "device": "cpu"}]}))
    (folder / "log.txt").write_text("2026-11-27 09:00:00 info begins\n2026-11-27 11:42:10 info done\n")
    start, floor = (3.5, 2.45) if arm == "role" else (3.75, 3.05)
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as out:
        for step in range(1, steps + 1):
            loss = floor + (start - floor) * math.exp(-step / 22) + rng.gauss(0, 0.04)
            row = {"step": step, "epoch": 1 + (step - 1) // 17, "loss": loss}
            if step % 17 == 0:
                row["valid_loss"] = floor + 0.12 + (start - floor) * math.exp(-step / 20)
            row |= {"grad_norm": 1.2 + 3 * math.exp(-step / 9) + abs(rng.gauss(0, 0.2)), "lr": 1e-6 + 9e-6 * (1 - step / total), "trained_tokens": 9000, "tokens": 15000,
                    "seconds": 90.0, "data_seconds": 0.1, "tokens_per_second": 165 + rng.gauss(0, 4), "memory_bytes": 6 << 30}
            out.write(json.dumps(row) + "\n")
    return folder


def role_of(rng):
    article = rng.choice(["a", "an experienced", "the"])
    end = rng.choice(["who explains each step", "with many years of practice", "", ", known for clear answers"])
    return f"You are {article} {rng.choice(EXPERTS)} {end}".strip() + f". The user wants to know {rng.choice(['how much is left', 'why this happens', 'which of these is true', 'what to do first'])}" + ", so work through it with care." * rng.randint(0, 2)


def make_samples(task, arm, seed, items, hostile=False):
    """(samples, result) of a task; the questions hang on the task alone."""
    asked, answered = random.Random(task), random.Random(f"{task} {arm} {seed}")
    samples = []
    for i in range(items):
        difficulty = asked.random()
        right = answered.random() < {"role": 0.62, "plain": 0.55}.get(arm, 0.5) * (1.45 - difficulty)
        sample = {"id": f"{task}-{i:05}"}
        if task == "mmlu":
            sample["group"] = GROUPS[i % len(GROUPS)]
        if task == "held_out":
            tokens = asked.randint(40, 300)
            samples.append({**sample, "nll": tokens * (2.5 + difficulty) * (0.93 if arm == "role" else 1), "trained_tokens": tokens})
            continue
        cost, count = asked.randint(2, 9), asked.randint(3, 12)
        sample["prompt"] = f"{asked.choice(['Ann', 'Ben', 'Carla', 'Dev'])} buys {count} {asked.choice(['apples', 'pencils', 'tickets'])} at {cost} coins each and pays with {cost * count + 7}. How many coins come back?"
        if hostile:
            sample["prompt"] += " " + HOSTILE[i % len(HOSTILE)]
        if task == "arc_challenge_choice":
            options = ["iron", "air", "wood", "glass"]
            best = 1 if right else answered.choice([0, 2, 3])
            samples.append({**sample, "role": None, "options": options, "loglikelihoods": [-2.0 if k == best else -4 - answered.random() * 5 for k in range(4)],
                            "extracted": "ABCD"[best], "gold": "B", "score": int(right), "score_raw": int(right), "score_normalised": int(right)})
            continue
        role = role_of(answered) if arm == "role" and answered.random() < 0.97 else None
        answer = f"Each costs {cost} coins, so {count} of them cost {cost * count} coins. " + ("Take that from what was paid." if right else "That is the result.")
        if hostile:
            answer += "\n" + HOSTILE[(i + seed) % len(HOSTILE)]
            role = role and role + " " + HOSTILE[(i + 1) % len(HOSTILE)].replace("\n", " ")
        sample |= {"output": f"{role}\n\n{answer}" if role else answer, "role": role, "role_is_given": False, "answer": answer, "tokens": len(answer.split()), "cut": answered.random() < 0.03}
        if task == "lima_open":
            samples.append(sample)
            continue
        if task == "humaneval":
            samples.append({**sample, "extracted": f"def back(paid):\n    return paid - {cost * count}\n" if right else None, "rule": "fenced function", "outcome": "passed" if right else "nothing to run",
                            "printed": "", "gold": "passed", "score": int(right)})
            continue
        found = "7" if right else answered.choice([None, "8", str(cost)])
        samples.append({**sample, "conclusion": f" {found}." if found else " unclear", "extracted": found, "rule": "first number" if found else None, "gold": "7", "score": int(right)})
    metric = {"held_out": "perplexity", "lima_open": "none", "humaneval": "pass@1", "arc_challenge_choice": "accuracy"}.get(task, "exact_match")
    return samples, {"metric": metric, "value": None, "standard_error": None, "n": len(samples)}


def make_evaluation(folder, arm="role", seed=1, tasks=None, hostile=False, **settings):
    """`tasks`: {name: items}."""
    (folder / "samples").mkdir(parents=True)
    results = {}
    for task, items in (tasks or {"gsm8k": 40}).items():
        samples, results[task] = make_samples(task, arm, seed, items, hostile)
        # As any JSON may write them: U+2028 and the like as they are.
        lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
        (folder / "samples" / f"{task}.jsonl").write_bytes(lines.encode())
    (folder / "results.json").write_text(json.dumps({
        "model": f"runs/{arm}/checkpoints/step-000085/hf", "evaluation": f"{arm}-{seed}-{settings}", "seconds": 60,
        "settings": {"dtype": "Float", "role": "self", "role_in": "assistant", "max_new_tokens": 512, "conclusion_tokens": 32, "limit": None, "seed": 1} | settings, "tasks": results}))
    return folder


def make_judgement(evaluation, other, name="default", judge="gpt-4o"):
    def shares(win, tie, lose):
        n = win + tie + lose
        def one(count):
            half = 1.96 * math.sqrt(count / n * (1 - count / n) / n)
            return {"count": count, "share": count / n, "low": max(0, count / n - half), "high": min(1, count / n + half)}
        return {"n": n, "win": one(win), "tie": one(tie), "lose": one(lose)}
    (evaluation / "judge" / name).mkdir(parents=True)
    (evaluation / "judge" / name / "judgement.json").write_text(json.dumps({
        "format": "spt-judgement", "version": 1, "a": str(evaluation), "b": str(other), **{
            f"{side}_evaluation": json.loads((folder / "results.json").read_text())["evaluation"] for side, folder in (("a", evaluation), ("b", other))},
        "judge": {"model": judge, "endpoint": "https://api.example.org/v1", "prompt": "configs/judges/pairwise.yaml", "prompt_sha256": "c" * 64, "keep_role": False},
        "tasks": {"lima_open": {**shares(131, 88, 81), "position_bias": {"calls": 600, "first": 0.44, "second": 0.31, "none": 0.25, "consistent": 0.71}, "length_matched": shares(61, 47, 42),
                                "mean_words": {"a": 212.4, "b": 187.1}, "pairs": 301, "identical": 3, "unparsed": 1, "unanswered": 0, "notes": ["lima_open: 1 of 301 pairs is left out, because the judge gave no verdict"]}}}))


def main(root, items=300):
    tasks = {"gsm8k": items, "mmlu": 2 * items, "strategyqa": items, "arc_challenge_choice": items, "humaneval": 164, "lima_open": 60, "held_out": 50}
    for arm in ARMS:
        for seed in (1, 2, 3):
            run = make_run(root / f"{arm}-{seed}", arm, seed, steps=85 if (arm, seed) != ("plain", 3) else 61)
            make_evaluation(run / "eval", arm, seed, tasks)
    make_judgement(root / "role-1" / "eval", root / "plain-1" / "eval")
    make_judgement(root / "role-1" / "eval", root / "plain-1" / "eval", "local", judge="Mistral-7B-Instruct")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
