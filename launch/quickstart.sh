#!/usr/bin/env bash
# Everything once, on this machine: install what lacks, build, fine-tune a real model in both arms, and show what came out.
#
#   ./launch/quickstart.sh          # SmolLM2-135M-Instruct (a download of 93 MB), 15 minutes at most on two cores
#   ./launch/quickstart.sh --tiny   # a random model of 1M parameters, no download, under a minute once built
#
# Writes runs/quickstart (with --tiny: runs/quickstart-tiny). Started again it goes on where it was stopped; remove that
# folder to train afresh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=runs/quickstart model=models/SmolLM2-135M-Instruct overrides=() tiny=false
case "${1:-}" in
  "") ;;
  --tiny)
    tiny=true out=runs/quickstart-tiny model=configs/tiny_model
    overrides=("model.path=$model" model.init=random train.epochs=5 optimizer.lr=1e-3) ;;
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' launch/quickstart.sh; exit 0 ;;
  *) echo "quickstart.sh: unknown option $1 (known: --tiny)" >&2; exit 1 ;;
esac
ranks=2
deps=${SPT_DEPS:-$PWD/.deps}

# part NAME COMMAND…: runs it, prints its time, ends the script with its exit status when it fails.
part() {
  local name=$1 begin=$SECONDS status=0
  shift
  printf '\n==== %s\n' "$name"
  "$@" || status=$?
  case $status in
    0) printf '==== %s: done in %d s\n' "$name" $((SECONDS - begin)) ;;
    75) echo "quickstart.sh: stopped while '$name'; what was trained is saved, start this again to go on" >&2; exit 75 ;;
    *) echo "quickstart.sh: '$name' failed (exit status $status); its message stands above" >&2; exit "$status" ;;
  esac
}

build() {
  # Several files at once: a third of the time of one by one.
  cmake -S . -B build -G Ninja -DSPT_TORCH_DIR="$deps/torch/torch" -DCMAKE_UNITY_BUILD=ON && ninja -C build spt
}
prepare() {
  local arm part_of
  for arm in role plain; do
    for part_of in records valid; do
      build/spt prepare "configs/samples/$part_of.jsonl" --tokenizer "$model" --arm "$arm" --out "$out/$part_of-$arm.h5" --force || return
    done
  done
}
train() {
  ./launch/local.sh "$ranks" build/spt train configs/quickstart.yaml run.dir="$out/$1" data.train="$out/records-$1.h5" \
    data.valid="$out/valid-$1.h5" "${overrides[@]}"
}
checkpoint_of() {  # the last one of an arm
  find "$out/$1/checkpoints" -maxdepth 2 -path '*/step-*/hf' | sort | tail -n 1
}
answer() {  # both arms write the questions' and the held-out records' answers
  local arm folder name
  for arm in role plain; do
    folder=$(checkpoint_of "$arm")
    for name in questions valid; do
      rm -f "$out/$name-$arm.jsonl"
      ./launch/local.sh "$ranks" build/spt generate --model "$folder" --input "configs/samples/$name.jsonl" \
        --out "$out/$name-$arm.jsonl" --max-new-tokens 128 || return
    done
  done
}
evaluate() {
  local arm
  for arm in role plain; do
    rm -rf "$out/$arm/eval"
    ./launch/local.sh "$ranks" build/spt eval configs/quickstart_eval.yaml model.path="$(checkpoint_of "$arm")" run.dir="$out/$arm/eval" || return
  done
}
compare() {
  build/spt compare "$out/role/eval" "$out/plain/eval" && build/spt report "$out/role" "$out/plain" --out "$out/report" --force
}

mkdir -p "$out"
part "setup" ./launch/setup.sh
part "build" build
$tiny || part "fetch SmolLM2-135M-Instruct" "$deps/venv/bin/python" launch/fetch_smollm2.py "$model"
job=$SECONDS
part "prepare" prepare
part "train the role arm" train role
part "train the plain arm" train plain
part "answer unseen questions" answer
part "evaluate both arms" evaluate
part "compare them" compare
job=$((SECONDS - job))
python3 launch/quickstart_table.py "$out"
printf '\nThe job took %d s, all %d s. Files: %s; the report: %s\n' "$job" "$SECONDS" "$out" "$out/report/index.html"
