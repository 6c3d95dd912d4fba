#!/usr/bin/env python3
"""Writes the golden numbers of tests/golden/. To rerun, from this folder:

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install torch==2.11.0 transformers safetensors
    /tmp/peer/bin/python make_golden.py            # overwrites every folder below; same bits on the same CPU type

Each folder is a Hugging Face folder (config.json, model.safetensors in fp32, generation_config.json) of a tiny model with
random weights, plus golden.safetensors, computed by transformers in fp32, eager attention, one example at a time, one thread.

llama, llama_gqa, mistral:
  ids int64 [T], starts int64 [n+1], trained uint8 [T]   a ragged batch of 5 examples; one has a single token
  logits fp32 [T, V]
  loss_sum fp32 [1], trained_count int64 [1]             sum of -log p over the trained tokens (natural logarithm)
  grad.PARAMETER                                         gradient of loss_sum / trained_count
  step<k>.ids, .starts, .trained, k = 0 .. 9             batches of a training run of 7 examples a step
  losses, grad_norms, lrs fp32 [10]                      of that run: mean loss, norm before clipping, learning rate used
  final_norm.PARAMETER fp32 [1]                          L2 norm of each parameter after the 10 steps
  greedy<k>.prompt, greedy<k>.output int64, k = 0 .. 2   20 greedy new tokens each, from the weights of the folder
The run: AdamW, lr 1e-3 falling linearly to 1e-4 (step t of T: final + (lr - final)(1 - t/T)), betas 0.9 and 0.95, eps 1e-8,
decay 0.1 on matrices only, gradients clipped to norm 1.

rope_*: one layer and 67 tokens each, for the ways a config states its rotary embedding: ids, starts, logits as above.

The label of position i is token i+1 of the same example where that token is trained. An example's first token never is.
"""
import json
import shutil
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
EOS = 2
STEPS, LR, FINAL_LR = 10, 1e-3, 1e-4

# With 8 features a head and theta 500,000, one frequency is kept, one blended, two divided by the factor.
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256}
COMMON = {
    "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": EOS, "hidden_act": "silu",
    "initializer_range": 0.02, "max_position_embeddings": 128, "mlp_bias": False, "torch_dtype": "float32", "use_cache": True,
}
LLAMA = COMMON | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
MISTRAL = {k: v for k, v in COMMON.items() if k not in ("attention_bias", "mlp_bias")} | {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral"}
# Written in the style of the published checkpoints: rope_theta and rope_scaling beside the other keys.
MODELS = {
    "llama": LLAMA | {
        "vocab_size": 1003, "hidden_size": 32, "intermediate_size": 88, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": False},
    "llama_gqa": LLAMA | {
        "vocab_size": 1003, "hidden_size": 64, "intermediate_size": 112, "num_hidden_layers": 3, "num_attention_heads": 8,
        "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "rope_scaling": LLAMA3,
        "max_position_embeddings": 2048, "tie_word_embeddings": True},
    # head_dim is not hidden_size / heads.
    "mistral": MISTRAL | {
        "vocab_size": 1003, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 8,
        "tie_word_embeddings": False},
}
ROPE_MODEL = LLAMA | {
    "vocab_size": 67, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
ROPES = {
    "rope_linear_old": {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "rope_linear_new": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}},
    "rope_default_new": {"rope_parameters": {"rope_type": "default", "rope_theta": 50000.0}},
    "rope_llama3_new": {"rope_parameters": LLAMA3 | {"rope_theta": 500000.0}, "max_position_embeddings": 2048},
}


def write_folder(name, config, generator):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": EOS}, indent=2) + "\n")
    model = model_of(config, folder)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.2, generator=generator)
            if p.ndim == 1:
                p.add_(1)
    write({n: p.detach().clone() for n, p in model.named_parameters()}, folder / "model.safetensors")
    loaded, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    return folder, loaded.train()


def write(tensors, path):
    save_file(tensors, path, {"format": "pt"})
    path.chmod(0o644)


def model_of(config, folder):
    parsed = AutoConfig.from_pretrained(folder)
    assert parsed.vocab_size == config["vocab_size"]
    return AutoModelForCausalLM.from_config(parsed, attn_implementation="eager", dtype=torch.float32)


def ragged(lengths, vocab, generator, cycle=None):
    """ids, starts, trained: a context, a trained span, and in longer examples a second context and span (a further turn).
    With `cycle`, ids run along it from a random place, so that there is something to learn."""
    ids, trained = [], []
    for n in lengths:
        if cycle is None:
            tokens = torch.randint(3, vocab, (n,), generator=generator)
        else:
            tokens = cycle[(torch.randint(0, len(cycle), (1,), generator=generator) + torch.arange(n)) % len(cycle)]
        mask = torch.zeros(n, dtype=torch.uint8)
        if n > 1:
            first = int(torch.randint(1, max(2, n // 2), (1,), generator=generator))
            mask[first:] = 1
            if n > 15:
                mask[n // 2 + 1:n // 2 + 4] = 0
        ids.append(tokens)
        trained.append(mask)
    starts = torch.tensor([0] + list(lengths)).cumsum(0)
    return torch.cat(ids), starts, torch.cat(trained)


def forward(model, ids, starts, trained):
    """Logits [T, V], sum of -log p, number of trained tokens."""
    logits, total, count = [], 0.0, 0
    for a, b in zip(starts[:-1].tolist(), starts[1:].tolist()):
        out = model(input_ids=ids[None, a:b], use_cache=False).logits[0]
        labels = torch.where(trained[a + 1:b].bool(), ids[a + 1:b], -100)
        logits.append(out)
        if b - a > 1:
            total = total + F.cross_entropy(out[:-1], labels, ignore_index=-100, reduction="sum")
        count += int((labels != -100).sum())
    return torch.cat(logits), total, count


def greedy(model, prompt, new):
    """The new tokens, or None where a near tie or an early end makes the prompt a poor test."""
    ids = prompt.clone()
    for _ in range(new):
        top = model(input_ids=ids[None], use_cache=False).logits[0, -1].topk(2)
        if top.values[0] - top.values[1] < 5e-3 or top.indices[0] == EOS:
            return None
        ids = torch.cat([ids, top.indices[:1]])
    return ids[len(prompt):]


def train(model, generator, vocab, out):
    decay = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
                                  lr=LR, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    cycle = torch.randint(3, vocab, (24,), generator=generator)
    cycle[0] = vocab - 1
    losses, norms, lrs = [], [], []
    for step in range(STEPS):
        lengths = torch.randint(2, 20, (7,), generator=generator).tolist()
        batch = ragged(lengths, vocab, generator, cycle)
        for key, value in zip(("ids", "starts", "trained"), batch):
            out[f"step{step}.{key}"] = value
        lr = FINAL_LR + (LR - FINAL_LR) * (1 - step / STEPS)
        for group in optimizer.param_groups:
            group["lr"] = lr
        _, total, count = forward(model, *batch)
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimizer.step()
        losses.append(loss.item())
        lrs.append(lr)
    out["losses"], out["grad_norms"], out["lrs"] = (torch.tensor(x) for x in (losses, norms, lrs))
    for name, p in model.named_parameters():
        out[f"final_norm.{name}"] = p.detach().norm().reshape(1)
    print("  losses", [round(x, 4) for x in losses], "norms", [round(x, 3) for x in norms])


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for seed, (name, config) in enumerate(MODELS.items(), start=1):
        generator = torch.Generator().manual_seed(seed)
        folder, model = write_folder(name, config, generator)
        vocab = config["vocab_size"]
        out = {}
        ids, starts, trained = ragged([17, 3, 40, 1, 9], vocab, generator)
        logits, total, count = forward(model, ids, starts, trained)
        (total / count).backward()
        out |= {"ids": ids, "starts": starts, "trained": trained, "logits": logits.detach().contiguous(),
                "loss_sum": total.detach().reshape(1), "trained_count": torch.tensor([count])}
        for n, p in model.named_parameters():
            out[f"grad.{n}"] = p.grad.clone()
        print(name, f"{sum(p.numel() for p in model.parameters())} parameters, loss {total.item() / count:.4f}, logits std {logits.std():.3f}")
        with torch.no_grad():
            for k, n in enumerate((1, 6, 21)):
                output = None
                while output is None:
                    prompt = torch.randint(3, vocab, (n,), generator=generator)
                    output = greedy(model, prompt, 20)
                out[f"greedy{k}.prompt"], out[f"greedy{k}.output"] = prompt, output
                print("  greedy", out[f"greedy{k}.output"].tolist())
        train(model, generator, vocab, out)
        write(out, folder / "golden.safetensors")
    for name, rope in ROPES.items():
        generator = torch.Generator().manual_seed(100)  # the same weights and ids for all
        folder, model = write_folder(name, ROPE_MODEL | rope, generator)
        ids, starts, trained = ragged([40, 5], 67, generator)
        with torch.no_grad():
            logits, _, _ = forward(model, ids, starts, trained)
        write({"ids": ids, "starts": starts, "logits": logits.contiguous()}, folder / "golden.safetensors")
        print(name, f"logits norm {logits.norm():.4f}")


if __name__ == "__main__":
    main()
