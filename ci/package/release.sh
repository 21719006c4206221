#!/usr/bin/env bash
# A release for this machine's target, up to the point where it would be published: what .github/workflows/release.yml
# does for each target, by the same scripts. Then the gate fetches it as it would fetch the published one.
#
# Usage: release.sh --dry-run FOLDER [MATURIN-ARGUMENT...]
set -euo pipefail
[[ "${1:-}" == --dry-run && -n "${2:-}" ]] || {
  echo "usage: release.sh --dry-run FOLDER [MATURIN-ARGUMENT...]; releases are made by pushing a tag (CONTRIBUTING.md)" >&2
  exit 2
}
out=$(realpath -m "$2")
shift 2
cd "$(dirname "$0")/../.."
mkdir -p "$out"
[[ -z "$(ls -A "$out")" ]] || { echo "error: $out is not empty" >&2; exit 2; }
step() { printf '\n== %s\n' "$*"; "$@"; }
target=$(rustc -vV | sed -n 's/^host: //p')

step ci/package/version.sh
step ci/package/build.sh "$out" "$@"
step ci/package/try.sh "$out"/*.whl
step ci/package/archive.sh "$out"/*.whl "$target" "$out"
step ci/package/sums.sh "$out"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp ci/gate/prebuilt.txt "$work"
step ci/package/pin.sh "$out/SHA256SUMS" "file://$out" "$work/prebuilt.txt"
GATE_PREBUILT=$work/prebuilt.txt GATE_SOURCE=never step ci/gate/fetch.sh "$work/gate"
step "$work/gate/golf-harness" verify --quiet fixtures/submissions/good
printf '\nnot done: provenance, PyPI, the release page\n'
ls -l "$out"
