#!/usr/bin/env bash
# What one GPU shows of spt, in pieces of at most eight minutes; each writes OUT/PIECE.json when it is done, also when some of it failed.
#
#   bench/gpu.sh [--dry] [--out DIR] PIECE…
#
#   tests     every test that needs a GPU: collectives over NCCL and staged, kernels against their CPU twins, logits and losses in fp32 and bf16 against
#             the CPU's, layouts of several ranks on one GPU, a checkpoint taken from the CPU to the GPU and back
#   mfu       Llama-2-7B's shape with random weights, 64 x 4,096 tokens a step in bf16: share of peak, time without a kernel, cudaMalloc calls after step 10
#   lima      the same model on examples as long as LIMA's, packed
#   offload   the same with the optimizer on the host, held to 80 GB
#   decode    tokens a second of greedy answers, 1 and 64 at a time
#   peer      the same training in transformers (without it, a plain torch loop, which is then what the JSON calls it), in one run with ours
#   sanitize  the kernel tests under compute-sanitizer
#
# --dry: the same commands with a tiny model, without a GPU. Programs: those of PATH (of a bundle), else of build/ (SPT_BUILD):
# spt dist_tests trainer_tests dump_logits generate_loop. Python: SPT_PEER_PYTHON, else python3; it needs torch, peer also h5py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dry=() out=$PWD/gpu_results
while [[ ${1:-} == --* ]]; do
  case $1 in
    --dry) dry=(--dry); export CUDA_VISIBLE_DEVICES= ;;
    --out) out=$2; shift ;;
    *) sed -n 2,20p "$0" >&2; exit 1 ;;
  esac
  shift
done
[ $# -ge 1 ] || { sed -n 2,20p "$0" >&2; exit 1; }
command -v spt > /dev/null || export PATH=${SPT_BUILD:-$PWD/build}:${SPT_BUILD:-$PWD/build}/tests:$PATH
export SPT_CONFIGS=${SPT_CONFIGS:-$PWD/configs} OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
mkdir -p "$out"
status=0
for piece in "$@"; do
  timeout --kill-after=10 480 "${SPT_PEER_PYTHON:-python3}" bench/gpu_pieces.py "${dry[@]}" --out "$out" "$piece" || { echo "$piece: status $?" >&2; status=2; }
done
exit $status
