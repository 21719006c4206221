#!/usr/bin/env bash
# Puts the program of a wheel into an archive of its own, with licenses, completions and man pages: the same bytes for
# those who do not use Python, `cargo binstall` and the gate.
#
# Usage: archive.sh WHEEL TARGET FOLDER      writes FOLDER/golf-harness-TARGET.tar.gz, on Windows .zip
set -euo pipefail
wheel=$(realpath "${1:?usage: archive.sh WHEEL TARGET FOLDER}")
target=${2:?usage: archive.sh WHEEL TARGET FOLDER}
folder=$(realpath "${3:?usage: archive.sh WHEEL TARGET FOLDER}")
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
top=$work/golf-harness-$target
mkdir "$top"
unzip -q -j "$wheel" '*.data/scripts/*' -d "$top"
program=$top/golf-harness
[[ "$target" != *windows* ]] || program=$program.exe
chmod +x "$program"
cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$top"
mkdir "$top/completions" "$top/man"
for shell in bash zsh fish powershell; do
  "$program" completions "$shell" > "$top/completions/golf-harness.$shell"
done
"$program" man "$top/man" > /dev/null
# The same files give the same bytes, whoever packs them and when.
if [[ "$target" == *windows* ]]; then
  (cd "$work" && 7z a -tzip -bd "$folder/golf-harness-$target.zip" "golf-harness-$target" > /dev/null)
else
  (cd "$work" && find "golf-harness-$target" -type f | LC_ALL=C sort > list &&
    "$(command -v gtar || echo tar)" --create --owner=0 --group=0 --numeric-owner --mtime=@0 --files-from=list |
    gzip -9n > "$folder/golf-harness-$target.tar.gz")
fi
ls -l "$folder"/golf-harness-"$target".*
