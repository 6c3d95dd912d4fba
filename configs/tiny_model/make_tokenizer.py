#!/usr/bin/env python3
"""Writes tokenizer.json and tokenizer_config.json beside this file: byte-level BPE of 1,024 tokens, no BOS, trained on
configs/samples/records.jsonl. Same files on every run with the same version. To rerun:

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install tokenizers==0.23.1
    /tmp/peer/bin/python make_tokenizer.py
"""
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
SPECIAL = ["<|im_start|>", "<|im_end|>"]
VOCABULARY = 1024


def texts():
    system = "A conversation between a user and an AI assistant. The assistant gives helpful, detailed and accurate answers."
    for line in (HERE.parent / "samples" / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        turns = record["conversations"]
        yield f"{system}\n\nUser: {turns[0]}\nAI Assistant: {record['role']}\n\n{turns[1]}"
        for user, answer in zip(turns[2::2], turns[3::2]):
            yield f"\n\nUser: {user}\nAI Assistant: {answer}"


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts(), trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.save(str(HERE / "tokenizer.json"))
    config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "bos_token": None, "unk_token": None,
              "add_bos_token": False, "add_prefix_space": False, "clean_up_tokenization_spaces": False, "model_max_length": 512}
    (HERE / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
