# shellcheck shell=bash
# Where a test or benchmark lies that cargo has built; sourced by the scripts beside it, from the repository's root.

# built NAME COMMAND: the newest one of that name; without any, the command that builds it, and exit 2.
built() {
    local found
    found=$(find target/release/deps -maxdepth 1 -name "$1-*" -executable -type f -printf '%T@ %p\n' 2> /dev/null |
        sort -n | tail -n 1 | cut -d ' ' -f 2)
    if [ -z "$found" ]; then
        echo "$1 is not built: $2" >&2
        return 2
    fi
    echo "$found"
}
