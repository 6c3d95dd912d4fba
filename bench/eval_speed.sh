#!/usr/bin/env bash
# Options scored by spt eval against lm-evaluation-harness 0.4 (HF backend, fp32), in one run on this machine, turn by turn: ARC's option
# texts, MMLU's letters without and with five worked examples; then two ranks of one thread against one.
#
#   bench/eval_speed.sh BENCHMARKS [MODEL_DIR] [ITEMS]     BENCHMARKS: folder with arc_challenge/ and mmlu/; ITEMS [60] of each, a third of five-shot
#
# The same prompts, items and threads (all cores). lm-eval's batch size is the best of 1, 4, 16 and 64 on an eighth of the items.
# Needs launch/setup.sh --peer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
data=${1:?usage: bench/eval_speed.sh BENCHMARKS [MODEL_DIR] [ITEMS]} model=${2:-models/SmolLM2-135M-Instruct} items=${3:-60}
peer=${SPT_PEER_PYTHON:-${SPT_DEPS:-.deps}/peer/bin/python}
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
cp bench/eval_tasks/*.yaml "$out"
# Five-shot on one subject: of few items over all of them hardly two would share their examples, of MMLU's 14,042 some 250 do.
sed 's/^name: mmlu/name: subject/; s/\*_test\.csv/anatomy_test.csv/' bench/eval_tasks/mmlu.yaml > "$out/subject.yaml"

ours() {  # NAME RANKS THREADS TASK ITEMS SHOTS
  OMP_NUM_THREADS=$3 ./launch/local.sh "$2" build/spt eval /dev/null run.dir="$out/$1" "eval.tasks=[$out/$4.yaml]" eval.limit="$5" \
    eval.shots="$6" eval.data.root="$data" eval.template=none model.path="$model" model.dtype=fp32 > "$out/$1.log" 2>&1 || { cat "$out/$1.log" >&2; return 1; }
}
theirs() {  # NAME SAMPLES SHOTS BATCH ITEMS
  "$peer" bench/lm_eval_loop.py --model "$model" --samples "$out/$2/samples/${2%%-*}.jsonl" --shots "$3" --dev "$data/mmlu/dev" --batch "$4" \
    --items "$5" --threads "$(nproc)" > "$out/$1.json" 2> "$out/$1.log" || { cat "$out/$1.log" >&2; return 1; }
}
best_batch() {  # SAMPLES SHOTS ITEMS
  local batch
  for batch in 1 4 16 64; do theirs "probe-$batch" "$1" "$2" "$batch" "$3"; done
  python3 - "$out" <<'PYTHON'
import json, pathlib, sys
found = [json.loads(file.read_text()) for file in pathlib.Path(sys.argv[1]).glob("probe-*.json")]
print(max(found, key=lambda one: one["items_per_second"])["batch"])
PYTHON
}
compare() {  # LABEL TASK ITEMS SHOTS
  local turn batch
  ours "$2-$4-1" 1 "$(nproc)" "$2" "$3" "$4"
  batch=$(best_batch "$2-$4-1" "$4" $((($3 + 7) / 8)))
  theirs "$2-$4-peer-1" "$2-$4-1" "$4" "$batch" "$3"
  ours "$2-$4-2" 1 "$(nproc)" "$2" "$3" "$4"
  theirs "$2-$4-peer-2" "$2-$4-1" "$4" "$batch" "$3"
  python3 - "$1" "$out/$2-$4" <<'PYTHON'
import json, sys
label, name = sys.argv[1:]
theirs = [json.load(open(f"{name}-peer-{i}.json")) for i in (1, 2)]
items = theirs[0]["items"]
ours = [items / json.load(open(f"{name}-{i}/results.json"))["seconds"] for i in (1, 2)]
peer = [one["items_per_second"] for one in theirs]
print(f"{label}: spt {sum(ours) / 2:.2f} items/s ({ours[0]:.2f}, {ours[1]:.2f}), lm-eval {sum(peer) / 2:.2f} ({peer[0]:.2f}, {peer[1]:.2f}; batch {theirs[0]['batch']}), "
      f"ratio {sum(ours) / sum(peer):.2f}; log-likelihoods at most {theirs[0]['largest_difference']:.1e} apart, "
      f"{theirs[0]['argmax_equal']} of {items} best options equal", flush=True)
PYTHON
}
compare "ARC, option texts" arc "$items" 0
compare "MMLU, letters" mmlu "$items" 0
compare "MMLU anatomy, letters, five-shot" subject $(((items + 2) / 3)) 5
ranks() {  # RANKS: seconds of the whole job, loading too: the last rank's end counts
  local begin=$EPOCHREALTIME
  ours "rank_$1" "$1" 1 arc $((4 * items)) 0
  awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}
one=$(ranks 1)
two=$(ranks 2)
awk -v a="$one" -v b="$two" 'BEGIN { printf "ARC, 2 ranks × 1 thread against 1 × 1: efficiency %.2f\n", a / b / 2 }'
