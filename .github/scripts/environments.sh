#!/usr/bin/env bash
# usage: environments.sh [BEFORE AFTER]
#
# Gives the environments as a JSON list in the output `environments`: those whose config differs between two revisions, or
# all. Where BEFORE is not there (the first push of a branch, a rewritten history) it is the commit before AFTER.

set -Eeuo pipefail
cd "${PROJECT:-$(dirname "${BASH_SOURCE[0]}")/../..}"

# usage: all    prints every environment that has a file
all() {
  local file
  for file in Pulumi.*.yaml; do
    if [[ -f $file ]]; then
      file=${file#Pulumi.}
      printf '%s\n' "${file%.yaml}"
    fi
  done | python -c 'import json, sys; print(json.dumps(sys.stdin.read().split()))'
}

# usage: differing BEFORE AFTER    whether each may be applied is asked later, for each by itself
differing() {
  local before=$1
  git cat-file -e "$before^{commit}" 2>/dev/null || before=$2^
  python -m operate check "$before" "$2" --json |
    python -c 'import json, sys; print(json.dumps(json.load(sys.stdin).get("changed", [])))'
}

_main() {
  local found status=0
  if (($# == 2)); then
    # 1 is a refusal, which is not this script's to judge.
    found=$(differing "$@") || status=$?
    ((status <= 1)) || return "$status"
  else
    found=$(all)
  fi
  printf 'environments=%s\n' "$found" | tee -a "$GITHUB_OUTPUT"
}

_main "$@"
