#!/usr/bin/env python3
"""One piece of bench/gpu.sh, which says what each is."""
import argparse
import json
import random
import re
import shutil
import statistics
import sys
import time
import traceback
from pathlib import Path

import torch

from gpu_setup import NO_GPU, SOURCE, WORK, call, has_gpu, make_corpus, make_model, on_ranks, rows_of, train


def timed(rows):
    """Without the first two, which take memory and choose algorithms."""
    kept = rows[2:] or rows
    middle = lambda key: statistics.median(row[key] for row in kept) if all(row.get(key) is not None for row in kept) else None
    return {"steps": len(rows), "timed": len(kept), "tokens_a_step": middle("tokens"), "tokens_per_second": middle("tokens_per_second"), "mfu": middle("mfu"),
            "seconds": [round(row["seconds"], 3) for row in rows], "data_seconds": round(sum(row["data_seconds"] for row in kept), 4),
            "memory_bytes": rows[-1]["memory_bytes"], "device_allocations": [row.get("device_allocations") for row in rows], "losses": [row["loss"] for row in rows]}


def training(args, corpus, *keys, rows, limit, env=None):
    """With as little recomputed as memory allows."""
    model = make_model(args.dry)
    tries = {}
    for recompute in ("none", "attention", "block"):
        found, idle, log = train(WORK / f"run-{recompute}", model, corpus, f"model.recompute={recompute}", "optimizer.lr=1e-6", *keys, rows=rows, limit=limit, env=env)
        if found:
            return {"recompute": recompute, "out_of_memory": list(tries), "idle_share": idle, **timed(found)}
        tries[recompute] = log
        if "out of memory" not in log.lower():
            break
    return {"failed": tries}


def long_corpus(args):
    tokens = 256 if args.dry else 4096
    return make_corpus(make_model(args.dry), "long", [2 * tokens] * 64, tokens), tokens


def mfu(args):
    corpus, tokens = long_corpus(args)
    batch = 4 if args.dry else 64
    return training(args, corpus, f"train.batch_examples={batch}", f"train.micro_batch_tokens={tokens}", rows=12, limit=400)


def lima(args):
    rng = random.Random(2)
    most = 128 if args.dry else 2048
    lengths = [min(most, max(16, int(rng.lognormvariate(6.1, 0.8)) * most // 2048)) for _ in range(64 if args.dry else 1030)]
    corpus = make_corpus(make_model(args.dry), "lima", lengths, most)
    return training(args, corpus, f"train.batch_examples={8 if args.dry else 64}", f"train.micro_batch_tokens={2 * most}", rows=8, limit=300)


def offload(args):
    corpus, tokens = long_corpus(args)
    env = {}
    if has_gpu():
        total = torch.cuda.get_device_properties(0).total_memory
        env = {"PYTORCH_CUDA_ALLOC_CONF": f"per_process_memory_fraction:{min(1.0, 80e9 / total):.4f}"}
    return training(args, corpus, "optimizer.offload=cpu", f"train.batch_examples={4 if args.dry else 16}", f"train.micro_batch_tokens={tokens}", rows=5, limit=350, env=env)


def decode(args):
    model, found = make_model(args.dry), {}
    new_tokens = 16 if args.dry else 128
    for batch in (1, 64):
        prompts = WORK / f"prompts-{batch}.jsonl"
        prompts.write_text("".join(json.dumps({"prompt_ids": [(7919 * i + 13 * j) % 1000 + 2 for j in range(64)], "new_tokens": new_tokens}) + "\n" for i in range(max(batch, 4))))  # four in turn: the first loads kernels
        status, output = call("generate_loop", model, prompts, batch, WORK / f"answers-{batch}.jsonl", "bf16", limit=200)
        found[f"batch {batch}"] = json.loads(output.splitlines()[-1]) if status == 0 else {"status": status, "output": output[-2000:]}
    return found


def peer(args):
    corpus, tokens = long_corpus(args)
    examples, steps = (4, 4) if args.dry else (16, 5)
    ours = training(args, corpus, "model.dtype=bf16", f"train.batch_examples={examples}", f"train.micro_batch_tokens={tokens}", rows=steps, limit=200)
    status, output = call(sys.executable, SOURCE / "bench/gpu_peer.py", "--model", make_model(args.dry), "--corpus", corpus, "--examples", examples, "--tokens", tokens,
                          "--steps", steps, limit=240)
    theirs = json.loads(output.splitlines()[-1]) if status == 0 else {"status": status, "output": output[-2000:]}
    ratio = ours["tokens_per_second"] / theirs["tokens_per_second"] if "tokens_per_second" in ours and "tokens_per_second" in theirs else None
    return {"ours": ours, "theirs": theirs, "ratio": ratio}


def sanitize(args):
    if shutil.which("compute-sanitizer") is None:
        return {"skipped": "no compute-sanitizer on PATH"}
    status, output = call("compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "3", shutil.which("trainer_tests"), "--gtest_filter=GpuKernels.*", limit=400)
    return {"status": status, "output": output[-3000:], "failed": {} if status == 0 else {"memcheck": status}}


# ---- tests -----------------------------------------------------------------------------------------------------------


def read_tensor(path, name):
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:8 + length])[name]
    begin, end = (8 + length + offset for offset in entry["data_offsets"])
    return torch.frombuffer(bytearray(data[begin:end]), dtype={"F32": torch.float32, "I64": torch.int64}[entry["dtype"]]).view(entry["shape"])


def logits(model, dtype, env):
    out = WORK / "logits.safetensors"
    status, output = call("dump_logits", SOURCE / "tests/golden" / model, out, dtype, env=env)
    if status:
        raise RuntimeError(output[-2000:])
    return read_tensor(out, "logits")


def check_logits(_):
    """The CPU's in fp32 are transformers' to 1e-4 (trainer_tests, tests/peer)."""
    found = {}
    for model in ("llama", "llama_gqa", "mistral"):
        right = logits(model, "fp32", NO_GPU)
        distance = lambda dtype, env: (logits(model, dtype, env) - right).abs().max().item()
        fp32, bf16, bf16_on_cpu = distance("fp32", {}), distance("bf16", {}), distance("bf16", NO_GPU)
        found[model] = {"fp32": fp32, "bf16": bf16, "bf16 on the CPU": bf16_on_cpu, "ok": fp32 < 1e-4 and bf16 < 2 * bf16_on_cpu}
    return found


def tiny_run(name, *keys, ranks=1, env=None, steps=10):
    run = WORK / name
    shutil.rmtree(run, ignore_errors=True)
    return continue_run(run, *keys, ranks=ranks, env=env, steps=steps)


def continue_run(run, *keys, ranks=1, env=None, steps=10):
    model = SOURCE / "configs/tiny_model"
    corpus = make_corpus(model, "tiny-corpus", [random.Random(i).randint(16, 300) for i in range(60)], 160)
    status, output = call(*on_ranks(ranks, "spt", "train", "/dev/null", f"run.dir={run}", f"model.path={model}", "model.init=random", f"data.train={corpus}",
                                    f"train.steps={steps}", "train.batch_examples=8", "train.micro_batch_tokens=512", "optimizer.lr=1e-3", f"checkpoint.every_steps={steps // 2}",
                                    *keys), env=env)
    if status:
        raise RuntimeError(output[-2000:])
    return rows_of(run)


def largest_distance(rows, expected):
    return max(abs(a[key] - b[key]) / abs(b[key]) for a, b in zip(rows, expected, strict=True) for key in ("loss", "grad_norm"))


def check_losses(_):
    right = tiny_run("cpu-fp32", "model.dtype=fp32", env=NO_GPU)
    found = {}
    for name, ranks, keys, limit in (
            ("fp32", 1, ["model.dtype=fp32"], 1e-4), ("bf16", 1, ["model.dtype=bf16"], 5e-2), ("recompute block", 1, ["model.dtype=fp32", "model.recompute=block"], 1e-4),
            ("offload", 1, ["model.dtype=fp32", "optimizer.offload=cpu"], 1e-4), ("2 ranks", 2, ["model.dtype=fp32"], 1e-4), ("2 ranks, tp 2", 2, ["model.dtype=fp32", "mesh.tp=2"], 1e-4),
            ("4 ranks, tp 2", 4, ["model.dtype=fp32", "mesh.tp=2"], 1e-4), ("4 ranks, zero 2", 4, ["model.dtype=fp32", "optimizer.zero=2"], 1e-4)):
        distance = largest_distance(tiny_run("gpu", *keys, ranks=ranks), right)
        found[name] = {"distance": distance, "ok": distance < limit}
    return found


def check_checkpoints(_):
    """Half a run on one device, the other half on the other."""
    found = {}
    for name, first, second in (("CPU to GPU", NO_GPU, {}), ("GPU to CPU", {}, NO_GPU)):
        whole = tiny_run("whole", "model.dtype=fp32", env=first, steps=6)
        half = WORK / "half"
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(WORK / "whole", half)
        shutil.rmtree(half / "checkpoints/step-000006")
        distance = largest_distance(continue_run(half, "model.dtype=fp32", env=second, steps=6), whole)
        found[name] = {"distance": distance, "ok": distance < 1e-4}
    return found


def check_programs(args):
    found = {}
    for name, ranks, program, pattern in (*((f"collectives, {ranks} ranks", ranks, "dist_tests", "*Gpu*") for ranks in (1, 2, 4)), ("kernels", 1, "trainer_tests", "Gpu*")):
        status, output = call(*on_ranks(ranks, shutil.which(program), f"--gtest_filter={pattern}", "--gtest_brief=1"))
        counts = {word: sum(map(int, re.findall(rf"\[ *{word} *\].*?(\d+) tests?", output))) for word in ("PASSED", "SKIPPED", "FAILED")}
        found[name] = {"status": status, **counts, "ok": status == 0 and (args.dry or counts["PASSED"] > 0)}
        if not found[name]["ok"]:
            found[name]["output"] = output[-2000:]
    return found


def tests(args):
    found = {}
    for name, check in (("programs", check_programs), ("logits", check_logits), ("losses", check_losses), ("checkpoints", check_checkpoints)):
        try:
            found[name] = check(args)
        except (RuntimeError, OSError, ValueError) as error:
            found[name] = {"error": {"ok": False, "message": str(error)[-2000:]}}
    found["failed"] = {f"{name}: {part}": one for name, parts in found.items() for part, one in parts.items() if not one["ok"]}
    return found


PIECES = {piece.__name__: piece for piece in (tests, mfu, lima, offload, decode, peer, sanitize)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("piece", choices=PIECES)
    args = parser.parse_args()
    if not args.dry and not has_gpu():
        sys.exit("no GPU is visible here: bench/gpu.sh --dry goes without")
    WORK.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    try:
        found = PIECES[args.piece](args)
    except Exception:  # pylint: disable=broad-except  # so that the JSON says what happened, whatever did
        found = {"failed": traceback.format_exc()[-4000:]}
    found = {"piece": args.piece, "dry": args.dry, "device": torch.cuda.get_device_name(0) if has_gpu() else "cpu", "wall_seconds": round(time.monotonic() - begin, 1), **found}
    (args.out / f"{args.piece}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    sys.exit(2 if found.get("failed") else 0)


if __name__ == "__main__":
    main()
