#!/usr/bin/env bash
# usage: preview.sh ENVIRONMENT
#
# `pulumi preview` with the policy pack; the job summary gets what it said, also when it refuses.

set -Eeuo pipefail
SCRIPTS=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=/dev/null
. "$SCRIPTS/lib.sh"
cd "${PROJECT:-$SCRIPTS/../..}"

environment_named "${1:?usage: preview.sh ENVIRONMENT}"
shown_and_summed "Preview of $1" pulumi preview --stack "$1" --policy-pack policy --non-interactive --color never
