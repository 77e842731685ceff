#!/usr/bin/env bash
# Applies settings to this host as one transaction: preflight, apply live, verify, or put back. See usage.
# shellcheck disable=SC2034,SC2004 # names that the libraries read; the keys of an array are words

set -Eeuo pipefail

BUNDLE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=/dev/null
. "$BUNDLE/lib/load.sh"

usage() {
  cat <<'TEXT'
usage: update.sh --settings FILE|-   apply declared settings (the program's way; - is standard input)
       update.sh --set KEY=VALUE     change one step variable by hand, until the next declared settings
       update.sh --restart-only      apply /var/lib/voiceai/settings as it stands: an edit of one variable, or, where
                                     nothing was edited, the same again; running servers read it, none restarts
       update.sh --plan FILE|-       say what PREPARED=on, in these settings, would do to a deployment of the site's own and
                                     at what cost, or why it cannot; changes nothing
       update.sh --preflight FILE|-  say whether these settings would be taken now, or every reason why not, as --settings finds
                                     it out before its first change; changes nothing. Fingerprints may be left empty
       update.sh --verify-only       prove the last verified settings on the wire, change nothing
       update.sh --status            settings, certificate, live facts, hand changes, an interrupted update
       update.sh --report            the same and what is served, as one JSON object for the operator's command; takes no lock
       update.sh --help

With --restart a report also tells what a start of each container would serve, proved by scratch processes beside the servers.
With --drain a closing step ends idle plaintext sessions, announced and bounded, as DRAIN_STRAGGLERS=on does.

Step variables, as far as this host has them: PREPARED, CERTIFICATE_GENERATION, POSTGRES_TLS_ENABLED,
PGBOUNCER_SERVER_TLS_SSLMODE, PGBOUNCER_CLIENT_TLS_SSLMODE, apps.<app>.DATABASE_SSL_MODE, POSTGRES_FORCE_SSL,
REDIS_TLS_ENABLED, apps.<app>.REDIS_TLS_ENABLED, REDIS_FORCE_TLS. One changes at a time.
The last line on standard output is the revision that this host has verified. Progress goes to standard error.
WAIT_SECONDS (default 60) bounds each wait for others, such as the end of a transaction.

Exit  0  done, or nothing to do
      1  failed; the previous settings are put back and verified
      2  bad input, nothing touched
      3  refused before anything was changed, or would be refused (--preflight)
      4  what stands is not what was verified: a change could not be put back, or a verification failed
      5  another update is under way
TEXT
}

# usage: ask_for_settings FILE|- [preflight]    NEXT becomes the declared settings
ask_for_settings() {
  local text
  if [[ $1 == - ]]; then
    text=$(cat)
  else
    [[ -r $1 ]] || problem "--settings $1: cannot be read" || return
    text=$(<"$1")
  fi
  [[ -n $text ]] || problem '--settings: empty' || return
  if [[ -n ${2:-} ]]; then text=$(with_fingerprints "$text"); fi
  parse_settings "$text" NEXT
}

# usage: ask_by_hand KEY=VALUE    NEXT becomes the verified settings with one step variable changed
ask_by_hand() {
  local key=${1%%=*} value=${1#*=}
  local -a known
  [[ $1 == *=* ]] || problem "--set $1: write KEY=VALUE" || return
  read_verified NEXT || problem '--set: nothing was verified on this host yet, so there is nothing to change by hand: apply declared settings first' || return
  mapfile -t known < <(step_variables NEXT)
  one_of "$key" "${known[@]}" ||
    problem "--set $key: not a step variable of this host; those are ${known[*]}" || return
  [[ $key != CERTIFICATE_GENERATION || $value == 0 ]] ||
    problem "--set $1: a certificate is issued by the program (pulumi up); by hand it can only be set to 0" || return
  NEXT[$key]=$value
  normalize_settings NEXT
  check_settings NEXT
}

# usage: ask_as_edited    NEXT becomes the settings file as it stands, under the verified revision
ask_as_edited() {
  local -A VERIFIED=()
  read_verified VERIFIED || problem "--restart-only: nothing was verified on this host yet: apply declared settings first" || return
  if [[ -r $VOICEAI_STATE/settings ]]; then
    parse_settings "$(<"$VOICEAI_STATE/settings")" NEXT ||
      problem "$VOICEAI_STATE/settings: correct what is named above; $VOICEAI_STATE/settings.verified has what was verified" || return
  else
    copy_settings VERIFIED NEXT
  fi
  # The revision counts declared settings; an edit is none.
  NEXT[REVISION]=${VERIFIED[REVISION]}
}

# usage: verify_only
verify_only() {
  local status=0
  read_verified NOW || problem '--verify-only: nothing was verified on this host yet' || exit "$EXIT_REFUSED"
  name_containers NOW || exit "$EXIT_STUCK"
  if has_servers NOW; then inspect_servers NOW; fi
  if [[ -e $VOICEAI_STATE/intent ]]; then say 'an update was interrupted, see --status: the next update puts it back first'; fi
  verify_settings NOW || status=$EXIT_STUCK
  if ((${#CHECKS[@]})); then printf '%s\n' "${CHECKS[@]}"; fi
  if ((status)); then
    say "revision ${NOW[REVISION]} does not hold: $REASON"
    exit "$status"
  fi
  admin_close
  say "revision ${NOW[REVISION]} holds"
  print_receipt
}

_main() {
  local mode value word restart=no words=()
  for word in "$@"; do
    case $word in
      --drain) DRAIN=yes ;;
      --restart) restart=yes ;;
      *) words+=("$word") ;;
    esac
  done
  set -- "${words[@]}"
  mode=${1:-} value=${2:-}
  case $mode in
    --settings | --set | --plan | --preflight)
      (($# == 2)) || problem "$mode takes one value, see update.sh --help" || exit "$EXIT_BAD_INPUT"
      ;;
    --restart-only | --verify-only | --status | --report | --help | -h)
      (($# == 1)) || problem "$mode takes no value, see update.sh --help" || exit "$EXIT_BAD_INPUT"
      ;;
    *) problem "what should be done? see update.sh --help" || exit "$EXIT_BAD_INPUT" ;;
  esac
  [[ $restart == no || $mode == --report ]] || problem '--restart goes with --report alone' || exit "$EXIT_BAD_INPUT"
  if [[ $mode == --help || $mode == -h ]]; then
    usage
    return
  fi
  read_environment
  read_bounds || exit "$EXIT_BAD_INPUT"
  watch_signals
  case $mode in
    --status) show_status ;;
    --report) show_report "$restart" ;;
    --verify-only)
      take_lock
      verify_only
      ;;
    --plan)
      ask_for_settings "$value" || exit "$EXIT_BAD_INPUT"
      take_lock
      plan_deployment NEXT
      ;;
    --preflight)
      ask_for_settings "$value" preflight || exit "$EXIT_BAD_INPUT"
      take_lock
      run_preflight
      ;;
    --settings)
      ask_for_settings "$value" || exit "$EXIT_BAD_INPUT"
      take_lock
      run_change settings
      ;;
    --set)
      take_lock
      ask_by_hand "$value" || exit "$EXIT_BAD_INPUT"
      run_change set
      ;;
    --restart-only)
      take_lock
      ask_as_edited || exit "$EXIT_BAD_INPUT"
      run_change edit
      ;;
  esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  _main "$@"
fi
