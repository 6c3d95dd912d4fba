#!/usr/bin/env python3
"""Tables and plots of docs/scaling.md: what `spt plan` predicts for Llama-2-7B on 8 to 512 GPUs. Needs matplotlib.

    bench/scaling.py [--spt build/spt] [--gpu h100-80] [--out docs]

Weak: 64 examples of 2,048 tokens a GPU and step. Strong: 4,096 examples a step in all. Knobs: keys of the configuration, alone and together.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

LLAMA_2_7B = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008,
              "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-5,
              "tie_word_embeddings": False, "vocab_size": 32000}
RANKS = (8, 16, 32, 64, 128, 256, 512)
WEAK_EXAMPLES, STRONG_EXAMPLES, TOKENS = 64, 4096, 2048
KNOBS = [("as it ships", 64, ()), ("tp 2", 64, ("mesh.tp=2",)), ("tp 8", 64, ("mesh.tp=8",)), ("recompute: none", 64, ("model.recompute=none",)),
         ("recompute: attention", 64, ("model.recompute=attention",)), ("overlap: off", 64, ("mesh.overlap=off",)), ("bf16 gradients", 64, ("optimizer.grad_dtype=bf16",)),
         ("zero 2", 64, ("optimizer.zero=2",)),
         ("zero 2, overlap: off", 64, ("optimizer.zero=2", "mesh.overlap=off")), ("16 examples a GPU", 16, ()), ("4 examples a GPU", 4, ())]  # name, examples a GPU, keys


def plan(args, model, ranks, examples, overrides=()):
    command = [args.spt, "plan", "configs/llama2_7b_spt.yaml", f"model.path={model}", "--ranks", ranks, "--gpu", args.gpu, "--examples", examples,
               "--example-tokens", TOKENS, f"train.batch_examples={examples}", "--json", *overrides]
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


def rate(planned):
    """Tokens a second and GPU."""
    return planned["tokens_a_step"] / planned["step_total_seconds"] / (planned["dp"] * planned["tp"])


def table(head, rows):
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def weak_and_strong(args, model):
    weak = {ranks: plan(args, model, ranks, WEAK_EXAMPLES * ranks) for ranks in RANKS}
    strong = {ranks: plan(args, model, ranks, STRONG_EXAMPLES) for ranks in RANKS}
    rows = [[ranks, f"{weak[ranks]['step_total_seconds']:.2f}", f"{rate(weak[ranks]) / rate(weak[8]):.1%}",
             f"{strong[ranks]['step_total_seconds']:.2f}", f"{rate(strong[ranks]) / rate(strong[8]):.1%}"] for ranks in RANKS]
    return weak, strong, table(["GPUs", "weak: s a step", "efficiency", "strong: s a step", "efficiency"], rows)


def parts(planned):
    rows = [[name, *(f"{one['step_seconds'][name]:.3f}" for one in planned)] for name in planned[0]["step_seconds"]]
    return table(["s a step", *(f"{one['dp'] * one['tp']} GPUs" for one in planned)], rows)


def knobs(args, model):
    rows = []
    for name, examples, keys in KNOBS:
        at8, at512 = (plan(args, model, ranks, examples * ranks, keys) for ranks in (8, 512))
        rows.append([name, f"{rate(at8):.0f}", f"{rate(at512):.0f}", f"{rate(at512) / rate(at8):.1%}", f"{at512['memory_total_bytes'] / 1e9:.1f}"])
    return table(["configuration", "tokens/s a GPU at 8", "at 512", "efficiency", "GB a GPU at 512"], rows)


def plot(path, weak, strong):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "spt"
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for label, planned in ("weak", weak), ("strong", strong):
        axes.plot(RANKS, [100 * rate(planned[ranks]) / rate(planned[8]) for ranks in RANKS], marker="o", label=label)
    axes.set(xscale="log", xticks=RANKS, xticklabels=RANKS, ylim=(0, 105), xlabel="GPUs, 8 a node", ylabel="predicted efficiency, % of 8 GPUs")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spt", default="build/spt")
    parser.add_argument("--gpu", default="h100-80")
    parser.add_argument("--out", default="docs", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as model:
        pathlib.Path(model, "config.json").write_text(json.dumps(LLAMA_2_7B))
        weak, strong, scaling = weak_and_strong(args, model)
        print(scaling, parts([weak[8], weak[64], weak[512]]), parts([strong[8], strong[64], strong[512]]), knobs(args, model), sep="\n")
        plot(args.out / "scaling.svg", weak, strong)


if __name__ == "__main__":
    main()
