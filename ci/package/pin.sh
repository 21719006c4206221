#!/usr/bin/env bash
# After a release: writes its address and digests to ci/gate/prebuilt.txt. Commit the file, and give that commit to
# those who use the gate.
#
# Usage: pin.sh SHA256SUMS ADDRESS [FILE]      pin.sh SHA256SUMS https://github.com/OWNER/golf-harness/releases/download/v0.1.0
set -euo pipefail
sums=${1:?usage: pin.sh SHA256SUMS ADDRESS [FILE]}
address=${2:?usage: pin.sh SHA256SUMS ADDRESS [FILE]}
file=${3:-$(dirname "${BASH_SOURCE[0]}")/../gate/prebuilt.txt}
archives=$(grep -E '^[0-9a-f]{64} [ *]golf-harness-[a-z0-9_-]+\.tar\.gz$' "$sums" | sed 's/ [ *]/  /') \
  || { echo "error: $sums names no archive" >&2; exit 1; }
comments=$(grep '^#' "$file")
printf '%s\n%s\n%s\n' "$comments" "$address" "$archives" > "$file"
