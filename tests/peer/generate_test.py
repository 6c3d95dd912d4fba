#!/usr/bin/env python3
"""Greedy texts of `spt generate --template none` equal transformers' in fp32.

    generate_test.py --spt BINARY --model DIR [--max-new-tokens 32] [--prompts F.jsonl] [--launcher "mpirun -np 2"] [--set mesh.tp=2 …]

Compares prompt_ids with tokenizer(text), output_ids and finish with model.generate. An eos at the end of output_ids may be
there or not. A difference counts as equal only from a token on where transformers' own logits of the two choices are closer than
--tie [1e-4]; such a tie is printed.
"""
import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peer import Report, load_model
from transformers import AutoTokenizer

PROMPTS = [
    "Hello",
    "Once upon a time there was a little girl who",
    "User: Why is the sea salty?\nAI Assistant:",
    "One, two, three, 4, 5, 6,",
    "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n",
    "Ein Vogel saß auf dem Dach – 東京 🙂 and",
    "A conversation between a user and an AI assistant. The assistant gives helpful, detailed and accurate answers.\n\n"
    "User: My bread is pale and soft. How do I get a darker, crisp crust?\nAI Assistant:",
]


def run_ours(args, prompts):
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "prompts.jsonl", Path(folder) / "answers.jsonl"
        source.write_text("".join(json.dumps({"id": str(i), "prompt": p}) + "\n" for i, p in enumerate(prompts)))
        command = [*shlex.split(args.launcher), args.spt, "generate", "--model", args.model, "--input", str(source), "--out", str(out),
                   "--template", "none", "--max-new-tokens", str(args.max_new_tokens), "model.dtype=fp32", *args.set]
        print(" ".join(command), flush=True)
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout)
        if done.returncode != 0:
            sys.exit(f"FAILED: exit status {done.returncode}\n{done.stderr[-4000:]}")
        return {row["id"]: row for row in map(json.loads, out.read_text().splitlines())}


@torch.no_grad()
def greedy(model, prompt_ids, eos, new):
    ids = torch.tensor([prompt_ids])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, eos_token_id=eos, pad_token_id=eos[0])
    return out[0, len(prompt_ids):].tolist()


def eos_ids(model, tokenizer):
    stated = model.generation_config.eos_token_id
    stated = [] if stated is None else stated if isinstance(stated, list) else [stated]
    return stated or [tokenizer.eos_token_id]


def compare(report, model, eos, name, theirs, ours, prompt_ids, args):
    theirs_stop = bool(theirs) and theirs[-1] in eos
    theirs_text = theirs[:-1] if theirs_stop else theirs
    ours_text = ours["output_ids"]
    if ours_text and ours_text[-1] in eos:
        ours_text = ours_text[:-1]
    if ours_text == theirs_text:
        finish = "stop" if theirs_stop else "length"
        report.check(ours["finish"] == finish, f"{name}: {len(theirs_text)} tokens equal, finish {ours['finish']} (transformers: {finish})")
        return
    full = theirs_text + (theirs[-1:] if theirs_stop else [])
    own = ours_text + ([eos[0]] if ours["finish"] == "stop" else [])
    at = next((i for i, (a, b) in enumerate(zip(own, full)) if a != b), min(len(own), len(full)))
    if at < len(own) and at < len(full):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt_ids + full[:at]])).logits[0, -1]
        gap = (logits[full[at]] - logits[own[at]]).item()
        report.check(gap < args.tie, f"{name}: differs at new token {at} of {len(full)}: ours {own[at]}, transformers {full[at]}, "
                     f"whose logits there differ by {gap:.1e} (a tie below {args.tie:.0e})")
    else:
        report.check(False, f"{name}: ours has {len(own)} tokens, transformers {len(full)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spt", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--prompts", type=Path, help="jsonl with `prompt`")
    parser.add_argument("--launcher", default="")
    parser.add_argument("--set", nargs="*", default=[], help="key=value for spt")
    parser.add_argument("--tie", type=float, default=1e-4)
    parser.add_argument("--timeout", type=float, default=600)
    args = parser.parse_args()
    prompts = [json.loads(line)["prompt"] for line in args.prompts.read_text().splitlines()] if args.prompts else PROMPTS
    report = Report()
    answers = run_ours(args, prompts)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = load_model(args.model)
    eos = eos_ids(model, tokenizer)
    report.check(sorted(answers) == sorted(map(str, range(len(prompts)))), f"one answer for each of the {len(prompts)} prompts")
    for i, prompt in enumerate(prompts):
        if str(i) not in answers:
            continue
        name, ours, prompt_ids = f"prompt {i} ({prompt[:24]!r})", answers[str(i)], tokenizer(prompt).input_ids
        report.check(ours["prompt_ids"] == prompt_ids, f"{name}: prompt ids equal ({len(prompt_ids)})")
        if ours["prompt_ids"] == prompt_ids:
            compare(report, model, eos, name, greedy(model, prompt_ids, eos, args.max_new_tokens), ours, prompt_ids, args)
    report.finish()


if __name__ == "__main__":
    main()
