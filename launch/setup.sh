#!/usr/bin/env bash
# Install what building spt needs: what is there is taken (modules, PATH, CUDA toolkit), what lacks comes through apt (as
# root or with sudo) and pip (into .deps/, nothing outside). A second call takes a second.
#
#   ./launch/setup.sh            # for building and running
#   ./launch/setup.sh --tests    # also clang-format and clang-tidy 14, clang 16 for the fuzz targets, and Slurm
#   ./launch/setup.sh --peer     # also Python's torch, transformers and scipy, which the peer tests compare with
#   ./launch/setup.sh --browser  # also chromium and playwright, which look at the page of spt report
#
# .deps/venv    pip and the packages of launch/fetch_smollm2.py
# .deps/torch   the wheel torch==2.11.0; without CUDA toolkit only those CUDA libraries that its CPU part links
# .deps/plotly  plotly.min.js, which spt report puts into its page
# .deps/peer    (--peer) transformers, scipy
# .deps/browser (--browser) playwright
# Every wheel is checked against the SHA-256 pinned in launch/requirements/. A folder counts as installed when its stamp,
# written last, is there. Variables: SPT_DEPS, another folder than .deps (then configure with -DSPT_TORCH_DIR=$SPT_DEPS/torch/torch).
# Exit status: 0 all is there, 1 something lacks (said which, and what to do).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
requirements=$PWD/launch/requirements
deps=${SPT_DEPS:-$PWD/.deps}
want_tests=false want_peer=false want_browser=false
for option in "$@"; do
  case $option in
    --tests) want_tests=true ;;
    --peer) want_peer=true ;;
    --browser) want_browser=true ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' launch/setup.sh; exit 0 ;;
    *) echo "setup.sh: unknown option $option (known: --tests, --peer, --browser)" >&2; exit 1 ;;
  esac
done

say() { printf 'setup.sh: %s\n' "$*"; }
fail() { printf 'setup.sh: FAILED: %s\n' "$1" >&2; shift; [ $# -eq 0 ] || printf '          %s\n' "$@" >&2; exit 1; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f s", b - a }'; }

# ---- System packages -------------------------------------------------------------------------------------------------

# at_least MINIMUM VERSION
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }
has() { command -v "$1" >/dev/null 2>&1; }
has_daemon() { PATH=$PATH:/usr/sbin:/sbin has "$1"; }
first_version() { "$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1; }

# Debian's names of the packages that lack, one a line. Probes look for the thing itself, so modules count as well.
missing_packages() {
  has git || echo git
  has ninja || echo ninja-build
  has pkg-config || echo pkg-config
  { has cmake && at_least 3.25 "$(first_version cmake --version)"; } || echo cmake
  has mpicc || echo libopenmpi-dev
  { has mpirun && at_least 4.1 "$(first_version mpirun --version)"; } || echo openmpi-bin
  python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || printf 'python3\npython3-venv\n'
  if $want_tests; then
    has clang-format-14 || echo clang-format-14
    has clang-tidy-14 || echo clang-tidy-14
    has clang++-16 || printf 'clang-16\nlibclang-rt-16-dev\n'
    has_daemon slurmctld || echo slurmctld
    has_daemon slurmd || echo slurmd
    has sbatch || echo slurm-client
    has_daemon munged || echo munge
  fi
  if $want_browser; then
    has chromium || echo chromium
    [ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || echo fonts-dejavu-core  # without any font a page has no letters
  fi
  local header_probe
  header_probe=$(while read -r package headers; do
    for header in $headers; do printf '#if !__has_include(<%s>)\n' "$header"; done
    printf '@%s\n' "$package"
    for header in $headers; do printf '#endif\n'; done
  done <<'HEADERS'
libhdf5-dev hdf5.h hdf5/serial/hdf5.h
libyaml-cpp-dev yaml-cpp/yaml.h
libsentencepiece-dev sentencepiece_processor.h
nlohmann-json3-dev nlohmann/json.hpp
libcli11-dev CLI/CLI.hpp
libspdlog-dev spdlog/spdlog.h
libfmt-dev fmt/format.h
libgtest-dev gtest/gtest.h
libgmock-dev gmock/gmock.h
libpcre2-dev pcre2.h
libssl-dev openssl/evp.h
libcurl4-openssl-dev curl/curl.h
zlib1g-dev zlib.h
HEADERS
  )
  if has g++ && at_least 12 "$(g++ -dumpversion)"; then
    g++ -E -P -x c++ - <<<"$header_probe" 2>/dev/null | grep -o '^@.*' | tr -d '@'
  else
    echo g++
    grep -o '^@.*' <<<"$header_probe" | tr -d '@'  # cannot be looked for without a compiler; apt skips what is there
  fi
}

privilege() {  # prints the prefix of a command that needs root; fails where there is none
  if [ "$(id -u)" -eq 0 ]; then return 0; fi
  has sudo || return 1
  local keep="--preserve-env=http_proxy,https_proxy,no_proxy"
  if sudo -n true 2>/dev/null; then echo "sudo -n $keep"; return 0; fi
  if [ -t 0 ] && [ -t 2 ]; then echo "setup.sh: sudo may ask for your password" >&2; sudo -v && { echo "sudo $keep"; return 0; }; fi
  return 1
}

install_system_packages() {
  local start missing wanted prefix
  start=$(now)
  missing=$(missing_packages | xargs)
  if [ -z "$missing" ] && has ccache; then say "system packages: all there ($(since "$start"))"; return; fi
  wanted=$missing
  has ccache || wanted="${missing:+$missing }ccache"  # makes the second build fast, nothing fails without it
  if [ -z "$missing" ]; then
    [ "$(id -u)" -eq 0 ] && has apt-get && apt-get install -q -y --no-install-recommends ccache >/dev/null 2>&1
    has ccache || say "system packages: all there but ccache, which would make later builds faster"
    return
  fi
  if ! has apt-get || ! prefix=$(privilege); then
    local modules=()
    type module >/dev/null 2>&1 && modules=("or load modules that give the same (module avail gcc cmake ninja openmpi hdf5 python), and run this again")
    fail "these packages lack, and there is no right to install them (neither root nor sudo, or no apt-get):" \
      "$missing" "as root:" "    apt-get update && apt-get install --no-install-recommends $wanted" "${modules[@]}"
  fi
  say "system packages: installing $wanted"
  # shellcheck disable=SC2086  # lists of words
  { $prefix apt-get update -q && $prefix env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted; } ||
    fail "system packages: apt-get's message stands above." \
      "If it could not reach its server: check the network and the proxy settings of apt, and run this again." \
      "If it does not know a package: Debian 12, Ubuntu 24.04 or newer is needed (or modules that give the same)."
  hash -r
  missing=$(missing_packages | xargs)
  [ -z "$missing" ] || fail "system packages: still missing or too old after the installation: $missing" \
    "Needed: g++ 12, cmake 3.25, Open MPI 4.1, Python 3.9 or newer. Another program earlier on PATH may hide the new one."
  say "system packages: installed ($(since "$start"))"
}

# ---- Python packages -------------------------------------------------------------------------------------------------

fingerprint() { cat "$@" | sha256sum | cut -d' ' -f1; }
is_stamped() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$1.part" && mv "$1.part" "$1"; }

pip_failed() {
  fail "$1: pip's message stands above." \
    "If it could not reach the package index: check the network and pip's settings (pip config list, PIP_INDEX_URL), and run this again." \
    "If a hash differs: the index gave another file than the pinned one; do not use it." \
    "If no version matches: wheels are pinned for x86-64 Linux with glibc 2.28 or newer only."
}
pip_install() {  # pip_install PYTHON ARGUMENT…
  local python=$1
  shift
  "$python" -m pip --quiet --disable-pip-version-check install --no-deps --only-binary=:all: --require-hashes "$@"
}

# make_venv NAME REQUIREMENTS…: .deps/NAME with these packages
make_venv() {
  local name=$1 start mark
  shift
  start=$(now)
  mark="$(python3 -c 'import sys; print(sys.executable, *sys.version_info[:2])') $(fingerprint "$@")"
  if is_stamped "$deps/$name/.stamp" "$mark"; then say "$name: there"; return; fi
  say "$name: making a Python environment in $deps/$name"
  rm -rf "${deps:?}/$name"
  python3 -m venv "$deps/$name" || fail "$name: python3 -m venv (its message stands above)" "On Debian and Ubuntu it needs the package python3-venv."
  pip_install "$deps/$name/bin/python" "${@/#/--requirement=}" || pip_failed "$name"
  if [ "$name" = peer ]; then
    local site
    site=$("$deps/peer/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$deps/torch" >"$site/spt_torch.pth"  # one torch for both, it is large
    "$deps/peer/bin/python" -c 'import torch, transformers, safetensors, h5py, sentencepiece, scipy.stats, lm_eval.models.huggingface' ||
      fail "peer: cannot import its packages (Python's message stands above)" "They are pinned for CPython 3.11 to 3.13." \
        "If python3 changed since libtorch was installed, remove $deps/torch and run this again."
  fi
  stamp "$deps/$name/.stamp" "$mark"
  say "$name: installed ($(since "$start"))"
}

# unpack_wheels NAME WHAT: the wheels of requirements/NAME.txt into .deps/torch
unpack_wheels() {
  local name=$1 what=$2 start temporary mark version
  start=$(now)
  mark=$(fingerprint "$requirements/$name.txt")
  if is_stamped "$deps/torch/.stamp-$name" "$mark"; then say "$what: there"; return; fi
  say "$what: downloading and unpacking into $deps/torch"
  temporary=$(mktemp -d "$deps/torch.XXXXXX") || fail "$what: cannot write to $deps"
  trap 'rm -rf "$temporary"' EXIT
  # The wheel for this Python where there is one (the peer tests import it); any does for C++.
  version=$("$deps/venv/bin/python" -c 'import sys; v = sys.version_info[:2]; print("%d.%d" % (v if (3, 10) <= v <= (3, 14) else (3, 12)))')
  pip_install "$deps/venv/bin/python" --target "$temporary" --python-version "$version" --requirement "$requirements/$name.txt" ||
    pip_failed "$what"
  { mkdir -p "$deps/torch" && cp -rlf "$temporary/." "$deps/torch/"; } || fail "$what: cannot write to $deps/torch"
  stamp "$deps/torch/.stamp-$name" "$mark"
  rm -rf "$temporary"
  trap - EXIT
  say "$what: installed ($(since "$start"))"
}

# fetch_plotly: .deps/plotly/plotly.min.js, that file alone
fetch_plotly() {
  local start temporary mark
  start=$(now)
  mark=$(fingerprint "$requirements/plotly.txt")
  if is_stamped "$deps/plotly/.stamp" "$mark"; then say "plotly.js: there"; return; fi
  temporary=$(mktemp -d "$deps/plotly.XXXXXX") || fail "plotly.js: cannot write to $deps"
  trap 'rm -rf "$temporary"' EXIT
  pip_install "$deps/venv/bin/python" --target "$temporary" --requirement "$requirements/plotly.txt" || pip_failed "plotly.js"
  { mkdir -p "$deps/plotly" && mv "$temporary/plotly/package_data/plotly.min.js" "$deps/plotly/"; } || fail "plotly.js: cannot write to $deps/plotly"
  stamp "$deps/plotly/.stamp" "$mark"
  rm -rf "$temporary"
  trap - EXIT
  say "plotly.js: installed ($(since "$start"))"
}

# ---- Steps -----------------------------------------------------------------------------------------------------------

begin=$(now)
[ "$(uname -sm)" = "Linux x86_64" ] || fail "this is $(uname -sm); libtorch is pinned for x86-64 Linux only"
type module >/dev/null 2>&1 && say "environment modules: taking what is loaded (${LOADEDMODULES:-nothing}); PATH and CPATH decide"
install_system_packages
mkdir -p "$deps" || fail "cannot make the folder $deps"
exec 9>"$deps/.lock" || fail "cannot write to $deps"
flock -n 9 || { say "waiting for another setup.sh"; flock 9; }
find "$deps" -maxdepth 1 \( -name 'torch.??????' -o -name 'plotly.??????' \) -exec rm -rf {} +  # what a killed call left

make_venv venv "$requirements/tools.txt"
fetch_plotly
unpack_wheels torch "libtorch"
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
if [ -x "$nvcc" ] && toolkit=$("$nvcc" --version | grep -oE 'release [0-9.]+' | cut -d' ' -f2) && at_least 13.0 "$toolkit"; then
  say "CUDA toolkit: $toolkit ($nvcc), so GPU support is built"
  unpack_wheels torch-cuda "libtorch's CUDA libraries"
else
  say "CUDA toolkit: none of version 13.0 or newer (nvcc on PATH or in /usr/local/cuda), so CPU only"
  $want_peer && unpack_wheels torch-cuda "libtorch's CUDA libraries (Python's torch cannot be imported without)"
fi
$want_peer && make_venv peer "$requirements/peer.txt"
$want_browser && make_venv browser "$requirements/browser.txt"
say "all there ($(since "$begin"))"
