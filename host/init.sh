#!/usr/bin/env bash
# Prepares a host for its servers: certificates from Secrets Manager, configuration from settings. See usage.
# shellcheck disable=SC2034,SC2004 # names that the libraries read; the keys of an array are words

set -Eeuo pipefail

BUNDLE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=/dev/null
. "$BUNDLE/lib/load.sh"

usage() {
  cat <<'TEXT'
usage: init.sh [--settings FILE]    bring certificates and server configuration to disk; restarts nothing
       init.sh --check [--roles postgres,pgbouncer,redis,otel,app]
                                    list what this host needs beforehand
       init.sh --help

Without --settings it takes what was verified last on this host, so it may run at every boot. A second run changes
nothing. A certificate that fails a check is refused, and what was there stays.

Reads      /etc/voiceai/{postgres_password,redis_password,environment,compose.env}, /var/lib/voiceai/settings.verified
Writes     /etc/ssl/internal, /etc/voiceai/{postgres,pgbouncer,redis,otel}
Exit       0 done or nothing to do · 2 bad input · 3 refused, what was there stays · 5 an update is under way
TEXT
}

# usage: check_needs ROLES    the list on standard output
check_needs() {
  local -A HOST=([ROLES]=$1)
  local role
  for role in ${1//,/ }; do
    one_of "$role" "${ROLE_NAMES[@]}" ||
      problem "--roles: no role is called $role; there are ${ROLE_NAMES[*]}" || exit "$EXIT_BAD_INPUT"
  done
  if [[ -z $1 ]] && ! read_verified HOST; then HOST=([ROLES]="postgres,pgbouncer,redis"); fi
  list_needs HOST || exit "$EXIT_REFUSED"
}

# usage: initialize SETTINGS
initialize() {
  stage_certificate "$1" && flip_generation "$1" && render_servers "$1"
}

_main() {
  local mode=init file='' roles=''
  local -A ASKED=()
  while (($#)); do
    case $1 in
      --check) mode=check ;;
      --settings | --roles)
        [[ -n ${2:-} ]] || problem "$1 needs a value, see init.sh --help" || exit "$EXIT_BAD_INPUT"
        if [[ $1 == --roles ]]; then roles=$2; else file=$2; fi
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      *) problem "unknown argument $1, see init.sh --help" || exit "$EXIT_BAD_INPUT" ;;
    esac
    shift
  done
  read_environment
  read_bounds || exit "$EXIT_BAD_INPUT"
  if [[ $mode == check ]]; then
    check_needs "$roles"
    return
  fi
  if [[ -n $file ]]; then
    [[ -r $file ]] || problem "--settings $file: cannot be read" || exit "$EXIT_BAD_INPUT"
    parse_settings "$(<"$file")" ASKED || exit "$EXIT_BAD_INPUT"
  elif ! read_verified ASKED; then
    say 'no settings were verified on this host yet: nothing to do'
    return
  fi
  take_lock
  initialize ASKED || exit "$EXIT_REFUSED"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  _main "$@"
fi
