#!/usr/bin/env bash
# Tokens a second on this machine's GPU, beside PyTorch's in the same run. Builds nothing and downloads nothing.
#
#   cargo bench --locked --bench engines --no-run      first, once
#   ci/gpu/bench.sh [PYTHON]                           PYTHON has PyTorch with CUDA [default: python3]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}
bench=$(find target/release/deps -maxdepth 1 -name 'engines-*' -executable -type f -printf '%T@ %p\n' 2> /dev/null |
    sort -n | tail -n 1 | cut -d ' ' -f 2)
if [ -z "$bench" ]; then
    echo "no benchmark is built: cargo bench --locked --bench engines --no-run" >&2
    exit 2
fi
exec "$python" ci/gpu/compare.py "$bench"
