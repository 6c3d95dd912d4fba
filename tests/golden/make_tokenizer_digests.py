#!/usr/bin/env python3
"""Writes tokenizer_digests.json: SHA-256 of Hugging Face's and SentencePiece's results on all of LIMA, for four tokenizers.

usage: make_tokenizer_digests.py SHARED_DATA     (with lima/, tokenizers/, weights/; needs transformers, sentencepiece)

LIMA may not be stored in the project, so only digests are. For every turn in file order:
  plain    little-endian int32 ids of the turn, special tokens in it being text, nothing put in front
  special  the same of `turn + eos + " x"`, special tokens recognised, with the tokenizer's own BOS
  decoded  UTF-8 of the text that the plain ids decode to, special tokens (so <unk>) left out
"""

import hashlib
import json
import pathlib
import sys

import numpy
import sentencepiece
import tokenizers
import transformers

FOLDERS = {
    "tokenizers/llama2": "</s>",
    "tokenizers/mistral_v0.1": "</s>",
    "weights/smollm2-135m-instruct": "<|im_end|>",
    "weights/tinystories-656K-hf": "<|end_story|>",
}


def digest(rows):
    total = hashlib.sha256()
    for row in rows:
        total.update(row.encode() if isinstance(row, str) else numpy.asarray(row, dtype="<i4").tobytes())
    return total.hexdigest()


def by_json(folder, eos, turns):
    # The file as it is: AutoTokenizer of transformers 5 would build another pipeline for some values of tokenizer_class.
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    plain = [tokenizer(t, add_special_tokens=False, split_special_tokens=True).input_ids for t in turns]
    # Which tokens are special is said by tokenizer_config.json, which only this one reads.
    named = transformers.AutoTokenizer.from_pretrained(folder)
    return {
        "plain": digest(plain),
        "special": digest(tokenizer(t + eos + " x").input_ids for t in turns),
        "decoded": digest(
            named.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in plain
        ),
    }


def by_sentencepiece(folder, turns):
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    plain = [model.encode(t) for t in turns]
    after_eos = model.encode("\n x")[2:]  # without the dummy prefix
    return {
        "plain": digest(plain),
        "special": digest([model.bos_id(), *ids, model.eos_id(), *after_eos] for ids in plain),
        "decoded": digest(model.decode([i for i in ids if i != model.unk_id()]) for ids in plain),
    }


def main():
    shared = pathlib.Path(sys.argv[1])
    lines = (shared / "lima/train.jsonl").read_text().splitlines()
    turns = [turn for line in lines for turn in json.loads(line)["conversations"]]
    digests = {}
    for name, eos in FOLDERS.items():
        digests[name + "/tokenizer.json"] = by_json(shared / name, eos, turns)
        if (shared / name / "tokenizer.model").exists():
            digests[name + "/tokenizer.model"] = by_sentencepiece(shared / name, turns)
    versions = {m.__name__: m.__version__ for m in (transformers, tokenizers, sentencepiece)}
    out = pathlib.Path(__file__).with_name("tokenizer_digests.json")
    out.write_text(json.dumps({"written_with": versions, "digests": digests}, indent=2) + "\n")


if __name__ == "__main__":
    main()
