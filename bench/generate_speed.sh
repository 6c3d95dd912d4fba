#!/usr/bin/env bash
# Tokens a second of greedy answers of given lengths by spt against transformers' `generate`, fp32, in one run on this machine, turn by
# turn: 64 answers of 16 to 256 tokens, then of equal lengths; then two ranks of one thread against one.
#
#   bench/generate_speed.sh GSM8K.jsonl [MODEL_DIR] [ANSWERS] [LONGEST]     e.g. gsm8k/test.jsonl, whose questions are asked
#
# The same prompts and threads (all cores); a token of the prompts counts for neither side. transformers: padded on the left, its best
# of batch sizes 16, 32 and 64 with either attention on answers of an eighth of the length. Equal lengths: half of LONGEST [256].
# Needs launch/setup.sh --peer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
questions=${1:?usage: bench/generate_speed.sh GSM8K.jsonl [MODEL_DIR] [ANSWERS] [LONGEST]} model=${2:-models/SmolLM2-135M-Instruct} answers=${3:-64} longest=${4:-256}
peer=${SPT_PEER_PYTHON:-${SPT_DEPS:-.deps}/peer/bin/python}
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
ninja -C build generate_loop > "$out/build.log" || { cat "$out/build.log" >&2; exit 1; }

prompts() { "$peer" bench/generate_prompts.py --model "$model" --questions "$questions" --answers "$answers" --shortest "$2" --longest "$3" > "$out/$1.jsonl"; }
ours() {  # NAME RANKS THREADS PROMPTS BATCH
  OMP_NUM_THREADS=$3 ./launch/local.sh "$2" build/generate_loop "$model" "$out/$4.jsonl" "$5" "$out/$1.out.jsonl" > "$out/$1.json" 2> "$out/$1.log" ||
    { cat "$out/$1.log" >&2; return 1; }
}
theirs() {  # NAME PROMPTS BATCH ATTENTION [OURS]
  "$peer" bench/transformers_generate.py --model "$model" --prompts "$out/$2.jsonl" --batch "$3" --attention "$4" ${5:+--ours "$out/$5.out.jsonl"} \
    --threads "$(nproc)" > "$out/$1.json" 2> "$out/$1.log" || { cat "$out/$1.log" >&2; return 1; }
}
best_way() {  # PROMPTS: prints BATCH ATTENTION
  local batch attention
  for batch in 16 32 64; do for attention in sdpa eager; do theirs "probe-$batch-$attention" "$1" "$batch" "$attention"; done; done
  python3 - "$out" <<'PYTHON'
import json, pathlib, sys
found = [json.loads(file.read_text()) for file in pathlib.Path(sys.argv[1]).glob("probe-*.json")]
best = max(found, key=lambda one: one["tokens_per_second"])
print(best["batch"], best["attention"])
PYTHON
}
compare() {  # LABEL NAME SHORTEST LONGEST
  local batch attention
  prompts "$2" "$3" "$4"
  prompts "$2-probe" $((($3 + 7) / 8)) $(($4 / 8))
  read -r batch attention <<<"$(best_way "$2-probe")"
  ours "$2-1" 1 "$(nproc)" "$2" "$answers"
  theirs "$2-peer-1" "$2" "$batch" "$attention" "$2-1"
  ours "$2-2" 1 "$(nproc)" "$2" "$answers"
  theirs "$2-peer-2" "$2" "$batch" "$attention" "$2-1"
  python3 - "$1" "$out/$2" <<'PYTHON'
import json, sys
label, name = sys.argv[1:]
ours, theirs = ([json.load(open(f"{name}-{side}{i}.json")) for i in (1, 2)] for side in ("", "peer-"))
speeds = [[one["tokens_per_second"] for one in side] for side in (ours, theirs)]
print(f"{label}: spt {sum(speeds[0]) / 2:.1f} tokens/s ({speeds[0][0]:.1f}, {speeds[0][1]:.1f}), transformers {sum(speeds[1]) / 2:.1f} ({speeds[1][0]:.1f}, {speeds[1][1]:.1f}; "
      f"batch {theirs[0]['batch']}, {theirs[0]['attention']}), ratio {sum(speeds[0]) / sum(speeds[1]):.2f}; {theirs[0]['equal']} of {theirs[0]['answers']} answers equal", flush=True)
PYTHON
}
compare "$answers answers of 16 to $longest tokens" mixed 16 "$longest"
compare "$answers answers of $((longest / 2)) tokens" equal $((longest / 2)) $((longest / 2))
ours rank_1 1 1 mixed $((answers / 2))
ours rank_2 2 1 mixed $((answers / 2))
python3 - "$out" <<'PYTHON'
import json, sys
one, two = (json.load(open(f"{sys.argv[1]}/rank_{n}.json"))["tokens_per_second"] for n in (1, 2))
print(f"2 ranks × 1 thread against 1 × 1: efficiency {two / one / 2:.2f}")
PYTHON
