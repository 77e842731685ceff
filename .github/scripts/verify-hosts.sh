#!/usr/bin/env bash
# usage: verify-hosts.sh ENVIRONMENT
#
# Asks every host of the environment's inventory to prove what it runs: `update.sh --verify-only` over SSH, which changes
# nothing. `pulumi refresh` can't see what a remote command did. Every host is asked, whatever another one said; its host
# key is the pinned one. A table goes into the job summary.
#
# Exit  0  every host holds (one that is in the middle of an update verifies by itself and is told of)
#       1  a host does not hold, or can't be reached
#       2  bad input

set -Eeuo pipefail
SCRIPTS=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=/dev/null
. "$SCRIPTS/lib.sh"
cd "${PROJECT:-$SCRIPTS/../..}"

HOST_SECONDS=${HOST_SECONDS:-300}
BUSY=5

# usage: known_hosts ADDRESS PORT KEY    prints the line that pins a host's key
known_hosts() {
  local name=$1
  if [[ $2 != 22 ]]; then name="[$1]:$2"; fi
  printf '%s %s\n' "$name" "$3"
}

# usage: ask ADDRESS PORT USER SUDO KEY    the host's answer on standard output and error; ends as its update.sh did
ask() {
  local pins status=0
  pins=$(mktemp)
  known_hosts "$1" "$2" "$5" >"$pins"
  timeout --kill-after=10 "$HOST_SECONDS" ssh -F /dev/null -n \
    -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 \
    -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=$pins" -o GlobalKnownHostsFile=/dev/null \
    -p "$2" -l "$3" -- "$1" "${4:+$4 }/opt/voiceai/update.sh --verify-only" 2>&1 || status=$?
  rm -f "$pins"
  return "$status"
}

# usage: row HOST SIGN WORDS    adds a line to the table
row() {
  printf '| %s | %s | %s |\n' "$1" "$2" "$(tr -d '\r`|<>' <<<"$3" | cut -c 1-300)" >>"$GITHUB_STEP_SUMMARY"
}

_main() {
  local inventory answer status failed=0 name address port user sudo key
  environment_named "${1:?usage: verify-hosts.sh ENVIRONMENT}"
  start_agent
  inventory=$(python -m operate.hosts "$1")
  printf '## Verification of %s\n\n| host | | it says |\n|---|---|---|\n' "$1" >>"$GITHUB_STEP_SUMMARY"
  while IFS=$'\t' read -r name address port user sudo key; do
    if [[ $sudo == - ]]; then sudo=''; fi
    status=0
    answer=$(ask "$address" "$port" "$user" "$sudo" "$key") || status=$?
    printf '%s: %s\n%s\n' "$name" "$status" "$answer"
    case $status in
      0) row "$name" ✅ 'holds' ;;
      "$BUSY") row "$name" ▫️ 'an update is under way, which verifies by itself' ;;
      124 | 137) row "$name" ⛔ "no answer within $HOST_SECONDS s" && failed=1 ;;
      *) row "$name" ⛔ "$(tail -n 1 <<<"$answer") (exit $status)" && failed=1 ;;
    esac
  done <<<"$inventory"
  if ((failed)); then printf 'a host of %s does not hold: docs/runbook/00-when-something-fails.md\n' "$1" >&2; fi
  return "$failed"
}

_main "$@"
