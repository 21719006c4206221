#!/usr/bin/env bash
# The version of Cargo.toml is the one that everything else names: CHANGELOG.md, CITATION.cff and, if given, the tag.
#
# Usage: version.sh [TAG]
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
fail() { echo "error: $*" >&2; exit 1; }
grep -q "^## \[$version\]" CHANGELOG.md || fail "CHANGELOG.md has no section [$version]"
grep -q "^version: \"\?$version\"\?$" CITATION.cff || fail "CITATION.cff does not say $version"
if [[ -n "${1:-}" ]]; then
  [[ "$1" == "v$version" ]] || fail "the tag is $1, Cargo.toml says $version"
  ! grep -q "^## \[$version\].*unreleased" CHANGELOG.md || fail "CHANGELOG.md calls [$version] unreleased"
fi
echo "version $version"
