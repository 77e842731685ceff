# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# PgBouncer: the server leg's TLS by RELOAD, at the one moment when it costs nobody anything, and what proves it.

# usage: pgbouncer_answers    a query through it
pgbouncer_answers() {
  dial_all pgbouncer through "$(through_pgbouncer)"
  dialed through '[tf]' 'PgBouncer does not answer a query'
}

# usage: server_leg_mode SETTINGS    prints what each server connection must be: tls, plain or any
server_leg_mode() {
  case $(variable_value "$1" PGBOUNCER_SERVER_TLS_SSLMODE) in
    disable) printf plain ;;
    prefer) printf any ;;
    *) printf tls ;;
  esac
}

# usage: count_server_connections    fills CONNECTIONS_TLS, CONNECTIONS_PLAIN and CONNECTIONS_OLD (to be replaced)
count_server_connections() {
  local value
  CONNECTIONS_TLS=0 CONNECTIONS_PLAIN=0 CONNECTIONS_OLD=0
  admin_query 'SHOW SERVERS' && admin_column close_needed || return
  for value in "${ADMIN_COLUMN[@]}"; do [[ $value != 1 ]] || CONNECTIONS_OLD=$((CONNECTIONS_OLD + 1)); done
  admin_column tls || return
  for value in "${ADMIN_COLUMN[@]}"; do
    if [[ -n $value ]]; then CONNECTIONS_TLS=$((CONNECTIONS_TLS + 1)); else CONNECTIONS_PLAIN=$((CONNECTIONS_PLAIN + 1)); fi
  done
}

# usage: server_connections_are tls|plain|any    every server connection, none of them still to be replaced
server_connections_are() {
  count_server_connections || return
  WHY="of PgBouncer's server connections $CONNECTIONS_TLS use TLS and $CONNECTIONS_PLAIN do not; $CONNECTIONS_OLD wait for their transaction to end"
  case $1 in
    tls) ((CONNECTIONS_PLAIN == 0)) || return ;;
    plain) ((CONNECTIONS_TLS == 0)) || return ;;
  esac
  # A way back does not wait for what a transaction still holds: it is as it was before.
  ((CONNECTIONS_OLD == 0)) || [[ -n ${RESTORING:-} ]]
}

# usage: no_login_under_way    whether no pool is in the middle of a login to Postgres
no_login_under_way() {
  local count
  admin_query 'SHOW POOLS' && admin_column sv_login || return
  for count in "${ADMIN_COLUMN[@]}"; do
    [[ $count == 0 ]] || {
      WHY='PgBouncer is logging in to Postgres'
      return 1
    }
  done
}

# usage: reload_at_the_gate    RELOAD in the moment after SHOW POOLS said that no login is under way, in the same
# session. A RELOAD that changes server_tls_* kills a connection in the middle of its login, and its pool then
# waits server_login_retry; the gate with server_login_retry = 1 was the only way without a failed request.
reload_at_the_gate() {
  local deadline=$((SECONDS + RELOAD_SECONDS))
  until no_login_under_way; do
    [[ -z $STOPPED ]] || problem "stopped by $STOPPED while waiting for a moment without a login" || return
    # Postgres refusing logins keeps a login under way; then there is nothing left to spare.
    ((SECONDS < deadline)) || break
    [[ $WHY == *'logging in'* ]] || problem "$WHY" || return
  done
  admin_query RELOAD || problem "$WHY"
}

# usage: login_retry_is_short    makes server_login_retry = 1 live before anything that may cut a login short
login_retry_is_short() {
  admin_setting server_login_retry || problem "$WHY" || return
  [[ ${ADMIN_VALUE%.*} != 1 ]] || return 0
  say "server_login_retry is $ADMIN_VALUE: setting it to 1 first"
  admin_query 'SET server_login_retry = 1' || problem "$WHY"
}

# usage: reload_was_taken SINCE    believes the log: RELOAD is answered the same when the new settings were refused
reload_was_taken() {
  local line
  line=$(call "$CALL_SECONDS" docker logs --since "$1" "${CONTAINER[pgbouncer]}" 2>&1 |
    grep -E 'could not be reloaded|keeping old|cannot load config|config.* (error|failed)|invalid value' | head -n 1) || true
  [[ -z $line ]] || problem "PgBouncer kept its old configuration: $line"
}

# usage: reload_pgbouncer    gate, RELOAD, log
reload_pgbouncer() {
  local since
  # Docker's --since takes seconds with a fraction; a comma would be this locale's.
  since=${EPOCHREALTIME/,/.}
  login_retry_is_short && reload_at_the_gate && reload_was_taken "$since"
}

# usage: apply_pgbouncer SETTINGS
apply_pgbouncer() {
  render_pgbouncer "$1" '' server && deliver pgbouncer && fault_point pgbouncer-rendered && reload_pgbouncer && fault_point pgbouncer-reloaded || return
  wait_for "$WAIT_SECONDS" 'every server connection of PgBouncer to change' server_connections_are "$(server_leg_mode "$1")" &&
    unset 'RENDERED[pgbouncer]'
}

# usage: pgbouncer_dials SETTINGS    adds to DIALS what pgbouncer_holds judges
pgbouncer_dials() {
  DIALS+=(through "$(through_pgbouncer)")
  client_leg_dials "$1"
  [[ $(server_leg_mode "$1") == tls ]] || return 0
  DIALS+=(leg "$(postgres_conninfo "$(variable_value "$1" PGBOUNCER_SERVER_TLS_SSLMODE)" ca.crt)"
  leg-wrong "$(postgres_conninfo verify-ca wrong-ca.crt)")
}

# usage: pgbouncer_holds SETTINGS    after the dials; WHY says what does not hold
pgbouncer_holds() { server_leg_holds "$1" && client_leg_holds "$1"; }

# usage: server_leg_holds SETTINGS    a login through PgBouncer, what its server leg is, and the wrong CA refused from
# where it stands
server_leg_holds() {
  local leg
  leg=$(server_leg_mode "$1")
  case $leg in
    tls)
      dialed through t 'a query through PgBouncer should reach Postgres encrypted' &&
        dialed leg t "Postgres should be reached from PgBouncer's container as PgBouncer does" &&
        dialed leg-wrong '*certificate verify failed*' "a wrong CA should be refused from PgBouncer's container" || return
      ;;
    plain) dialed through f 'a query through PgBouncer should reach Postgres in plaintext' || return ;;
    *) dialed through '[tf]' 'a query through PgBouncer should be answered' || return ;;
  esac
  server_connections_are "$leg"
}

# usage: pooling_is_supported    transaction pooling in one process, or a refusal that says what was found
pooling_is_supported() {
  local key
  admin_setting pool_mode || problem "$WHY" || return
  [[ $ADMIN_VALUE != session ]] || refuse_pooling pool_mode=session || return
  { admin_query 'SHOW DATABASES' && admin_column pool_mode; } || problem "$WHY" || return
  ! one_of session "${ADMIN_COLUMN[@]}" || refuse_pooling 'a database with pool_mode=session' || return
  for key in so_reuseport peer_id; do
    # A version without the setting has not the feature either.
    admin_setting "$key" || problem "$WHY" || return
    [[ ${ADMIN_VALUE:-0} == 0 ]] || refuse_pooling "$key=$ADMIN_VALUE" || return
  done
}

# usage: refuse_pooling WHAT
refuse_pooling() {
  problem "PgBouncer has $1: a RELOAD reaches every server connection only with transaction pooling in one process; session pooling and several processes behind one port are not supported; nothing was changed"
}

# usage: preflight_pgbouncer NOW NEXT
preflight_pgbouncer() {
  local mode
  mode=$(variable_value "$2" PGBOUNCER_SERVER_TLS_SSLMODE)
  pooling_is_supported && no_long_transaction || return
  [[ $(server_leg_mode "$2") == tls ]] || return 0
  [[ $mode != verify-* || -r $VOICEAI_TLS/ca.crt ]] ||
    problem "PGBOUNCER_SERVER_TLS_SSLMODE=$mode: this host has no CA (CERTIFICATE_GENERATION=0): raise CERTIFICATE_GENERATION first; nothing was changed" || return
  dial_all pgbouncer asked "$(postgres_conninfo "$mode" ca.crt)"
  dialed asked t '' ||
    problem "PGBOUNCER_SERVER_TLS_SSLMODE=$mode: from PgBouncer's own container Postgres cannot be reached so: ${DIAL[asked]:-no answer}; set POSTGRES_TLS_ENABLED to on first; nothing was changed"
}
