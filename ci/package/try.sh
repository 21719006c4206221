#!/usr/bin/env bash
# Installs a wheel into an empty environment and uses it, as somebody without Rust would: sizes, seconds, verdicts.
#
# Usage: try.sh WHEEL [PYTHON]
set -euo pipefail
wheel=$(realpath "${1:?usage: try.sh WHEEL [PYTHON]}")
python=${2:-python3}
cd "$(dirname "$0")/../.."
max_bytes=15000000
max_seconds=30

fail() { echo "error: $*" >&2; exit 1; }
bytes=$(wc -c < "$wheel")
printf '%s: %s bytes\n' "$(basename "$wheel")" "$bytes"
((bytes < max_bytes)) || fail "more than $max_bytes bytes"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
bin=$work/venv/bin
[[ -d "$bin" ]] || bin=$work/venv/Scripts
before=$(cd "$bin" && echo *)
# No Rust: nothing but the environment and the system's own folders, which on Windows have other names.
case "$(uname -s)" in
  Linux | Darwin) export PATH=$bin:/usr/bin:/bin ;;
  *) export PATH=$bin:$PATH ;;
esac
# Afterwards there is no network; where a name space can be had, that is made sure of.
offline=()
if unshare --net --map-root-user true 2> /dev/null; then offline=(unshare --net --map-root-user); fi
without_network() { ${offline[@]+"${offline[@]}"} "$@"; }
verify() { without_network golf-harness verify "$@"; }

start=$SECONDS
python -m pip install --quiet --no-index --no-deps --disable-pip-version-check "$wheel"
verify fixtures/submissions/good
printf 'from pip install to a verdict: %s s\n' "$((SECONDS - start))"
((SECONDS - start < max_seconds)) || fail "more than $max_seconds s"

code=0
verify --quiet fixtures/submissions/wrong-denominator > /dev/null || code=$?
((code == 1)) || fail "a folder with a wrong denominator gave exit code $code"
for name in $(cd "$bin" && echo *); do
  case " $before golf-harness golf-harness.exe " in
    *" $name "*) ;;
    *) fail "the wheel puts $name on PATH" ;;
  esac
done
golf-harness --version
# From another folder, so that the installed module is meant and not the source beside the tests.
(cd "$work" && without_network python -m unittest discover -s "$OLDPWD/python/tests")
