#!/usr/bin/env bash
# Fetches the program that prebuilt.txt pins for this machine, and checks its digest before it is unpacked.
#
# Usage: [GATE_PREBUILT=FILE] [GATE_SOURCE=auto|always|never] fetch.sh FOLDER
# Leaves FOLDER/golf-harness, or nothing where it must be built from source. For GitHub Actions, GITHUB_OUTPUT gets
# `build=true` or `build=false`.
# Exit codes: 0 fetched, or to be built; 2 refused: a digest differs, or building was ruled out.
set -euo pipefail
folder=${1:?usage: fetch.sh FOLDER}
prebuilt=${GATE_PREBUILT:-$(dirname "${BASH_SOURCE[0]}")/prebuilt.txt}
source=${GATE_SOURCE:-auto}
# More than any archive has; a server cannot fill the disk.
max_bytes=100000000

refuse() {
  printf '::error title=gate::%s\n' "$1"
  exit 2
}

answer() {
  [[ -z "${GITHUB_OUTPUT:-}" ]] || printf 'build=%s\n' "$1" >> "$GITHUB_OUTPUT"
  exit 0
}

build_instead() {
  [[ "$source" != never ]] || refuse "$1, and building from source was ruled out (source: never)"
  printf '::notice title=gate::%s: building from source, which takes minutes\n' "$1"
  answer true
}

target() {
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo x86_64-unknown-linux-gnu ;;
    Linux-aarch64 | Linux-arm64) echo aarch64-unknown-linux-gnu ;;
    Darwin-arm64) echo aarch64-apple-darwin ;;
    Darwin-x86_64) echo x86_64-apple-darwin ;;
    *) return 1 ;;
  esac
}

sha256() {
  if command -v sha256sum > /dev/null; then sha256sum < "$1"; else shasum -a 256 < "$1"; fi | cut -d ' ' -f 1
}

case "$(uname -s)" in
  Linux | Darwin) ;;
  *) refuse "the gate runs on Linux and macOS: runs-on: ubuntu-24.04" ;;
esac
case "$source" in
  auto | never) ;;
  always) build_instead "source: always" ;;
  *) refuse "GATE_SOURCE is neither auto, always nor never" ;;
esac
target=$(target) || build_instead "no release is built for $(uname -s) on $(uname -m)"
archive=golf-harness-$target.tar.gz
address=$(grep -m 1 -E '^(https|file)://' "$prebuilt") || refuse "prebuilt.txt names no address"
expected=$(grep -E "^[0-9a-f]{64}  ${archive//./\\.}\$" "$prebuilt" | cut -d ' ' -f 1) || true
[[ -n "$expected" ]] || build_instead "no release is pinned for $target"

mkdir -p -- "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
curl --silent --show-error --fail --location --proto '=https,file' --retry 3 --max-time 120 \
  --max-filesize "$max_bytes" --output "$work/$archive" "$address/$archive" \
  || build_instead "$address/$archive could not be fetched"
found=$(sha256 "$work/$archive")
# Never a reason to build instead: somebody changed what was pinned.
[[ "$found" == "$expected" ]] || refuse "$archive has digest $found, pinned is $expected: nothing of it was unpacked"
tar -xzf "$work/$archive" -C "$work"
mv -- "$work/golf-harness-$target/golf-harness" "$folder/golf-harness"
# A program that does not start here (an older C library, say) is built instead.
"$folder/golf-harness" --version || { rm -f "$folder/golf-harness"; build_instead "the release does not run here"; }
answer false
