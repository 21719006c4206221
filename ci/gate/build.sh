#!/usr/bin/env bash
# Builds the program from the action's own source, which is never the submission's: FOLDER/golf-harness.
#
# Usage: build.sh FOLDER; with --key it only prints what the result depends on, for a cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# What `verify` needs: without the numeric engines it builds several times sooner.
arguments=(--locked --quiet --path . --no-default-features --bin golf-harness)
toolchain=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)

if [[ "${1:?usage: build.sh FOLDER}" == --key ]]; then
  digest() { if command -v sha256sum > /dev/null; then sha256sum; else shasum -a 256; fi; }
  key=$({ printf '%s\n' "$toolchain" "${arguments[@]}"
    find Cargo.toml Cargo.lock build.rs src bins manifests -type f | LC_ALL=C sort | while read -r file; do
      printf '%s\n' "$file"
      cat -- "$file"
    done; } | digest | cut -c 1-32)
  printf 'key=%s\n' "$key"
  exit
fi
folder=$1
if command -v rustup > /dev/null; then
  rustup toolchain install "$toolchain" --profile minimal --no-self-update
  export RUSTUP_TOOLCHAIN=$toolchain
elif ! command -v cargo > /dev/null; then
  printf '::error title=gate::no Rust on this machine to build with: https://rustup.rs, or pin a release\n'
  exit 2
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cargo install "${arguments[@]}" --root "$root"
mkdir -p -- "$folder"
mv -- "$root/bin/golf-harness" "$folder/golf-harness"
"$folder/golf-harness" --version
