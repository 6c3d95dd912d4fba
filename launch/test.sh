#!/usr/bin/env bash
# Install what lacks, build, and run the tests. Each part prints its time; a failing part does not hide the others.
#
#   ./launch/test.sh         # every test: what CI runs
#   ./launch/test.sh all     # the same, and longer fuzzing, sanitizers, a real endpoint, the report's page in a browser, planned memory against runs of 2 to 4 GB
#   ./launch/test.sh fast    # the fast tests only
#   ./launch/test.sh fuzz    # the fuzz targets only, a minute each (tests/fuzz/run.sh)
#   ./launch/test.sh lint    # format, include order, samples, clang-tidy on everything
#   ./launch/test.sh peer    # comparisons with transformers only
#
# Builds in build/, build-asan/ and build-fuzz/. Ends with a table of the parts, what was skipped and why, and one line
# "N passed, N failed, N skipped": the tests, and one for each check or failed step. Exit status 1 when anything failed.
set -uo pipefail
export LC_ALL=C.UTF-8  # numbers with a point
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
mode=${1:-default}
case $mode in
  default | all | fast | fuzz | lint | peer) [ $# -le 1 ] || { echo "test.sh: one word at most" >&2; exit 1; } ;;
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' launch/test.sh; exit 0 ;;
  *) echo "test.sh: unknown part $mode (known: all, fast, fuzz, lint, peer)" >&2; exit 1 ;;
esac

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
deps=${SPT_DEPS:-$PWD/.deps}
cores=$(nproc)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
declare -A state

# part NAME KIND AFTER COMMAND…: runs the command unless the part AFTER (or -) failed; KIND: step, check, tests.
# Each part leaves one line in parts.tsv: name, kind, state (ok, failed, left out), seconds, remark.
part() {
  local name=$1 kind=$2 after=$3 begin=$EPOCHREALTIME remark=
  shift 3
  if [ "$after" != - ] && [ "${state[$after]}" != ok ]; then
    state[$name]=failed remark="not run: $after failed"
  else
    printf '\n==== %s\n' "$name"
    if "$@"; then state[$name]=ok; else state[$name]=failed remark="exit status $?"; fi
    printf '==== %s: %s, %.1f s\n' "$name" "${state[$name]}" "$(minus "$EPOCHREALTIME" "$begin")"
  fi
  printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$kind" "${state[$name]}" "$(minus "$EPOCHREALTIME" "$begin")" "$remark" >>"$results/parts.tsv"
}
minus() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", a - b }'; }
leave_out() { printf '%s\t%s\tleft out\t0\t%s\n' "$1" "$2" "$3" >>"$results/parts.tsv"; }

configure() {  # configure FOLDER ARGUMENT…
  local folder=$1
  shift
  cmake -S . -B "$folder" -G Ninja -DCMAKE_UNITY_BUILD=ON -DSPT_TORCH_DIR="$deps/torch/torch" -DSPT_PLOTLY="$deps/plotly/plotly.min.js" \
    -DSPT_PEER_PYTHON="$deps/peer/bin/python" -DSPT_BROWSER_PYTHON="$deps/browser/bin/python" "$@"
}
tests() {  # tests NAME FOLDER CTEST-ARGUMENT…
  local name=$1 folder=$2
  shift 2
  ctest --test-dir "$folder" -j "$cores" --output-on-failure --no-tests=error --output-junit "$results/${name// /-}.xml" "$@"
}

build_sanitized() { ninja -C build-asan base_tests data_tests trainer_tests; }
test_sanitized() {
  # libtorch with CUDA maps memory where the sanitizer wants its gap; Open MPI keeps what it allocates at start.
  ASAN_OPTIONS=protect_shadow_gap=0:detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
    tests "sanitizer tests" build-asan -R '^(base|data)\.|^trainer\.ranks_1$'
}
fuzz() { SPT_TORCH_DIR="$deps/torch/torch" tests/fuzz/run.sh "$1"; }  # seconds each
peer_python_fits() { python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; }

case $mode in
  fast | peer) part "setup" step - ./launch/setup.sh ;;
  *) part "setup" step - ./launch/setup.sh --tests ;;
esac
if [ "$mode" != lint ] && [ "$mode" != fuzz ]; then
  part "configure" step setup configure build
  part "build" step configure ninja -C build
fi
case $mode in default | all | fast) part "fast tests" tests build tests "fast tests" build -L fast -LE peer ;; esac
case $mode in default | all) part "slow tests" tests build tests "slow tests" build -LE 'fast|peer|real|browser|long' ;; esac
[ "$mode" = all ] && part "long tests" tests build tests "long tests" build -L long
[ "$mode" = all ] && export SPT_PEER_ITEMS=200  # of each benchmark that is compared with lm-evaluation-harness
case $mode in
  default | all | peer)
    if peer_python_fits; then
      part "peer setup" step build ./launch/setup.sh --peer
      part "fetch SmolLM2" step setup "$deps/venv/bin/python" launch/fetch_smollm2.py models/SmolLM2-135M-Instruct
      part "peer tests" tests "peer setup" tests "peer tests" build -L peer
    else
      leave_out "peer tests" tests "the packages are pinned for CPython 3.11 to 3.13, here is $(python3 --version)"
    fi ;;
esac
[ "$mode" = all ] && part "real endpoint" tests build tests "real endpoint" build -L real
if [ "$mode" = all ]; then
  part "browser setup" step build ./launch/setup.sh --browser
  part "browser tests" tests "browser setup" tests "browser tests" build -L browser
fi
case $mode in
  default) part "fuzz targets" check setup fuzz 20 ;;
  all | fuzz) part "fuzz targets" check setup fuzz 60 ;;
esac
if [ "$mode" = all ]; then
  part "sanitizer configure" step setup configure build-asan -DSPT_SANITIZE=address,undefined
  part "sanitizer build" step "sanitizer configure" build_sanitized
  part "sanitizer tests" tests "sanitizer build" test_sanitized
fi
case $mode in
  default | all | lint)
    tidied=(base dist data)
    if [ "$mode" = lint ]; then  # elsewhere among the fast tests
      part "format" check setup tests/lint/format.sh
      part "include order" check setup python3 tests/lint/include_order.py
      part "samples" check setup python3 tests/lint/check_samples.py
      tidied+=(trainer launch)
    fi
    part "clang-tidy" check setup tests/lint/tidy.sh "${tidied[@]}"
    [ "$mode" = lint ] || part "each file alone" check setup tests/lint/alone.sh trainer launch ;;
esac
python3 launch/test_summary.py "$results"
