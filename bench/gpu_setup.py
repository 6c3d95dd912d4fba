"""Models, corpora and training runs of bench/gpu.sh."""
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import torch

SOURCE = Path(__file__).resolve().parents[1]
WORK = Path(os.environ.get("SPT_GPU_WORK", Path(tempfile.gettempdir()) / "spt-gpu"))  # pieces on one machine share what they make
LLAMA_2_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000,
              "max_position_embeddings": 4096}
TINY = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1024,
        "max_position_embeddings": 512}
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


def has_gpu():
    return torch.cuda.is_available()


def call(*command, env=None, limit=300):
    """Status and output."""
    done = subprocess.run([str(word) for word in command], env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=limit, check=False)
    return done.returncode, done.stdout


def on_ranks(ranks, *command):
    return (*(["mpirun", "-np", ranks, "--oversubscribe", "--bind-to", "none"] if ranks > 1 else []), *command)


def parameters_of(config):
    """Name -> shape, in the order of a Hugging Face Llama."""
    width, mlp = config["hidden_size"], config["intermediate_size"]
    kv = width // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    for layer in range(config["num_hidden_layers"]):
        for name, shape in (("input_layernorm", (width,)), ("self_attn.q_proj", (width, width)), ("self_attn.k_proj", (kv, width)), ("self_attn.v_proj", (kv, width)),
                            ("self_attn.o_proj", (width, width)), ("post_attention_layernorm", (width,)), ("mlp.gate_proj", (mlp, width)), ("mlp.up_proj", (mlp, width)),
                            ("mlp.down_proj", (width, mlp))):
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    return shapes | {"model.norm.weight": (width,), "lm_head.weight": (config["vocab_size"], width)}


def make_model(dry):
    """A Hugging Face folder with random weights in bf16; made once a machine."""
    folder = WORK / ("tiny" if dry else "llama-2-7b")
    if (folder / "model.safetensors").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SOURCE / "configs/tiny_model" / name, folder)
    config = TINY if dry else LLAMA_2_7B
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5,
                                                    "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "eos_token_id": 1,
                                                    "initializer_range": 0.02, **config}))
    shapes = parameters_of(config)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    torch.manual_seed(1)
    with open(folder / "model.partial", "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            values = torch.ones(shape) if len(shape) == 1 else torch.randn(shape, device="cuda" if has_gpu() else "cpu").mul_(0.02)
            out.write(memoryview(values.to(torch.bfloat16).view(torch.uint8).cpu().numpy()).cast("B"))
    (folder / "model.partial").rename(folder / "model.safetensors")
    return folder


def make_corpus(model, name, lengths, most_tokens):
    """One conversation of about so many tokens each, all of the answer trained."""
    path = WORK / f"{name}.h5"
    if path.exists():
        return path
    rng = random.Random(1)
    words = sorted({word for line in (SOURCE / "configs/samples/records.jsonl").read_text(encoding="utf-8").splitlines()
                    for turn in json.loads(line)["conversations"] for word in turn.split()})
    records = path.with_suffix(".jsonl")
    with open(records, "w", encoding="utf-8") as out:
        for i, length in enumerate(lengths):  # a word is two tokens or more
            out.write(json.dumps({"id": str(i), "conversations": ["Go on.", " ".join(rng.choices(words, k=max(1, length // 2)))]}) + "\n")
    status, output = call("spt", "prepare", records, "--tokenizer", model, "--arm", "plain", "--max-tokens", most_tokens, "--out", path)
    if status:
        raise RuntimeError(output)
    return path


class Utilisation:
    """Share of the time without a kernel, by the driver's counters (nvidia-smi, five looks a second): None without a GPU."""

    def __init__(self):
        self.looks = []
        self.process = None
        if has_gpu():
            command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.looks.append((time.monotonic(), float(line)))

    def idle_share(self, begin, end):
        if self.process:
            self.process.terminate()
        busy = [value for at, value in self.looks if begin <= at <= end]
        return 1 - sum(busy) / len(busy) / 100 if busy else None


def rows_of(run):
    try:
        text = (run / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def train(run, model, corpus, *keys, rows, limit, env=None):
    """A run that is ended once it has so many rows, before it saves anything: rows, when the second was there, log, share of idle time since."""
    shutil.rmtree(run, ignore_errors=True)
    utilisation, second = Utilisation(), None
    command = ["spt", "train", "/dev/null", f"run.dir={run}", f"model.path={model}", f"data.train={corpus}", f"train.steps={rows + 100}",
               f"checkpoint.every_steps={rows + 100}", *keys]
    log = run.with_suffix(".log")
    with open(log, "w", encoding="utf-8") as out:
        process = subprocess.Popen([str(word) for word in command], env={**os.environ, **(env or {})}, stdout=out, stderr=subprocess.STDOUT)
    end = time.monotonic() + limit
    found = []
    while len(found) < rows and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
        found = rows_of(run)
        if len(found) >= 2 and second is None:
            second = time.monotonic()
    idle = utilisation.idle_share(second or end, time.monotonic())
    process.send_signal(signal.SIGKILL)
    process.wait()
    return found[:rows], idle, log.read_text()[-3000:]
