#!/usr/bin/env bash
# Fails where tests, or the engines, ask for other features of a crate than the programs, or `verify` alone, do: such a
# crate and all that stands on it, the library last, would be compiled twice. Reads dependency graphs, builds nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

# "name version|features" for every way a package is built (build scripts and programs may differ).
graph() {
    cargo tree --locked --prefix none --format '{p}|{f}' --edges "$@" | sed 's/ (\*)$//; s/ (proc-macro)//' | sort -u
}

# Packages of the second graph that the first has, but not with those features.
drift() {
    awk -F'|' 'NR == FNR { packages[$1]; lines[$0]; next } $1 in packages && !($0 in lines)' <(echo "$1") <(echo "$2")
}

programs=$(graph normal,build)
tests=$(graph normal,build,dev)
verify=$(graph normal,build --no-default-features)
found=$(
    # Programs use proc-macro2 in macros only, which the compiler keeps apart from a test that reads source with it.
    drift "$programs" "$tests" | sed 's/^/tests: /' | grep -v ': proc-macro2 v' || true
    drift "$tests" "$programs" | sed 's/^/programs: /'
    # The reference engine's own half needs a second rand, which is not worth its seconds without that engine.
    drift "$programs" "$verify" | sed 's/^/--no-default-features: /' | grep -v -e ': golf-harness v' -e ': half v' || true
)
if [ -n "$found" ]; then
    echo "$found"
    echo "error: features differ; add what is missing to the block \"One feature set\" of Cargo.toml, or ask for less"
    exit 1
fi
