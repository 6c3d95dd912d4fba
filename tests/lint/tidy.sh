#!/usr/bin/env bash
# clang-tidy 14 over the .cpp files of these folders (and the headers they include); any finding fails.
#
#   tests/lint/tidy.sh base dist data
#
# Configures build-tidy without precompiled headers: clang cannot read gcc's. A file that was clean is looked at again
# when it, a header of ours, the configuration or .clang-tidy changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ $# -gt 0 ] || { sed -n 2,7p "$0"; exit 1; }
deps=${SPT_DEPS:-$PWD/.deps}
cmake -S . -B build-tidy -G Ninja -DSPT_TORCH_DIR="$deps/torch/torch" -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DSPT_TESTS=OFF >/dev/null
mkdir -p build-tidy/clean
common=$({ find base dist data trainer launch -name '*.h' -print0 | sort -z | xargs -0 cat; cat .clang-tidy build-tidy/compile_commands.json; clang-tidy-14 --version; } | sha256sum)
export common

tidy_one() {
  local stamp
  stamp=build-tidy/clean/$( (echo "$1 $common"; cat "$1") | sha256sum | cut -d' ' -f1)
  [ ! -e "$stamp" ] || return 0
  clang-tidy-14 --quiet -p build-tidy "$1" 2>&1 | { grep -vE '^[0-9]+ warnings? (generated|treated)' || true; }
  [ "${PIPESTATUS[0]}" -eq 0 ] || return 1
  touch "$stamp"
}
export -f tidy_one
# Only files that are built: of a backend and its twin (nccl_x.cpp, no_x.cpp) the other has no compile command.
mapfile -t files < <(python3 - "$@" <<'PYTHON'
import json, os, sys
built = {os.path.relpath(entry["file"]) for entry in json.load(open("build-tidy/compile_commands.json"))}
print(*sorted(path for path in built if path.endswith(".cpp") and any(path.startswith(folder + "/") for folder in sys.argv[1:])), sep="\n")
PYTHON
)
echo "tidy.sh: ${#files[@]} files"
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -I{} bash -c 'tidy_one {}'
