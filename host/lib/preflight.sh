# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# What an update would be refused for, asked beforehand: --preflight. Everything before the first change, and nothing of
# it changes anything: no file, no session, no container.
#
# What can't be asked beforehand is said, not passed over:
#   a certificate that `pulumi up` is still to issue: its names and its key are checked when it is there;
#   a host without a record: it converges over several steps, each with its own preflight;
#   a collector whose Redis on another host opens its TLS listener in the same step.
# What an update would put right by itself first (an interrupted one, a server that does not run, a damaged certificate on
# disk) is refused here: whoever asks wants to see it before the next step.

# usage: looking    whether this only asks
looking() { [[ ${LOOKING:-no} == yes ]]; }

# usage: with_fingerprints TEXT    prints TEXT with the two fingerprints that it leaves empty: those of the record where the
# certificate stays; zeros for one that is not issued yet, under the record's CA, which a reissue keeps
with_fingerprints() {
  local -A RECORD=()
  local line key unknown ca certificate
  unknown=$(printf '0%.0s' {1..64})
  ca=$unknown certificate=$unknown
  if read_verified RECORD 2>/dev/null && [[ ${RECORD[CERTIFICATE_GENERATION]} != 0 ]]; then
    ca=${RECORD[CA_SHA256]}
    ! is_in "$1" CERTIFICATE_GENERATION "${RECORD[CERTIFICATE_GENERATION]}" ||
      ! is_in "$1" CERTIFICATE_REQUEST "${RECORD[CERTIFICATE_REQUEST]}" || certificate=${RECORD[CERTIFICATE_SHA256]:-}
  fi
  while IFS= read -r line || [[ -n $line ]]; do
    case $line in
      CA_SHA256=) printf 'CA_SHA256=%s\n' "$ca" ;;
      CERTIFICATE_SHA256=) printf 'CERTIFICATE_SHA256=%s\n' "$certificate" ;;
      *) printf '%s\n' "$line" ;;
    esac
  done <<<"$1"
}

# usage: is_in TEXT KEY VALUE    whether one of its lines says so
is_in() { [[ $'\n'$1$'\n' == *$'\n'"$2=$3"$'\n'* ]]; }

# usage: not_interrupted    recovering would be a change
not_interrupted() {
  [[ ! -e $VOICEAI_STATE/intent ]] ||
    problem "an update was interrupted here ($(intent_value CHANGES), begun $(intent_value SINCE) by $(intent_value WHO)): the next update, or update.sh --restart-only, puts it back first; nothing was changed"
}

# usage: everything_runs SETTINGS    after inspect_servers
everything_runs() {
  local role
  if left_alone "$1"; then
    stand_alone "$1"
    return
  fi
  for role in "${SERVER_ROLES[@]}"; do
    has_role "$1" "$role" || continue
    [[ ${STATE_OF[$role]:-absent} == running ]] ||
      problem "$(service_name "$role") does not run (${STATE_OF[$role]:-absent}): update.sh --restart-only starts it; nothing was changed" || return
  done
}

# usage: certificate_stands SETTINGS    what is on disk is what was verified
certificate_stands() {
  certificate_holds "$1" ||
    problem "the certificate on disk is not as it was verified: $REASON; update.sh --restart-only fetches it anew; nothing was changed"
}

# usage: say_unasked    what only the update itself can find out
say_unasked() {
  ! one_of CERTIFICATE_GENERATION "${CHANGES[@]}" || [[ ${NEXT[CERTIFICATE_GENERATION]} == 0 ]] ||
    say "certificate generation ${NEXT[CERTIFICATE_GENERATION]} is issued by \`pulumi up\`: its names and its key are checked then"
  ((${#CHANGES[@]} < 2)) || say "asked about the first of ${#CHANGES[@]} changes; the others have their turn in the update: $(describe_changes)"
}

# usage: ask_servers    NOW is what stands; what the step needs of the servers and the apps
ask_servers() {
  local variable
  copy_settings NEXT NOW
  for variable in "${CHANGES[@]}"; do copy_variable PREVIOUS NOW "$variable"; done
  EMPTY_HOST=no
  if has_servers NEXT; then
    inspect_servers NOW
    everything_runs NOW || return
    if [[ ${STATE_OF[pgbouncer]:-} == running ]]; then admin_open; fi
  fi
  certificate_stands NOW || return
  ((${#CHANGES[@]})) || return 0
  mapfile -t CHANGES < <(in_safe_order NEXT "${CHANGES[@]}")
  say_unasked
  preflight_step "${CHANGES[0]}"
}

# usage: run_preflight    exits with EXIT_REFUSED where an update with NEXT would be refused
run_preflight() {
  LOOKING=yes BY_HAND=no
  preflight_needs NEXT && name_containers NEXT && not_interrupted && compare || exit "$EXIT_REFUSED"
  if [[ $RECORDED == no ]]; then
    say 'nothing was verified on this host yet: it comes to these settings step by step, and each asks for itself'
    return
  fi
  say_lost_edit
  ask_servers || exit "$EXIT_REFUSED"
  admin_close
  if ((${#CHECKS[@]})); then printf '%s\n' "${CHECKS[@]}"; fi
  if ((${#CHANGES[@]})); then say "would be taken: $(describe_changes)"; else say 'no variable of this host changes'; fi
}
