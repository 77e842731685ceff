#!/usr/bin/env bash
# usage: up.sh ENVIRONMENT
#
# `pulumi up` with the policy pack, once `operate check` allows what stands here from what the stack has confirmed: the
# ladder between environments is no stack's own business, so nothing in `up` would see it. The job summary gets both.

set -Eeuo pipefail
SCRIPTS=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=/dev/null
. "$SCRIPTS/lib.sh"
cd "${PROJECT:-$SCRIPTS/../..}"

# usage: checked ENVIRONMENT    against an empty version: what counts is the stack, whatever the commit before had
checked() {
  local nothing status=0
  nothing=$(mktemp -d)
  python -m operate check "$nothing" "Pulumi.$1.yaml" --read-stacks --markdown | tee -a "$GITHUB_STEP_SUMMARY" || status=${PIPESTATUS[0]}
  rmdir "$nothing"
  return "$status"
}

environment_named "${1:?usage: up.sh ENVIRONMENT}"
start_agent
checked "$1"
shown_and_summed "Up of $1" pulumi up --stack "$1" --policy-pack policy --yes --non-interactive --color never
