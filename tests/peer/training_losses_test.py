#!/usr/bin/env python3
"""The losses of a run in metrics.jsonl equal those of a transformers + torch.optim.AdamW loop over the same rows, in fp32.

    training_losses_test.py --run RUN_DIR --rows ROWS.json [--model DIR] [--corpus C.h5] [--steps 10] [--total-steps T]

Reads RUN_DIR/config.yaml (as resolved) and RUN_DIR/metrics.jsonl. ROWS.json: a list with the corpus rows of each step from
step 1 on. Compares the first --steps steps: loss to 1e-4 relative, grad_norm to 1e-3, lr and trained_tokens exactly.
--total-steps is the schedule's length; without it, train.steps of the configuration, else epochs × steps an epoch.
"""
import argparse
import json
import math
from pathlib import Path

import h5py
import torch
import torch.nn.functional as F
import yaml
from peer import Report, load_model

DEFAULTS = {
    "optimizer": {"lr": 1e-5, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "clip_norm": 1.0},
    "schedule": {"kind": "linear", "warmup_steps": 0, "final_lr": 1e-6},
    "train": {"epochs": 5, "batch_examples": 64},
}


def section(config, name):
    return DEFAULTS.get(name, {}) | (config.get(name) or {})


def read_rows(corpus, rows, max_tokens):
    """(ids [n], trained [n]) of each row."""
    out = []
    for row in rows:
        begin, end = (int(x) for x in corpus["offsets"][row:row + 2])
        end = min(end, begin + max_tokens) if max_tokens else end
        out.append((torch.from_numpy(corpus["tokens"][begin:end]).long(), torch.from_numpy(corpus["trained"][begin:end]).bool()))
    return out


def learning_rate(step, total, optimizer, schedule):
    lr, final, warmup = float(optimizer["lr"]), float(schedule["final_lr"]), int(schedule["warmup_steps"])
    if step < warmup:
        return lr * (step + 1) / warmup
    return final + (lr - final) * (1 - (step - warmup) / (total - warmup))


def close(a, b, relative):
    return math.isclose(a, b, rel_tol=relative, abs_tol=1e-12)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--corpus")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--total-steps", type=int)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    report = Report()
    config = yaml.safe_load((args.run / "config.yaml").read_text())
    metrics = [json.loads(line) for line in (args.run / "metrics.jsonl").read_text().splitlines()]
    rows = json.loads(args.rows.read_text())
    optimizer_config, schedule, train, data = (section(config, name) for name in ("optimizer", "schedule", "train", "data"))
    corpus = h5py.File(args.corpus or data["train"], "r", locking=False)
    per_epoch = math.ceil((len(corpus["offsets"]) - 1) / train["batch_examples"])
    total = args.total_steps or train.get("steps") or train["epochs"] * per_epoch
    model = load_model(args.model or section(config, "model")["path"]).train()
    betas, eps, decay = tuple(map(float, optimizer_config["betas"])), float(optimizer_config["eps"]), float(optimizer_config["weight_decay"])
    optimizer = torch.optim.AdamW([{"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": decay},
                                   {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}], betas=betas, eps=eps)
    report.check(len(metrics) >= args.steps and len(rows) >= args.steps, f"{len(metrics)} steps in metrics.jsonl and {len(rows)} in the rows, {args.steps} wanted")
    for step in range(min(args.steps, len(metrics), len(rows))):
        batch = read_rows(corpus, rows[step], data.get("max_tokens") or 0)
        trained = sum(int(mask[1:].sum()) for _, mask in batch)
        lr = learning_rate(step, total, optimizer_config, schedule)
        optimizer.zero_grad()
        loss = 0.0
        for ids, mask in batch:
            labels = torch.where(mask[1:], ids[1:], -100)
            part = F.cross_entropy(model(input_ids=ids[None], use_cache=False).logits[0, :-1], labels, ignore_index=-100, reduction="sum") / trained
            part.backward()
            loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), float(optimizer_config["clip_norm"])).item()
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        ours = metrics[step]
        good = (ours["step"] == step + 1 and close(ours["loss"], loss, args.tolerance) and close(ours["grad_norm"], norm, 10 * args.tolerance)
                and close(ours["lr"], lr, 1e-6) and ours["trained_tokens"] == trained)
        report.check(good, f"step {step + 1}: loss {ours['loss']:.6f} ours, {loss:.6f} transformers (relative {abs(ours['loss'] / loss - 1):.1e}); "
                     f"norm {ours['grad_norm']:.5f}, {norm:.5f}; lr {ours['lr']:.3e}, {lr:.3e}; trained {ours['trained_tokens']}, {trained}")
    report.finish()


if __name__ == "__main__":
    main()
