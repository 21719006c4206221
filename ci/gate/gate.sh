#!/usr/bin/env bash
# Judges what lies between GATE_BASE and GATE_HEAD: annotations on stdout, Markdown in the job summary.
#
# Usage: GATE_BASE=REV GATE_HEAD=REV [GATE_REPOSITORY=.] [GATE_FAIL_ON=fail] [GATE_SARIF=FILE] [GATE_VERIFY=verify] gate.sh
# Exit codes are verify's: 0 passed, 1 a check failed, 2 could not check.
set -euo pipefail

for name in GATE_BASE GATE_HEAD; do
  if [[ -z "${!name:-}" ]]; then
    echo "::error title=gate::$name is empty: run on pull_request, or pass base and head"
    exit 2
  fi
done

summary=$(mktemp)
trap 'rm -f "$summary"' EXIT

arguments=(
  --repository "${GATE_REPOSITORY:-.}"
  --base "$GATE_BASE"
  --head "$GATE_HEAD"
  --fail-on "${GATE_FAIL_ON:-fail}"
  --format github
  --also "markdown=$summary"
)
if [[ -n "${GATE_SARIF:-}" ]]; then
  arguments+=(--also "sarif=$GATE_SARIF")
fi

code=0
"${GATE_VERIFY:-verify}" "${arguments[@]}" || code=$?

# Without a report there is nothing to summarize; verify has said why on stderr.
if [[ -n "${GITHUB_STEP_SUMMARY:-}" ]]; then
  if [[ -s "$summary" ]]; then
    cat "$summary" >> "$GITHUB_STEP_SUMMARY"
  else
    echo "The pull request could not be checked; see the job's log." >> "$GITHUB_STEP_SUMMARY"
  fi
fi
if [[ "$code" -ne 0 && "$code" -ne 1 ]]; then
  echo "::error title=gate::could not check (exit code $code)"
fi
exit "$code"
