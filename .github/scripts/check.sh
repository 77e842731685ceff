#!/usr/bin/env bash
# usage: check.sh BASE HEAD [OPTION…]    options as of `operate check`, such as --read-stacks
#
# `operate check` for a pull request: the job summary gets the step, also when it is refused or could not be read, and
# the output `changed` the environments as a JSON list. Ends as the check ends.

set -Eeuo pipefail
cd "${PROJECT:-$(dirname "${BASH_SOURCE[0]}")/../..}"

_main() {
  local status=0
  python -m operate check "$@" --markdown | tee -a "$GITHUB_STEP_SUMMARY" || status=${PIPESTATUS[0]}
  printf 'changed=%s\n' "$(changed "$@")" >>"$GITHUB_OUTPUT"
  return "$status"
}

# usage: changed BASE HEAD [OPTION…]    prints the environments that change, a JSON list in one line
changed() {
  { python -m operate check "$@" --json || true; } |
    python -c 'import json, sys; print(json.dumps(json.load(sys.stdin).get("changed", [])))'
}

_main "$@"
