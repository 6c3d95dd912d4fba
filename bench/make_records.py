#!/usr/bin/env python3
"""Records of about 800 tokens made from the paragraphs of a file of records: an instruction data set of any size.

    make_records.py RECORDS.jsonl COUNT > OUT.jsonl

Each record has one question and an answer of paragraphs chosen by a fixed seed, 3,600 characters in all (LIMA has 4.5 a
token), a role, and a source. Roles are ours.
"""
import json
import random
import sys

CHARACTERS = 3600
ROLE = "You are a {} who explains things to beginners. The user wants to know what follows from the text at hand."
TRADES = ["physicist", "baker", "lawyer", "gardener", "historian", "programmer", "nurse", "teacher"]


def main():
    source, count = sys.argv[1], int(sys.argv[2])
    questions, paragraphs = [], []
    with open(source, encoding="utf-8") as file:
        for line in file:
            turns = json.loads(line)["conversations"]
            questions.append(turns[0][:800])
            paragraphs += [part for turn in turns for part in turn.split("\n") if len(part) > 40]
    chosen = random.Random(1)
    for _ in range(count):
        question = chosen.choice(questions)
        answer, size = [], len(question)
        while size < CHARACTERS:
            part = chosen.choice(paragraphs)[:CHARACTERS - size + 40]
            answer.append(part)
            size += len(part)
        print(json.dumps({"conversations": [question, "\n".join(answer)], "role": ROLE.format(chosen.choice(TRADES)),
                          "source": "made"}, ensure_ascii=False))


if __name__ == "__main__":
    main()
