#!/usr/bin/env python3
"""The chat_template we generate gives, in transformers, the prompts we train on.

    spt prepare RECORDS.jsonl --arm plain --tokenizer FOLDER --out CORPUS.h5
    spt inspect CORPUS.h5 --tokenizer FOLDER --json > INSPECT.json
    chat_template_test.py FOLDER CORPUS.h5 RECORDS.jsonl [--inspect INSPECT.json] [--first-turn-only]
        [--tokenizer-class C]

FOLDER: a Hugging Face folder with a tokenizer; its own chat_template is checked unless --inspect brings ours. RECORDS: lima or messages,
without "id" fields. Every prompt of every record is compared: all ids up to where an assistant's turn begins. Left out, and
counted, are prompts beyond the corpus's max_tokens and those of records with a special token's text in them, which
transformers recognises and we do not. --first-turn-only: for vocabularies with tokens that cross the place where an answer begins.
--tokenizer-class PreTrainedTokenizerFast: takes tokenizer.json as it is; AutoTokenizer makes a GPT2Tokenizer of some (SmolLM2)
that leaves out their pre-tokenizer's splitting of digits.
"""
import argparse
import json
from pathlib import Path

import h5py
import transformers
from peer import Report


def messages_of(record):
    if "messages" in record:
        return record["messages"]
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(record["conversations"])]


def starts_of_answers(trained):
    return [i for i in range(len(trained)) if trained[i] and (i == 0 or not trained[i - 1])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("records", type=Path)
    parser.add_argument("--inspect", type=Path)
    parser.add_argument("--first-turn-only", action="store_true")
    parser.add_argument("--tokenizer-class", default="AutoTokenizer", choices=["AutoTokenizer", "PreTrainedTokenizerFast"])
    args = parser.parse_args()
    report = Report()
    tokenizer = getattr(transformers, args.tokenizer_class).from_pretrained(args.folder)
    template = json.loads(args.inspect.read_text())["chat_template"] if args.inspect else None
    specials = [token for token in tokenizer.get_added_vocab() if token in tokenizer.all_special_tokens or token.startswith("<|")]
    lines = args.records.read_text().splitlines()
    with h5py.File(args.corpus, "r") as corpus:
        ids, trained, offsets = corpus["tokens"][:], corpus["trained"][:], corpus["offsets"][:]
        rows = [line.decode() for line in corpus["id"][:]]
    compared = left_out = 0
    for row, line in enumerate(rows):
        begin, end = offsets[row], offsets[row + 1]
        messages = messages_of(json.loads(lines[int(line) - 1]))
        if any(special in message["content"] for special in specials for message in messages):
            left_out += 1
            continue
        starts = starts_of_answers(trained[begin:end])
        prompts = [messages[:i] for i in range(1, len(messages)) if messages[i]["role"] == "assistant"]
        left_out += len(prompts) - len(starts)
        for prompt, start in list(zip(prompts, starts))[: 1 if args.first_turn_only else None]:
            theirs = tokenizer.apply_chat_template(prompt, chat_template=template, add_generation_prompt=True, return_dict=False)
            ours = ids[begin : begin + start].tolist()
            compared += 1
            if theirs != ours:
                at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
                report.check(False, f"record {line}: ids differ at {at}: ours {ours[at:at + 5]} ({tokenizer.decode(ours[at:at + 5])!r}), "
                             f"transformers' {theirs[at:at + 5]} ({tokenizer.decode(theirs[at:at + 5])!r})")
    report.check(compared > 0, f"{compared} prompts of {len(rows)} records have transformers' ids ({left_out} left out)")
    report.finish()


if __name__ == "__main__":
    main()
