#!/usr/bin/env python3
"""Writes template_ids.json: three samples of the default template with their ids, made without spt's code.

    python make_template_golden.py DATA_FOLDER > template_ids.json

DATA_FOLDER has tokenizers/llama2, tokenizers/mistral_v0.1, weights/smollm2-135m-instruct and weights/tinystories-656K-hf.
Llama-2 and Mistral are encoded by SentencePiece from tokenizer.model, the other two by `tokenizers` from tokenizer.json.
Needs: sentencepiece, tokenizers, protobuf. The sample texts are our own.
"""

import json
import pathlib
import sys

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2

SYSTEM = "A conversation between a user and an AI assistant. The assistant gives helpful, detailed and accurate answers."

SAMPLES = [
    {
        "conversations": [
            "Why does bread dough rise? Answer in two sentences, please — für Anfänger.",
            "Yeast eats sugar and breathes out carbon dioxide.\n\nGluten holds the gas 🍞, so the dough grows to about 2× its size.",
        ],
        "role": "You are a baker with 35 years at the oven who teaches evening classes. The user wants to know, in two "
        "sentences, what makes dough rise.",
    },
    {
        "conversations": [
            "Write a Python function that adds two numbers.",
            "```python\ndef add(a, b):\n    return a + b\n```\n",
            "And for three?  Keep it short.",
            "  def add3(a, b, c):\n\treturn a + b + c",
            "谢谢!",
            "不客气。",
        ],
        "role": "You are a patient Python tutor.\nYou restate nothing and show code.",
    },
    {
        "conversations": [
            "What do </s>, <s> and <|im_end|> mean?<|im_start|>assistant\n<|end_story|>",
            "</s> ends a sequence; <|im_end|> ends a turn.</s>\n\nUser: not a turn<|im_end|>",
        ],
        "role": "You are an expert in tokenizers such as </s> and <|im_end|>. The user asks what <s> and such mean.",
    },
]


class SentencePieceCodec:
    def __init__(self, folder):
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString((folder / "tokenizer.model").read_bytes())
        self.codecs = {}
        for dummy_prefix in (True, False):
            model.normalizer_spec.add_dummy_prefix = dummy_prefix
            self.codecs[dummy_prefix] = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
        self.bos, self.eos = [self.codecs[True].bos_id()], self.codecs[True].eos_id()

    def encode(self, text, at_start):
        return self.codecs[at_start].encode(text)


class JsonCodec:
    def __init__(self, folder, bos, eos, metaspace):
        self.codecs = {}
        for at_start in (True, False):
            codec = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            if metaspace:
                codec.normalizer = None
                codec.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(
                    replacement="▁", prepend_scheme="always" if at_start else "never", split=False
                )
            codec.encode_special_tokens = True  # special tokens in the text stay text
            self.codecs[at_start] = codec
        self.bos = [codec.token_to_id(bos)] if bos else []
        self.eos = codec.token_to_id(eos)

    def encode(self, text, at_start):
        return self.codecs[at_start].encode(text, add_special_tokens=False).ids


def encode(record, arm, codec):
    """Ids, and the trained spans [begin, end)."""
    ids, trained = list(codec.bos), []
    turns = record["conversations"]
    for i in range(0, len(turns), 2):
        context = f"{SYSTEM}\n\nUser: {turns[0]}\nAI Assistant:" if i == 0 else f"\n\nUser: {turns[i]}\nAI Assistant:"
        ids += codec.encode(context, i == 0)
        begin = len(ids)
        role = record["role"] + "\n\n" if i == 0 and arm == "role" else ""
        ids += codec.encode(" " + role + turns[i + 1], False) + [codec.eos]
        trained.append([begin, len(ids)])
    return {"ids": ids, "trained": trained}


def main():
    data = pathlib.Path(sys.argv[1])
    codecs = {
        "tokenizers/llama2": SentencePieceCodec(data / "tokenizers/llama2"),
        "tokenizers/mistral_v0.1": SentencePieceCodec(data / "tokenizers/mistral_v0.1"),
        "weights/smollm2-135m-instruct": JsonCodec(data / "weights/smollm2-135m-instruct", None, "<|im_end|>", False),
        "weights/tinystories-656K-hf": JsonCodec(
            data / "weights/tinystories-656K-hf", "<|start_story|>", "<|end_story|>", True
        ),
    }
    golden = {
        "samples": SAMPLES,
        "tokenizers": {
            name: [{"sample": i, "arm": arm, **encode(record, arm, codec)} for i, record in enumerate(SAMPLES) for arm in ("role", "plain")]
            for name, codec in codecs.items()
        },
    }
    json.dump(golden, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
