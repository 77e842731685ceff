# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# PgBouncer's client leg by RELOAD: a RELOAD that changes nothing but client_tls_* closes no connection and makes none
# wait. Clients who are connected stay as they are; `require` refuses new ones in plaintext.

# usage: client_leg_mode SETTINGS
client_leg_mode() { variable_value "$1" PGBOUNCER_CLIENT_TLS_SSLMODE; }

# usage: client_leg_dials SETTINGS    adds to DIALS what client_leg_holds judges
client_leg_dials() {
  local -n _leg=$1
  local name=${_leg[DIALED_NAMES]:-localhost}
  DIALS+=(client-plain "$(through_pgbouncer sslmode=disable)")
  if [[ $(client_leg_mode "$1") == disable ]]; then
    DIALS+=(client-tls "$(through_pgbouncer sslmode=require)")
    return
  fi
  # The name that clients dial, at this container's own address.
  DIALS+=(client-verified "$(through_pgbouncer "sslmode=verify-full sslrootcert=/etc/ssl/internal/ca.crt hostaddr=127.0.0.1 host=${name%%,*}")"
  client-wrong "$(through_pgbouncer 'sslmode=verify-ca sslrootcert=/etc/ssl/internal/wrong-ca.crt')")
}

# usage: client_leg_holds SETTINGS    after the dials; WHY says what does not hold
client_leg_holds() {
  local mode
  mode=$(client_leg_mode "$1")
  if [[ $mode == disable ]]; then
    dialed client-plain '[tf]' 'PgBouncer should accept plaintext clients' &&
      dialed client-tls '*does not support SSL*' 'PgBouncer should not offer TLS to clients'
    return
  fi
  dialed client-verified '[tf]' 'a verified TLS session to PgBouncer should be accepted' &&
    dialed client-wrong '*certificate verify failed*' "a client that trusts another CA should refuse PgBouncer's certificate" &&
    serves_declared "$1" pgbouncer "$(pgbouncer_port)" postgres || return
  if [[ $mode == require ]]; then
    dialed client-plain '*SSL required*' 'PgBouncer should refuse plaintext clients' && no_plaintext_session pgbouncer
  else
    dialed client-plain '[tf]' 'PgBouncer should accept plaintext clients'
  fi
}

# usage: pgbouncer_sessions    fills SESSIONS with PgBouncer's clients; our own probes and the console's are left out
pgbouncer_sessions() {
  local row user address application tls id link
  SESSIONS=()
  admin_query 'SHOW CLIENTS' && admin_table user addr '?application_name' tls '?id' ptr link || return
  for row in "${ADMIN_TABLE[@]}"; do
    IFS=$FIELD read -r user address application tls id ptr link <<<"$row"
    # The console's sessions are nobody's.
    [[ $address != unix* && $application != "$PROBE"* ]] && ! is_own_loopback pgbouncer "$address" || continue
    SESSIONS+=("$([[ -n $tls ]] && printf tls || printf plain)$FIELD$address$FIELD$user$FIELD$application$FIELD${id:-$ptr}$FIELD$([[ -z $link ]] && printf idle || printf busy)")
  done
}

# usage: pgbouncer_end_session ID
pgbouncer_end_session() {
  admin_query "KILL_CLIENT $1" || {
    # One that has gone by itself meanwhile is what was wanted.
    [[ $WHY == *'not found'* || $WHY == *'no such'* ]] ||
      problem "this PgBouncer cannot end a single client ($WHY): end it where it runs"
  }
}

# PgBouncer logs each login with the client's address, the user, and its TLS.
# shellcheck disable=SC2016  # awk's
PGBOUNCER_LOGINS='
  / login attempt: / {
    match($0, /[^ ]*@[^ ]+ login attempt:/); who = substr($0, RSTART, RLENGTH)
    sub(/^.*@/, "", who); sub(/ login attempt:$/, "", who)
    address = who; sub(/:[0-9]+$/, "", address); gsub(/[][]/, "", address)
    if (address ~ /^(unix|127[.]|::1)/) next
    user = $0; sub(/^.* user=/, "", user); sub(/ .*$/, "", user)
    tls = $0; sub(/^.* tls=/, "", tls); sub(/ .*$/, "", tls)
    last[(tls == "no" ? "plain" : "tls") OFS address OFS user] = $1
  }'

# usage: pgbouncer_proofs SETTINGS    adds to EVIDENCE, see closing_evidence
pgbouncer_proofs() {
  read_logins pgbouncer "$PGBOUNCER_LOGINS"
  nobody_comes "$1" pgbouncer "$PGBOUNCER_LOGINS" || return
  unseen_apps "$1" pgbouncer postgres
  quiet_enough "$1" pgbouncer
}

# usage: preflight_client_leg NOW NEXT VARIABLE
preflight_client_leg() {
  local mode
  mode=$(client_leg_mode "$2")
  pooling_is_supported || return
  if [[ $mode == disable ]]; then
    tls_is_not_needed "$2" "$3=disable"
    return
  fi
  [[ $(variable_value "$2" CERTIFICATE_GENERATION) != 0 ]] ||
    problem "$3=$mode: this host has no certificate (CERTIFICATE_GENERATION=0): raise CERTIFICATE_GENERATION first; nothing was changed" || return
  files_are_usable pgbouncer || return
  [[ $mode != require ]] || closing_evidence "$2" pgbouncer "$3=require"
}

# usage: tls_is_not_needed SETTINGS ASKED    who uses TLS now and will meet none at his next login. No server knows a
# client's sslmode, so this is said and refuses nothing where the settings are declared: the rules have seen to the apps.
# What is set by hand no rule has seen.
tls_is_not_needed() {
  say_tls_users "$1" pgbouncer 'uses TLS now and will not be offered it again' || return
  [[ $BY_HAND == no || $TLS_USERS == 0 ]] ||
    problem "$2: $TLS_USERS sessions of PgBouncer use TLS, see above, and one that verifies would be cut off: set it in the stack's configuration, where the apps come first, or take those clients back first; nothing was changed"
}

# usage: apply_client_leg SETTINGS VARIABLE
apply_client_leg() {
  render_pgbouncer "$1" '' client && deliver pgbouncer && fault_point client_leg-rendered && reload_pgbouncer && unset 'RENDERED[pgbouncer]'
}
