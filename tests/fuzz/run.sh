#!/usr/bin/env bash
# Builds the fuzz targets with clang-16 in build-fuzz/ and runs each on its seeds in tests/fuzz/corpus/.
#
#   tests/fuzz/run.sh [SECONDS [TARGET…]]     # 60 s each, all targets, two at a time
#
# Fails on a crash, a leak, an input that takes over 10 s, or more than 2 GB of memory; the input then lies in
# build-fuzz/found/TARGET/. What a run learns is kept in build-fuzz/learnt/TARGET/ and begins the next one.
# Variables: SPT_TORCH_DIR [.deps/torch/torch].
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "run.sh: $seconds is no number of seconds" >&2; exit 1; }
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for source in tests/fuzz/*.cpp; do targets+=("$(basename "$source" .cpp)"); done
fi
for target in "${targets[@]}"; do
  [ -f "tests/fuzz/$target.cpp" ] || { echo "run.sh: there is no target $target in tests/fuzz" >&2; exit 1; }
done
command -v clang++-16 >/dev/null || { echo "run.sh: clang++-16 lacks; ./launch/setup.sh --tests installs it" >&2; exit 1; }

cmake -S . -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=clang-16 -DCMAKE_CXX_COMPILER=clang++-16 -DSPT_FUZZ=ON -DSPT_CUDA=OFF \
  -DSPT_TORCH_DIR="${SPT_TORCH_DIR:-${SPT_DEPS:-$PWD/.deps}/torch/torch}" >build-fuzz.log 2>&1 ||
  { cat build-fuzz.log >&2; rm -f build-fuzz.log; exit 1; }
rm -f build-fuzz.log
ninja -C build-fuzz "${targets[@]/#/fuzz_}" || exit 1

run() {  # run TARGET: prints its last lines
  local target=$1 found=build-fuzz/found/$1 learnt=build-fuzz/learnt/$1
  mkdir -p "$found" "$learnt"
  # libtorch keeps what it allocates at start.
  if ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=report_objects=1 \
    "build-fuzz/tests/fuzz/fuzz_$target" "$learnt" "tests/fuzz/corpus/$target" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=2048 -malloc_limit_mb=1024 -artifact_prefix="$found/" -print_final_stats=1 >"build-fuzz/$target.log" 2>&1; then
    printf '%-16s ok      %s inputs, %s MB\n' "$target" "$(awk '/number_of_executed_units/ { print $2 }' "build-fuzz/$target.log")" \
      "$(awk '/peak_rss_mb/ { print $2 }' "build-fuzz/$target.log")"
  else
    printf '%-16s FAILED  %s\n' "$target" "$found"
    tail -n 40 "build-fuzz/$target.log"
    return 1
  fi
}

status=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
  run "${targets[i]}" & first=$!
  if ((i + 1 < ${#targets[@]})); then run "${targets[i + 1]}" || status=1; fi
  wait "$first" || status=1
done
exit $status
