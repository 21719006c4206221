#!/usr/bin/env bash
# The tests of a machine with a GPU: kernels against their CPU twins, the network against PyTorch's numbers, thirty steps,
# equal bits on a second run; then the same kernels under compute-sanitizer, where it is installed.
#
# Libraries of the CUDA toolkit (NVRTC, cuBLASLt) must be on LD_LIBRARY_PATH; see docs/cuda.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TERM_COLOR=never
log=$(mktemp)
trap 'rm -f "$log"' EXIT

cargo test --locked --release --lib engine::cuda -- --nocapture --test-threads=1 2>&1 | tee "$log"
cargo test --locked --release --test reference -- --nocapture model:: training:: 2>&1 | tee -a "$log"
if grep -q 'no GPU: skipped' "$log"; then
    echo "no GPU was used: nothing above says anything about one" >&2
    exit 2
fi
if ! command -v compute-sanitizer > /dev/null; then
    echo "compute-sanitizer is not installed: memory and races were not checked"
    exit 0
fi
tests=$(cargo test --locked --release --lib --no-run --message-format=json |
    python3 -c 'import json, sys
for line in map(json.loads, sys.stdin):
    if line.get("executable") and "lib" in line["target"]["kind"]:
        print(line["executable"])')
for tool in memcheck racecheck initcheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$tests" on_a_gpu --test-threads=1
done
