#!/usr/bin/env bash
# Judges what lies between GATE_BASE and GATE_HEAD: annotations on stdout, Markdown in the job summary.
#
# Usage: GATE_BASE=REV GATE_HEAD=REV [GATE_REPOSITORY=.] [GATE_FAIL_ON=fail] [GATE_SARIF=FILE] [GATE_REPORT=FOLDER]
#        [GATE_PROGRAM=golf-harness] gate.sh
# GATE_REPORT: folder for report.txt and report.json, which other workflows may show.
# Exit codes: 0 passed, 1 a check failed, 2 could not check, 130 interrupted; no others, whatever happens.
set -uo pipefail

# GitHub takes a summary of up to 1 MiB (1,048,576 bytes) from a step, and nothing of a larger one.
max_summary=1000000

could_not() {
  # What is said is data: it must not end the line and start a command of its own.
  printf '::error title=gate::%s\n' "$(printf '%s' "$1" | tr '\r\n%' '   ')"
  exit 2
}

for name in GATE_BASE GATE_HEAD; do
  [[ -n "${!name:-}" ]] || could_not "$name is empty: run on pull_request, or pass base and head"
done

summary=$(mktemp) || could_not "no room for a temporary file"
child=
trap 'rm -f "$summary"' EXIT
# The shell waits for a child before it listens, so the child runs beside it and is ended first.
trap 'trap "" INT TERM HUP; [[ -z "$child" ]] || { kill -TERM "$child" 2>/dev/null; wait "$child"; }; exit 130' INT TERM HUP

# `--flag=VALUE`: a value that starts with a dash is no flag.
arguments=(
  "--repository=${GATE_REPOSITORY:-.}"
  "--base=$GATE_BASE"
  "--head=$GATE_HEAD"
  "--fail-on=${GATE_FAIL_ON:-fail}"
  # Neither the pull request nor what else lies in the workspace decides what is allowed.
  --no-config
  --format=github
  "--also=markdown=$summary"
)
if [[ -n "${GATE_SARIF:-}" ]]; then
  arguments+=("--also=sarif=$GATE_SARIF")
fi
if [[ -n "${GATE_REPORT:-}" ]]; then
  mkdir -p -- "$GATE_REPORT" || could_not "the folder of GATE_REPORT cannot be made"
  arguments+=("--also=text=$GATE_REPORT/report.txt" "--also=json=$GATE_REPORT/report.json")
fi

"${GATE_PROGRAM:-golf-harness}" verify "${arguments[@]}" &
child=$!
wait "$child"
code=$?
child=

# Without a report there is nothing to summarize; verify has said why on stderr.
if [[ -n "${GITHUB_STEP_SUMMARY:-}" ]]; then
  {
    if (($(wc -c < "$summary") > max_summary)); then
      # Whole lines only: half a character or half a table row would spoil what stands above it.
      head -c "$max_summary" "$summary" | sed '$d'
      name() { printf '%s' "$1" | tr -cd 'A-Za-z0-9._/-'; }
      printf '\n\nThe rest of the report was cut off. '
      # shellcheck disable=SC2016 # Markdown's quotes, not the shell's
      printf 'The whole: `golf-harness verify --base %s --head %s`' "$(name "$GATE_BASE")" "$(name "$GATE_HEAD")"
      printf '%s.\n' "${GATE_REPORT:+, or report.txt in the artifact of this run}"
    elif [[ -s "$summary" ]]; then
      cat "$summary"
    else
      echo "The pull request could not be checked; see the job's log."
    fi
  } >> "$GITHUB_STEP_SUMMARY" || echo "::warning title=gate::the job summary could not be written"
fi
case "$code" in
  0 | 1) exit "$code" ;;
  130) exit 130 ;;
  *) could_not "could not check (exit code $code)" ;;
esac
