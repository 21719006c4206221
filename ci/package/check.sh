#!/usr/bin/env bash
# What people install, tried as they install it: sdist, wheel in an empty environment, `pip install .`.
#
# Usage: check.sh [MATURIN-ARGUMENT...]      see build.sh; `--profile quick --no-default-features` is the fastest
# With SDIST=1 the sdist is built and installed, too, which compiles everything once more.
set -euo pipefail
cd "$(dirname "$0")/../.."
max_sdist=3000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "error: $*" >&2; exit 1; }
step() { printf '\n== %s\n' "$*"; "$@"; }

python3 -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2' mypy
export PATH=$work/tools/bin:$PATH

step mypy --cache-dir "$work/mypy"
start=$SECONDS
step ci/package/build.sh "$work/dist" "$@"
printf 'built in %s s\n' "$((SECONDS - start))"
sdist=$(echo "$work"/dist/*.tar.gz)
printf '%s: %s bytes, %s files\n' "$(basename "$sdist")" "$(wc -c < "$sdist")" "$(tar -tzf "$sdist" | wc -l)"
(($(wc -c < "$sdist") < max_sdist)) || fail "more than $max_sdist bytes"
tar -tzf "$sdist" | cut -d / -f 2- > "$work/names"
for name in Cargo.lock Cargo.toml PKG-INFO build.rs pyproject.toml bins/golf_harness.rs src/lib.rs \
  manifests/board.yaml python/golf_harness/__init__.py python/golf_harness/py.typed LICENSE-MIT LICENSE-APACHE; do
  grep -qx "$name" "$work/names" || fail "the sdist lacks $name"
done
extra=$(grep -E '^(tests|ci|python/tests|fixtures/reference|fixtures/fuzz)/' "$work/names" || true)
[[ -z "$extra" ]] || fail "the sdist has files that no build needs: $(head -n 3 <<< "$extra")"

wheel=$(echo "$work"/dist/*.whl)
step ci/package/try.sh "$wheel"

# pip starts maturin itself, and must be told what to build as build.sh was.
pip_install() {
  python3 -m venv --clear "$work/venv"
  MATURIN_PEP517_ARGS=$build "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$1"
  (cd "$work" && "$work/venv/bin/python" -m unittest discover -s "$OLDPWD/python/tests")
}
build=$*
step pip_install .
if [[ -n "${SDIST:-}" ]]; then
  step pip_install "$sdist"
fi
