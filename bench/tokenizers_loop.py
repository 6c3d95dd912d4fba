#!/usr/bin/env python3
"""How long the `tokenizers` package takes, on one thread, to encode the texts that `spt prepare --arm role` encodes.

    tokenizers_loop.py RECORDS.jsonl TOKENIZER_DIR      prints one JSON line: texts, tokens, seconds (of encoding alone)

The texts are the pieces of the default template: system line and question, then role and answer. Reading and parsing the
file is not counted here, and all of it is on spt's side.
"""
import json
import os
import sys
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers

SYSTEM = "A conversation between a user and an AI assistant. The assistant gives helpful, detailed and accurate answers."
BATCH = 1000


def main():
    path, folder = sys.argv[1], Path(sys.argv[2])
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    seconds, texts, tokens = 0.0, 0, 0
    with open(path, encoding="utf-8") as file:
        while True:
            batch = []
            for line in file:
                record = json.loads(line)
                question, answer = record["conversations"][:2]
                batch += [f"{SYSTEM}\n\nUser: {question}\nAI Assistant:", f" {record['role']}\n\n{answer}"]
                if len(batch) >= BATCH:
                    break
            if not batch:
                break
            begin = time.perf_counter()
            encoded = [tokenizer.encode(text, add_special_tokens=False) for text in batch]
            seconds += time.perf_counter() - begin
            texts += len(batch)
            tokens += sum(len(item.ids) for item in encoded)
    print(json.dumps({"texts": texts, "tokens": tokens, "seconds": round(seconds, 2)}))


if __name__ == "__main__":
    main()
