#!/usr/bin/env python3
"""Writes a random model with a tokenizer as Llama-2 has it: BPE with byte fallback, "▁" put in front, BOS, class LlamaTokenizer.

    llama_model.py CONFIG_DIR RECORDS.jsonl OUT

CONFIG_DIR: the folder whose config.json gives the shape; RECORDS: what the vocabulary is learnt from.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, trainers

VOCABULARY = 800


def make_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    markers = ["<unk>", "<s>", "</s>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    # Learnt word by word, as no token of Llama's has a "▁" inside.
    words = [f"▁{word}" for text in texts for word in text.split()]
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.train_from_iterator(words, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=markers + byte_tokens, show_progress=False))
    settings = json.loads(tokenizer.to_str())
    learnt = json.loads(learner.to_str())
    settings["model"]["vocab"], settings["model"]["merges"] = learnt["model"]["vocab"], learnt["model"]["merges"]
    settings["added_tokens"] = [token for token in learnt["added_tokens"] if token["content"] in markers]
    settings["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    settings["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return settings


def main():
    config_dir, records, out = map(Path, sys.argv[1:])
    texts = [text for line in records.read_text().splitlines() for text in json.loads(line)["conversations"]]
    with tempfile.TemporaryDirectory() as source:
        source = Path(source)
        tokenizer = make_tokenizer(texts)
        (source / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
        (source / "tokenizer_config.json").write_text(json.dumps(
            {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
             "add_bos_token": True, "add_eos_token": False, "legacy": False}))
        config = json.loads((config_dir / "config.json").read_text())
        (source / "config.json").write_text(json.dumps(
            {**config, "vocab_size": len(tokenizer["model"]["vocab"]), "bos_token_id": 1, "eos_token_id": 2}))
        subprocess.run([sys.executable, Path(__file__).with_name("random_model.py"), source, out], check=True)


if __name__ == "__main__":
    main()
