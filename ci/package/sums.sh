#!/usr/bin/env bash
# Digests of everything in a folder: SHA256SUMS, which `sha256sum --check` reads.
#
# Usage: sums.sh FOLDER
set -euo pipefail
cd "${1:?usage: sums.sh FOLDER}"
rm -f SHA256SUMS
find . -maxdepth 1 -type f -name 'golf?harness*' -printf '%f\n' | LC_ALL=C sort | xargs -d '\n' sha256sum > "$PWD.sums"
mv "$PWD.sums" SHA256SUMS
sha256sum --check SHA256SUMS
