#!/usr/bin/env bash
# Scores the artifact of a pull request, or reruns its script, at the very commit that a maintainer has looked at.
#
# Started by a maintainer only, on a machine with a GPU, without a token. `rerun` executes the submission's script in a
# sandbox (docs/rerun.md); nothing else here does.
#
# Usage: RECHECK=score|rerun PULL_REQUEST=N COMMIT=ID RECORD=FOLDER WORK=DIR [MANIFEST=manifest.yaml] [SEEDS=1,2,3]
#        [DATA_PATH=DIR] [TOKENIZER_PATH=FILE] [REMOTE=origin] [GATE_PROGRAM=golf-harness] recheck.sh
# In a clone of the repository. RECORD: the record folder's path in the repository. WORK: where its files and the report go.
# Exit codes: those of the program: 0 agrees, 1 differs, 2 could not check, 130 interrupted.
set -euo pipefail

refuse() {
  printf '::error title=recheck::%s\n' "$(printf '%s' "$1" | tr '\r\n%' '   ')"
  exit 2
}

for name in RECHECK PULL_REQUEST COMMIT RECORD WORK; do
  [[ -n "${!name:-}" ]] || refuse "$name is empty"
done
[[ "$RECHECK" == score || "$RECHECK" == rerun ]] || refuse "RECHECK is neither score nor rerun"
[[ "$PULL_REQUEST" =~ ^[1-9][0-9]{0,9}$ ]] || refuse "PULL_REQUEST is no number"
[[ "$COMMIT" =~ ^[0-9a-f]{40}$ ]] || refuse "COMMIT is not the 40 digits of a commit"
[[ "${SEEDS:-0}" =~ ^[0-9]+(,[0-9]+)*$ ]] || refuse "SEEDS is not a list such as 1,2,3"
inside() { [[ "$1" != /* && "$1" != -* && "/$1/" != */../* && "/$1/" != */./* && "/$1/" != *//* && "/$1/" != */.git/* ]]; }
inside "$RECORD" || refuse "RECORD is not a path inside of the repository"
inside "${MANIFEST:=manifest.yaml}" || refuse "MANIFEST is not a path inside of the record folder"

# Neither hooks nor settings of a person or machine; a path is a path, whatever signs are in it.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_LITERAL_PATHSPECS=1 GIT_TERMINAL_PROMPT=0
git fetch --quiet --no-tags --depth=1 "${REMOTE:-origin}" "refs/pull/$PULL_REQUEST/head" || refuse "it cannot be fetched"
head=$(git rev-parse FETCH_HEAD)
[[ "$head" == "$COMMIT" ]] || refuse "the pull request is at $head by now, not at $COMMIT: look at it again"

# Blob by blob: a checkout would follow the submission's .gitattributes and links.
files=0
while IFS= read -r -d '' entry; do
  path=${entry#*$'\t'}
  read -r mode _ id <<< "${entry%%$'\t'*}"
  [[ "$mode" == 100644 || "$mode" == 100755 ]] || refuse "the folder holds a link or a submodule: $path"
  inside "$path" || refuse "a path of the folder leads out of it: $path"
  mkdir -p -- "$WORK/submission/$(dirname "$path")"
  git cat-file blob "$id" > "$WORK/submission/$path"
  files=$((files + 1))
done < <(git ls-tree -r -z --full-tree "$COMMIT" -- "$RECORD/")
((files > 0)) || refuse "$RECORD is no folder of this commit"

folder=$WORK/submission/$RECORD
if [[ "$RECHECK" == score ]]; then
  [[ -f "$folder/$MANIFEST" ]] || refuse "$RECORD/$MANIFEST is not there: 'golf-harness verify --init' writes one"
  arguments=(score "$folder/$MANIFEST")
else
  arguments=(rerun "$folder" "--out=$WORK/rerun")
  [[ -z "${SEEDS:-}" ]] || arguments+=("--seeds=$SEEDS")
  # `score` reads these two from the environment; a script's own paths stand for the machine it came from.
  [[ -z "${DATA_PATH:-}" ]] || arguments+=("--data-path=$DATA_PATH")
  [[ -z "${TOKENIZER_PATH:-}" ]] || arguments+=("--tokenizer-path=$TOKENIZER_PATH")
fi
mkdir -p -- "$WORK/report"
code=0
"${GATE_PROGRAM:-golf-harness}" "${arguments[@]}" > "$WORK/report/report.txt" || code=$?
cat -- "$WORK/report/report.txt"
exit "$code"
