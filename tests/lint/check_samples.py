#!/usr/bin/env python3
"""Checks configs/samples/: form, roles, repetition, and length where a tokenizer is given. Exit 1 with one line a fault.

    check_samples.py [--tokenizer DIR] [--limit 130] [--samples configs/samples]

--tokenizer is a folder with a tokenizer.json (SmolLM2's is what the samples are meant for); needs the package `tokenizers`.
Length is that of a training sample of the role arm: system line, question, role, answer and the eos of each turn.
"""
import argparse
import json
import re
import statistics
import sys
from pathlib import Path

SYSTEM = "A conversation between a user and an AI assistant. The assistant gives helpful, detailed and accurate answers."
MINIMUM = {"records.jsonl": 160, "valid.jsonl": 24, "questions.jsonl": 5}
MIN_MULTI_TURN = 6


def role_faults(role):
    if not isinstance(role, str) or not re.match(r"You are an? ", role):
        return ["role does not begin with 'You are a' or 'You are an'"]
    faults = []
    words = len(role.split())
    if not 18 <= words <= 35:
        faults.append(f"role has {words} words, not 18 to 35")
    if "\n" in role or "  " in role or role != role.strip():
        faults.append("role has a line break, double space or outer space")
    if len(re.findall(r"[.!?](?: |$)", role)) not in (1, 2) or not role.endswith("."):
        faults.append("role is not one or two sentences")
    return faults


def turn_faults(turns):
    if not isinstance(turns, list) or len(turns) < 2 or len(turns) % 2:
        return ["conversations is not pairs of texts"]
    faults = []
    for i, text in enumerate(turns):
        if not isinstance(text, str) or not text or text != text.strip() or "\n\n" in text:
            faults.append(f"turn {i} is empty, has outer space or a blank line")
        elif i % 2 and text.startswith("You are"):
            faults.append(f"turn {i}: an answer that begins as a role does")
        elif i % 2 and not 1 <= len(re.findall(r"[.!?:;](?:[\s'\"`]|$)", text)) <= 6:
            faults.append(f"turn {i}: answer of more than a few sentences")
    return faults


def sample_tokens(tokenizer, record):
    text = SYSTEM + "\n\n"
    ends = 0
    for i, turn in enumerate(record["conversations"]):
        if i % 2 == 0:
            text += ("\n\n" if i else "") + f"User: {turn}\nAI Assistant:"
        else:
            text += " " + (record["role"] + "\n\n" if i == 1 else "") + turn
            ends += 1
    return len(tokenizer.encode(text, add_special_tokens=False).ids) + ends


def shingles(text, n=5):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i:i + n]) for i in range(len(words) - n + 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=Path, default=Path(__file__).resolve().parents[2] / "configs" / "samples")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--limit", type=int, default=130)
    args = parser.parse_args()
    faults, seen, ids, lengths, kept = [], {}, set(), [], []
    tokenizer = None
    if args.tokenizer:
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    for name, minimum in MINIMUM.items():
        rows = [json.loads(line) for line in (args.samples / name).read_text(encoding="utf-8").splitlines()]
        if len(rows) < minimum:
            faults.append(f"{name}: {len(rows)} rows, at least {minimum} are wanted")
        for line, row in enumerate(rows, start=1):
            where = f"{name}:{line}"
            found = []
            if row.get("id") in ids or not row.get("id"):
                found.append("id is missing or used twice")
            ids.add(row.get("id"))
            if name == "questions.jsonl":
                texts = [row["prompt"]]
            else:
                found += role_faults(row.get("role")) + turn_faults(row.get("conversations"))
                if row.get("source") != "spt-samples":
                    found.append("source is not spt-samples")
                texts = [row["role"], *row["conversations"]]
                if tokenizer and not found:
                    lengths.append(sample_tokens(tokenizer, row))
                    if lengths[-1] > args.limit:
                        found.append(f"{lengths[-1]} tokens, the limit is {args.limit}")
            for text in texts:
                key = re.sub(r"\W+", " ", text.lower()).strip()
                if key in seen:
                    found.append(f"text also in {seen[key]}: {text[:50]!r}")
                seen[key] = where
                if text is not texts[0] or name == "questions.jsonl":
                    kept.append((where, text, shingles(text)))
            faults += [f"{where}: {fault}" for fault in found]
        if name == "records.jsonl" and sum(len(row["conversations"]) > 2 for row in rows) < MIN_MULTI_TURN:
            faults.append(f"{name}: fewer than {MIN_MULTI_TURN} records with several turns")
    for i, (where, text, own) in enumerate(kept):
        for other, _, theirs in kept[:i]:
            if other != where and own and theirs and len(own & theirs) > 0.3 * min(len(own), len(theirs)):
                faults.append(f"{where}: much like {other}: {text[:60]!r}")
    for fault in faults:
        print(fault, file=sys.stderr)
    if lengths:
        print(f"tokens a sample: {min(lengths)} to {max(lengths)}, mean {statistics.mean(lengths):.1f}")
    print(f"{len(seen)} texts, {len(faults)} faults" + ("" if tokenizer else "; lengths not checked: no --tokenizer"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
