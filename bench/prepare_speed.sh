#!/usr/bin/env bash
# Records encoded a second by `spt prepare` (all of it: reading, checking, encoding, compressing, writing) against the
# `tokenizers` package encoding the same texts on one thread, for each tokenizer, in one run on this machine; and the peak
# memory of spt at a tenth of the records and at all of them.
#
#   bench/prepare_speed.sh RECORDS.jsonl [COUNT] [TOKENIZER_DIR…]     e.g. LIMA's train.jsonl, 100000 records made of it
#
# Needs launch/setup.sh --peer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source=${1:?usage: bench/prepare_speed.sh RECORDS.jsonl [COUNT] [TOKENIZER_DIR…]} count=${2:-100000}
tokenizers=("${@:3}")
[[ ${#tokenizers[@]} -gt 0 ]] || tokenizers=(models/SmolLM2-135M-Instruct)
peer=${SPT_PEER_PYTHON:-.deps/peer/bin/python}
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
python3 bench/make_records.py "$source" "$count" > "$out/all.jsonl"
head -n $((count / 10)) "$out/all.jsonl" > "$out/tenth.jsonl"

measure() {  # RECORDS TOKENIZER: seconds and MB, by the shell's clock and the kernel's count
  /usr/bin/env python3 - "$@" "$out/corpus.h5" <<'PYTHON'
import resource, subprocess, sys, time
records, tokenizer, corpus = sys.argv[1:]
begin = time.perf_counter()
subprocess.run(["build/spt", "prepare", records, "--tokenizer", tokenizer, "--out", corpus, "--force"], check=True,
               stdout=subprocess.DEVNULL)
print(round(time.perf_counter() - begin, 2), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
PYTHON
}
for tokenizer in "${tokenizers[@]}"; do
  read -r _ tenth_mb < <(measure "$out/tenth.jsonl" "$tokenizer")
  read -r ours mb < <(measure "$out/all.jsonl" "$tokenizer")
  theirs=$("$peer" bench/tokenizers_loop.py "$out/all.jsonl" "$tokenizer")
  python3 - "$tokenizer" "$count" "$ours" "$tenth_mb" "$mb" "$theirs" <<'PYTHON'
import json, os, sys
tokenizer, count, ours, tenth_mb, mb, theirs = sys.argv[1:]
theirs = json.loads(theirs)
print(f"{os.path.basename(tokenizer.rstrip('/'))}: {count} records, {theirs['tokens'] / int(count):.0f} tokens each\n"
      f"  spt prepare, {os.cpu_count()} cores     {float(ours):8.1f} s   peak {mb} MB ({tenth_mb} MB at a tenth)\n"
      f"  tokenizers, one thread   {theirs['seconds']:8.1f} s   ratio {theirs['seconds'] / float(ours):.2f}")
PYTHON
done
