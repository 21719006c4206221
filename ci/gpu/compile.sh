#!/usr/bin/env bash
# Compiles every kernel for the architectures the engine may meet; needs NVRTC or nvcc, but no GPU and no driver.
#
#   ci/gpu/compile.sh [FOLDER]     FOLDER holds libnvrtc.so.13, e.g. nvidia/cu13/lib in the site-packages of a Python
#                                  where `pip install 'nvidia-cuda-nvrtc==13.0.*'` was run
#
# Without a folder, the libraries on LD_LIBRARY_PATH; where there are none, nvcc.
set -euo pipefail
folder=${1:-}
if [ -n "$folder" ]; then folder=$(cd "$folder" && pwd); fi
cd "$(dirname "$0")/../.."
if [ -n "$folder" ]; then export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# That test is ignored where nobody asks for it, and fails where there is no NVRTC.
if cargo test --locked --release --lib driver::compile::tests::the_kernels_compile -- --nocapture --include-ignored 2>&1 |
    tee "$log"; then
    exit 0
fi
if ! grep -q 'no NVRTC on the library path' "$log"; then exit 1; fi
if ! command -v nvcc > /dev/null; then
    echo "neither NVRTC nor nvcc is here: nothing was compiled" >&2
    exit 2
fi
kernels=$(mktemp --suffix .cu)
trap 'rm -f "$log" "$kernels"' EXIT
# In the order the engine has them.
# shellcheck disable=SC2013 # names without spaces
for name in $(sed -n 's|.*include_str!("kernels/\(.*\)\.cu").*|\1|p' src/engine/cuda/source.rs); do
    printf '#line 1 "%s.cu"\n' "$name"
    cat "src/engine/cuda/kernels/$name.cu"
done > "$kernels"
for architecture in sm_80 sm_90 sm_90a; do
    nvcc -cubin -std=c++17 -fmad=false -arch="$architecture" -o /dev/null "$kernels"
    echo "nvcc, $architecture: compiled"
done
