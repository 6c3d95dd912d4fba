#!/usr/bin/env bash
# Training tokens a second (padding not counted) of spt against a transformers + torch.optim.AdamW loop, in one run on this machine,
# turn by turn; a step against its own matrix products; two ranks of one thread against one; peak memory against 16 bytes a parameter.
#
#   bench/train_speed.sh RECORDS.jsonl [MODEL_DIR] [STEPS]     e.g. LIMA's train.jsonl, trimmed to 512 tokens
#
# Both sides: fp32 (SPT_BENCH_DTYPE=bf16: that), batches of 8 examples, all cores. transformers: file order, padded to the batch's longest. The steps
# are the first STEPS [8] batches after one that warms up. Needs launch/setup.sh --peer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
records=${1:?usage: bench/train_speed.sh RECORDS.jsonl [MODEL_DIR] [STEPS]} model=${2:-models/SmolLM2-135M-Instruct} steps=${3:-8}
peer=${SPT_PEER_PYTHON:-${SPT_DEPS:-.deps}/peer/bin/python} dtype=${SPT_BENCH_DTYPE:-fp32}
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
build/spt prepare "$records" --tokenizer "$model" --arm plain --max-tokens 512 --out "$out/corpus.h5" > "$out/prepare.txt"

ours() {  # NAME RANKS THREADS
  OMP_NUM_THREADS=$3 ./launch/local.sh "$2" build/spt train configs/bench_train.yaml model.path="$model" model.dtype="$dtype" \
    data.train="$out/corpus.h5" run.dir="$out/$1" train.steps=$((steps + 1)) checkpoint.every_steps=$((steps + 1)) 2> "$out/$1.log" ||
    { cat "$out/$1.log" >&2; return 1; }
}
theirs() {
  "$peer" bench/transformers_loop.py --model "$model" --corpus "$out/corpus.h5" --steps "$steps" --warmup 1 --batch 8 \
    --max-tokens 512 --threads "$(nproc)" --dtype "$dtype" > "$out/$1.json"
}
ours ours_1 1 "$(nproc)"
theirs theirs_1
ours ours_2 1 "$(nproc)"
theirs theirs_2
"$peer" bench/products_loop.py --model "$model" --metrics "$out/ours_2/metrics.jsonl" --threads "$(nproc)" --dtype "$dtype" > "$out/products.json"
ours rank_1 1 1
ours rank_2 2 1
python3 bench/train_speed_table.py "$out" "$model"
