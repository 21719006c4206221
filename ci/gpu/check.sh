#!/usr/bin/env bash
# The tests of a machine with a GPU: kernels against their CPU twins, the network against PyTorch's numbers, thirty steps,
# equal bits on a second run; then the same kernels under compute-sanitizer, where it is installed. Builds nothing and
# downloads nothing.
#
#   cargo test --locked --release --no-run             first, once
#   ci/gpu/check.sh
#
# A machine without cargo needs a copy of the repository with target/release/deps. Libraries of the CUDA toolkit (NVRTC,
# cuBLASLt) must be on LD_LIBRARY_PATH; see docs/cuda.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. ci/gpu/built.sh
tests=$(built golf_harness 'cargo test --locked --release --no-run')
reference=$(built reference 'cargo test --locked --release --no-run')
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# They are ignored where nobody asks for them, and fail without a GPU. Those of NCCL want its library, too.
skip=()
if ! python3 -c 'import ctypes; ctypes.CDLL("libnccl.so")' 2> /dev/null; then
    echo "skipped: the tests of NCCL (no libnccl.so on the library path)"
    skip=(--skip nccl_)
fi
# Hopper's own kernels have tests that no other device can run.
filters=(on_a_gpu)
if nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -1 | grep -qx '9\.0'; then
    filters+=(on_a_hopper_gpu)
fi
"$tests" "${filters[@]}" --include-ignored "${skip[@]}" --nocapture --test-threads=1 2>&1 | tee "$log"
"$reference" model:: training:: --nocapture 2>&1 | tee -a "$log"
if grep -q 'no GPU: skipped' "$log"; then
    echo "no GPU was used: nothing above says anything about one" >&2
    exit 2
fi
if ! command -v compute-sanitizer > /dev/null; then
    echo "compute-sanitizer is not installed: memory and races were not checked"
    exit 0
fi
for tool in memcheck racecheck initcheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$tests" "${filters[@]}" --include-ignored \
        "${skip[@]}" --test-threads=1
done
