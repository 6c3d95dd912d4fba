#!/usr/bin/env python3
"""Prints what launch/quickstart.sh measured: a table of both arms and their answers to unseen questions.

usage: quickstart_table.py FOLDER

Reads FOLDER/ARM/metrics.jsonl, FOLDER/questions-ARM.jsonl and FOLDER/valid-ARM.jsonl for the arms role and plain.
"""
import json
import pathlib
import sys
import textwrap

SAMPLES = pathlib.Path(__file__).resolve().parents[1] / "configs/samples/valid.jsonl"
ARMS = ("role", "plain")
COLUMNS = ("arm", "steps", "tokens/s", "training loss", "held-out loss", "answers that begin with a role")


def rows_of(path):
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        sys.exit(f"quickstart_table.py: {path}: {error}")


def table_row(folder, arm):
    steps = rows_of(folder / arm / "metrics.jsonl")
    measured = [row["valid_loss"] for row in steps if row.get("valid_loss") is not None]
    # A role stands in the first turn only: records asked for a later one do not count.
    later_turns = {record["id"] for record in rows_of(SAMPLES) if len(record["conversations"]) > 2}
    answers = [answer for name in ("questions", "valid") for answer in rows_of(folder / f"{name}-{arm}.jsonl")
               if answer["id"] not in later_turns]
    with_role = sum(answer["role"] is not None for answer in answers)
    speed = sum(row["tokens"] for row in steps) / sum(row["seconds"] for row in steps)
    return (arm, str(steps[-1]["step"]), f"{speed:.0f}", f"{steps[0]['loss']:.3f} → {steps[-1]['loss']:.3f}",
            f"{measured[-1]:.3f}" if measured else "not measured", f"{with_role} of {len(answers)}")


def show(label, text):
    indent = " " * 11
    print(textwrap.fill(f"{label + ':':<11}{' '.join((text or 'none').split())}", 100, subsequent_indent=indent))


def main(folder):
    table = [COLUMNS] + [table_row(folder, arm) for arm in ARMS]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    print()
    for row in table:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip())
    role, plain = (rows_of(folder / f"questions-{arm}.jsonl") for arm in ARMS)
    for ours, baseline in zip(role, plain):
        print()
        show("question", ours["prompt"])
        show("role", ours["role"])
        show("answer", ours["answer"])
        show("plain arm", baseline["answer"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
