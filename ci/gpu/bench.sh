#!/usr/bin/env bash
# Tokens a second on this machine's GPU, beside PyTorch's in the same run. Builds nothing and downloads nothing.
#
#   cargo bench --locked --bench engines --no-run      first, once
#   ci/gpu/bench.sh [PYTHON]                           PYTHON has PyTorch with CUDA [default: python3]
set -euo pipefail
cd "$(dirname "$0")/../.."
. ci/gpu/built.sh
bench=$(built engines 'cargo bench --locked --bench engines --no-run')
exec "${1:-python3}" ci/gpu/compare.py "$bench"
