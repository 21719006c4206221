#!/usr/bin/env bash
# Builds the sdist, and a wheel for this machine, with maturin from PATH or, where there is none, from PyPI.
#
# Usage: build.sh FOLDER [MATURIN-ARGUMENT...]
#   build.sh dist                                          what is released: minutes
#   build.sh dist --profile release                        what `cargo build --release` has built already
#   build.sh dist --profile quick --no-default-features    without the engines and unoptimized: to try the packaging
set -euo pipefail
folder=$(realpath -m "${1:?usage: build.sh FOLDER [MATURIN-ARGUMENT...]}")
shift
cd "$(dirname "$0")/../.."
if ! command -v maturin > /dev/null; then
  tools=$(mktemp -d)
  trap 'rm -rf "$tools"' EXIT
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
  export PATH=$tools/bin:$PATH
fi
maturin sdist --out "$folder"
maturin build --quiet --out "$folder" "$@"
