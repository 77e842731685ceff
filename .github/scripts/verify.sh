#!/usr/bin/env bash
# usage: verify.sh ENVIRONMENT
#
# `operate verify`: every host of the inventory proves what it runs, and nothing is changed. `pulumi refresh`
# can't see what a remote command did. The job summary gets the table, and what a host that does not hold said.

set -Eeuo pipefail
SCRIPTS=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=/dev/null
. "$SCRIPTS/lib.sh"
cd "${PROJECT:-$SCRIPTS/../..}"

environment_named "${1:?usage: verify.sh ENVIRONMENT}"
start_agent
python -m operate verify --stack "$1" --agent --markdown | tee -a "$GITHUB_STEP_SUMMARY"
