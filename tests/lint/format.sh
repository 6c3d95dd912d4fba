#!/usr/bin/env bash
# Every source file is as .clang-format wants it. `format.sh --fix` formats them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v clang-format-14 >/dev/null || { echo "SKIPPED: clang-format-14 is not installed (launch/setup.sh --tests)"; exit 0; }
how=(--dry-run --Werror)
[ "${1:-}" = --fix ] && how=(-i)
find base dist data trainer launch tests bench -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 2>/dev/null |
  sort -z | xargs -0 clang-format-14 "${how[@]}"
