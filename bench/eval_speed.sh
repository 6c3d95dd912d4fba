#!/bin/bash
# Options scored by spt eval against lm-evaluation-harness 0.4 (HF backend, fp32): the same prompts, items and threads, one
# after the other in one run. Prints items a second of both, their ratio, and how far the log-likelihoods are apart.
#
#   bench/eval_speed.sh MODEL DATA_ROOT PYTHON [ITEMS]     # DATA_ROOT: arc_challenge/, mmlu/; PYTHON: with lm_eval in it
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,6s/^# \?//p' "$0"; exit 1; }
model=$1 data=$2 python=$3 items=${4:-200}
spt="$(cd "$(dirname "$0")/.." && pwd)/build/spt"
here="$(cd "$(dirname "$0")" && pwd)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}

cat > "$work/arc.yaml" <<YAML
name: arc
kind: choice
data: {path: "arc_challenge/ARC-Challenge-Test*.jsonl"}
id: id
prompt: "Question: {question.stem}"
prompt_end: "\nAnswer:"
options: {from: question.choices, text: text, label: label}
gold: "{answerKey}"
YAML
cat > "$work/mmlu.yaml" <<YAML
name: mmlu
kind: choice
data: {path: "mmlu/test/*_test.csv", format: csv, columns: [question, A, B, C, D, answer]}
group: file
prompt: "{question}"
prompt_end: "\nAnswer:"
options: {fields: [A, B, C, D], list: lines, say: letter}
gold: "{answer}"
YAML
for task in arc mmlu; do
  "$spt" eval <(echo) "eval.tasks=[$work/$task.yaml]" "eval.data.root=$data" eval.template=none "eval.limit=$items" model.dtype=fp32 \
    "model.path=$model" "run.dir=$work/$task" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  for batch in 1 8 32; do
    "$python" "$here/lm_eval_loop.py" "$model" "$work/$task/samples/$task.jsonl" "$batch" "$work/$task-$batch.json" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  done
  python3 - "$work" "$task" <<'PYTHON'
import json
import sys
work, task = sys.argv[1:]
ours = json.load(open(f"{work}/{task}/results.json"))["seconds"]
theirs = {batch: json.load(open(f"{work}/{task}-{batch}.json")) for batch in (1, 8, 32)}
best = min(theirs, key=lambda batch: theirs[batch]["seconds"])
one = theirs[best]
print(f"{task}: {one['items'] / ours:.1f} items/s, lm-eval {one['items'] / one['seconds']:.1f} (best batch size {best}), ratio {one['seconds'] / ours:.2f}; "
      f"log-likelihoods at most {one['largest_difference']:.1e} apart, {one['argmax_equal']} of {one['items']} argmax equal")
PYTHON
done
