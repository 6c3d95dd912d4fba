#!/usr/bin/env bash
# Compiles each .cpp file of these folders by itself, without precompiled headers and without code being made: a file that
# leans on what another one of its unity build includes fails.
#
#   tests/lint/alone.sh trainer launch
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ $# -gt 0 ] || { sed -n 2,5p "$0"; exit 1; }
deps=${SPT_DEPS:-$PWD/.deps}
cmake -S . -B build-tidy -G Ninja -DSPT_TORCH_DIR="$deps/torch/torch" -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DSPT_TESTS=OFF >/dev/null
python3 - "$@" <<'PYTHON'
import concurrent.futures, json, os, shlex, subprocess, sys
commands = {}
for entry in json.load(open("build-tidy/compile_commands.json")):
    path = os.path.relpath(entry["file"])
    if path.endswith(".cpp") and any(path.startswith(folder + "/") for folder in sys.argv[1:]):
        words = shlex.split(entry["command"])
        compiler = next(i for i, word in enumerate(words) if word.endswith("++"))
        output = words.index("-o")
        commands[path] = words[compiler:output] + words[output + 2:] + ["-fsyntax-only", "-w"]
print(f"alone.sh: {len(commands)} files", flush=True)
for folder in sys.argv[1:]:
    if not any(path.startswith(folder + "/") for path in commands):
        sys.exit(f"alone.sh: no file of {folder}/ is built")
with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
    failed = [code for code in pool.map(lambda words: subprocess.run(words, cwd="build-tidy").returncode, commands.values()) if code]
sys.exit(bool(failed))
PYTHON
