#!/usr/bin/env bash
# Shows a report on the pull request that a workflow ran for: one comment, updated in place.
#
# Runs with a token that writes, after a job that had none and may have been changed by the pull request: REPORT_FOLDER
# is untrusted. Of it, only report.txt is read, as text, bounded, and shown where Markdown means nothing. Which pull
# request is meant comes from GitHub: the one whose head is HEAD_SHA of HEAD_OWNER:HEAD_BRANCH, or, in a workflow that
# a maintainer started, PULL_REQUEST.
#
# Usage: GH_TOKEN=... GITHUB_REPOSITORY=OWNER/NAME REPORT_FOLDER=DIR CONCLUSION=success|failure RUN_URL=URL
#        (HEAD_SHA=ID HEAD_OWNER=NAME HEAD_BRANCH=NAME | PULL_REQUEST=N HEAD_SHA=ID) [TITLE=gate] comment.sh
# Exit codes: 0 commented, or nothing to comment on; 2 could not.
set -euo pipefail
# GitHub takes 65,536 characters; a character has at most four bytes.
max_bytes=60000
title=${TITLE:-gate}

could_not() {
  printf '::error title=comment::%s\n' "$1"
  exit 2
}

for name in GH_TOKEN GITHUB_REPOSITORY REPORT_FOLDER CONCLUSION RUN_URL HEAD_SHA; do
  [[ -n "${!name:-}" ]] || could_not "$name is empty"
done
[[ "$HEAD_SHA" =~ ^[0-9a-f]{40}$ ]] || could_not "HEAD_SHA is no commit"
[[ "$title" =~ ^[a-z\ ]+$ ]] || could_not "TITLE is more than lower-case words"
marker="<!-- golf-harness: $title -->"

# The open pull request of a fork's branch whose head is still the commit that was checked.
number() {
  if [[ -n "${PULL_REQUEST:-}" ]]; then
    printf '%s' "$PULL_REQUEST"
    return
  fi
  gh api --method GET "repos/$GITHUB_REPOSITORY/pulls" --raw-field state=open --raw-field "head=$HEAD_OWNER:$HEAD_BRANCH" \
    --jq ".[] | select(.head.sha == \"$HEAD_SHA\") | .number" | head -n 1
}
if [[ -z "${PULL_REQUEST:-}" ]]; then
  for name in HEAD_OWNER HEAD_BRANCH; do
    [[ -n "${!name:-}" ]] || could_not "$name is empty"
  done
fi
number=$(number) || could_not "GitHub did not answer"
if [[ -z "$number" ]]; then
  echo "No open pull request has $HEAD_SHA as its head: nothing to comment on."
  exit 0
fi
[[ "$number" =~ ^[1-9][0-9]{0,9}$ ]] || could_not "the pull request has no number"

case "$CONCLUSION" in
  success) verdict='passes' ;;
  failure) verdict='does not pass, or could not be checked' ;;
  *) verdict="ended: $(printf '%s' "$CONCLUSION" | tr -cd 'a-z_')" ;;
esac

report=$REPORT_FOLDER/report.txt
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
  printf '%s\n**Golf Harness, %s: commit %s %s.**' "$marker" "$title" "${HEAD_SHA:0:12}" "$verdict"
  printf ' [Log and summary](%s)\n\n' "$RUN_URL"
  if [[ -f "$report" && ! -L "$report" && -s "$report" ]]; then
    # No control characters but newlines, no characters that turn the reading direction, no half characters.
    text=$(head -c "$max_bytes" -- "$report" | tr -d '\000-\011\013-\037\177' | iconv -f UTF-8 -t UTF-8 -c 2> /dev/null |
      LC_ALL=C sed $'s/\xe2\x80[\xaa-\xae\x8e\x8f]//g; s/\xe2\x81[\xa6-\xa9]//g; s/\xc2[\x80-\x9f]//g' || true)
    # A fence longer than any in the text: nothing inside is a link, an image or a mention.
    longest=$(printf '%s' "$text" | grep -o '`\+' | awk '{ if (length > n) n = length } END { print n + 0 }' || true)
    fence=$(printf '`%.0s' $(seq 1 $((longest < 3 ? 3 : longest + 1))))
    if ((${#fence} > 100)); then
      echo 'The report is not shown: it is made of fences.'
    else
      printf '<details><summary>Report, as the checking workflow handed it on</summary>\n\n%stext\n%s\n%s\n' \
        "$fence" "$text" "$fence"
      if (($(wc -c < "$report") > max_bytes)); then
        printf '\nThe rest is in the artifact of the run.\n'
      fi
      printf '</details>\n'
    fi
  else
    echo 'There is no report; the log says why.'
  fi
} > "$body"

# Ours only: somebody else's comment with the same first line is not ours to change.
comment=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$number/comments" \
  --jq ".[] | select(.user.login == \"github-actions[bot]\" and (.body | startswith(\"$marker\"))) | .id" |
  head -n 1) || could_not "the comments could not be read"
if [[ "$comment" =~ ^[0-9]+$ ]]; then
  gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$comment" --field "body=@$body" --silent \
    || could_not "the comment could not be updated"
else
  gh api --method POST "repos/$GITHUB_REPOSITORY/issues/$number/comments" --field "body=@$body" --silent \
    || could_not "the comment could not be written"
fi
