# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# What an app's own host can prove: a verified handshake with the name that the app dials, by its CA file and its login,
# before the app is flipped; and what the server says of the app's sessions after it. The probe finds its own session in
# the server's list, and by it the address under which this host is seen.
#
# That a client *verifies* no server can see.

# usage: conninfo_value TEXT    prints TEXT as a value of a conninfo string
conninfo_value() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\\\'}"
}

# usage: ask_database HOST PORT DATABASE SQL WORDS    after dialed_database: ANSWER of a login as the app; WORDS are
# further conninfo. The password goes by the environment.
ask_database() {
  local conninfo
  conninfo="host=$(conninfo_value "$1") port=$2 user=$(conninfo_value "$URL_USER") dbname=$(conninfo_value "$3")"
  # shellcheck disable=SC2153  # evidence.sh sets it
  conninfo+=" connect_timeout=5 gssencmode=disable application_name=$PROBE $5"
  ANSWER=$(PGPASSWORD=$URL_PASSWORD PGSSLCERT=/nonexistent call 15 psql -X -A -w -P footer=off -F "$FIELD" -c "$4" "$conninfo" </dev/null 2>&1) || {
    ANSWER=$(masked "$(tr -s '\n\t ' ' ' <<<"$ANSWER")")
    case $ANSWER in
      *'timeout expired'* | '' | ' ') ANSWER+=" (no answer within 5 s: is port $2 closed between this host and $1, by a firewall or security group?)" ;;
      *'does not support SSL'*) ANSWER+=' (PgBouncer offers no TLS: set PGBOUNCER_CLIENT_TLS_SSLMODE to allow first)' ;;
      *'SSL required'*) ANSWER+=' (PgBouncer takes no plaintext: set PGBOUNCER_CLIENT_TLS_SSLMODE to allow first)' ;;
    esac
    return 1
  }
}

# usage: database_mode SETTINGS APP
database_mode() { variable_value "$1" "apps.$2.DATABASE_SSL_MODE"; }

# usage: database_words SETTINGS APP    conninfo of a login that checks as much as the app is to
database_words() {
  local -n _worded=$1
  local mode
  mode=$(database_mode "$1" "$2")
  printf 'sslmode=%s' "$mode"
  [[ $mode != verify-* ]] || printf ' sslrootcert=%s' "$(conninfo_value "${_worded["apps.$2.DATABASE_SSL_CA_FILE"]}")"
}

# usage: database_login SETTINGS APP    whether every host in the app's DATABASE_URL is reached as the app is to reach it,
# and, where it verifies, is refused by another CA. WHY
database_login() {
  local words i mode
  mode=$(database_mode "$1" "$2")
  dialed_database "$1" "$2" || return
  words=$(database_words "$1" "$2")
  for ((i = 0; i < ${#URL_HOSTS[@]}; i++)); do
    ask_database "${URL_HOSTS[i]}" "${URL_PORTS[i]}" "$URL_PATH" 'SELECT 1' "$words" ||
      checked FAILED "$2: a login at ${URL_HOSTS[i]}:${URL_PORTS[i]} with sslmode=$mode, from this host" "$ANSWER" || return
    checked ok "$2: a login at ${URL_HOSTS[i]}:${URL_PORTS[i]} with sslmode=$mode is accepted"
    [[ $mode == verify-* ]] || continue
    ! ask_database "${URL_HOSTS[i]}" "${URL_PORTS[i]}" "$URL_PATH" 'SELECT 1' "sslmode=verify-ca sslrootcert=$VOICEAI_TLS/wrong-ca.crt" &&
      [[ $ANSWER == *'certificate verify failed'* ]] ||
      checked FAILED "$2: another CA should refuse ${URL_HOSTS[i]}:${URL_PORTS[i]}" "$ANSWER" || return
    checked ok "$2: another CA refuses ${URL_HOSTS[i]}:${URL_PORTS[i]}"
  done
}

# usage: is_of_this_host ADDRESS MINE    whether a session from there is this host's, or its app's containers' own: those are
# seen where server and app share a network
is_of_this_host() { one_of "$1" "$2" "${APP_ADDRESSES[@]}"; }

# usage: see_database_sessions SETTINGS APP    SEEN_TLS and SEEN_PLAIN count the app's sessions that PgBouncer shows
see_database_sessions() {
  local -n _seen=$1
  local name=${_seen["apps.$2.APPLICATION_NAME"]:-} row user address application tls mine='' probe
  local -a ADMIN_ROWS
  SEEN_TLS=0 SEEN_PLAIN=0
  dialed_database "$1" "$2" || return
  probe="$PROBE-$$-$RANDOM"
  ask_database "${URL_HOSTS[0]}" "${URL_PORTS[0]}" pgbouncer 'SHOW CLIENTS' "application_name=$probe sslmode=prefer" || {
    WHY="PgBouncer does not show its clients to $URL_USER: $ANSWER"
    return 1
  }
  mapfile -t ADMIN_ROWS <<<"$ANSWER"
  admin_table user addr '?application_name' tls || return
  for row in "${ADMIN_TABLE[@]}"; do
    IFS=$FIELD read -r user address application tls <<<"$row"
    [[ $application != "$probe" ]] || mine=$address
  done
  [[ -n $mine ]] || {
    WHY='PgBouncer does not show the session that asked'
    return 1
  }
  for row in "${ADMIN_TABLE[@]}"; do
    IFS=$FIELD read -r user address application tls <<<"$row"
    is_of_this_host "$address" "$mine" && [[ $user == "$URL_USER" && $application != "$PROBE"* ]] || continue
    [[ -z $name || $application == "$name" ]] || continue
    if [[ -n $tls ]]; then SEEN_TLS=$((SEEN_TLS + 1)); else SEEN_PLAIN=$((SEEN_PLAIN + 1)); fi
  done
  SEEN_AT="PgBouncer sees from $mine"
}

# usage: ask_redis WAY CA_FILE LINES    after dialed_redis: ANSWER to the commands of LINES, by tls or plain
ask_redis() {
  local -a options=(-h "$REDIS_AT")
  if [[ $1 == tls ]]; then options+=(-p "$REDIS_PORT" --tls --cacert "$2"); else options+=(-p "$REDIS_PLAIN_PORT"); fi
  [[ -z $REDIS_USER ]] || options+=(--user "$REDIS_USER")
  ANSWER=$(printf '%s\n' "$3" | REDISCLI_AUTH=$REDIS_SECRET call 10 redis-cli "${options[@]}" 2>&1) || true
  ANSWER=$(masked "$ANSWER")
}

# usage: redis_way SETTINGS APP    tls or plain, as the app is to dial
redis_way() { if [[ $(variable_value "$1" "apps.$2.REDIS_TLS_ENABLED") == true ]]; then printf tls; else printf plain; fi; }

# usage: redis_login SETTINGS APP    as database_login, at Redis. redis-cli checks no name, so openssl does
redis_login() {
  local -n _login=$1
  local way ca=${_login["apps.$2.REDIS_TLS_CA_FILE"]:-} words
  way=$(redis_way "$1" "$2")
  know_redis "$1"
  dialed_redis || return
  ask_redis "$way" "$ca" PING
  [[ $ANSWER == *PONG* ]] || checked FAILED "$2: a PING at $REDIS_AT ($way), from this host" "${ANSWER:0:300}" || return
  checked ok "$2: a PING at $REDIS_AT ($way) is answered"
  [[ $way == tls ]] || return 0
  words=$(redis_handshake "$REDIS_AT" "$REDIS_PORT" "$REDIS_AT" "$ca") ||
    checked FAILED "$2: the certificate at $REDIS_AT:$REDIS_PORT should verify for that name by $ca" "$words" || return
  checked ok "$2: the certificate at $REDIS_AT:$REDIS_PORT verifies for that name"
  words=$(redis_handshake "$REDIS_AT" "$REDIS_PORT" "$REDIS_AT" "$VOICEAI_TLS/wrong-ca.crt") || [[ $words != *'verify error'* ]] || {
    checked ok "$2: another CA refuses $REDIS_AT:$REDIS_PORT"
    return 0
  }
  checked FAILED "$2: another CA should refuse $REDIS_AT:$REDIS_PORT" "$words"
}

# usage: see_redis_sessions SETTINGS APP [WAYS...]    SEEN_TLS and SEEN_PLAIN count the app's connections that Redis shows,
# asked by the app's way or by the first of WAYS that is answered
see_redis_sessions() {
  local -n _shown=$1
  local name=${_shown["apps.$2.REDIS_CLIENT_NAME"]:-} way line probe mine='' at
  local -a ways=("${@:3}")
  ((${#ways[@]})) || ways=("$(redis_way "$1" "$2")")
  SEEN_TLS=0 SEEN_PLAIN=0
  know_redis "$1"
  dialed_redis || return
  probe="$PROBE-$$-$RANDOM"
  for way in "${ways[@]}"; do
    ask_redis "$way" "${_shown["apps.$2.REDIS_TLS_CA_FILE"]:-}" "CLIENT SETNAME $probe"$'\n''CLIENT LIST'
    [[ $ANSWER != *" name=$probe "* ]] || break
  done
  while IFS= read -r line; do
    [[ $line == *" name=$probe "* ]] || continue
    client_words "$line"
    mine=${CLIENT[addr]:-}
    mine=${mine%:*}
  done <<<"$ANSWER"
  [[ -n $mine ]] || {
    WHY="Redis does not show the connection that asked: ${ANSWER:0:300}"
    return 1
  }
  while IFS= read -r line; do
    client_words "$line"
    at=${CLIENT[addr]:-}
    is_of_this_host "${at%:*}" "$mine" && [[ ${CLIENT[name]:-} != "$PROBE"* ]] || continue
    [[ -z $name || ${CLIENT[name]:-} == "$name" ]] || continue
    if [[ ${CLIENT[laddr]:-} == *":$REDIS_PORT" ]]; then SEEN_TLS=$((SEEN_TLS + 1)); else SEEN_PLAIN=$((SEEN_PLAIN + 1)); fi
  done <<<"$ANSWER"
  SEEN_AT="Redis sees from $mine"
}

# usage: wanted_way SETTINGS APP postgres|redis    prints how its sessions must be: tls, plain or any
wanted_way() {
  if [[ $3 == redis ]]; then
    redis_way "$1" "$2"
  else
    case $(database_mode "$1" "$2") in
      disable) printf plain ;;
      prefer) printf any ;;
      *) printf tls ;;
    esac
  fi
}

# usage: sessions_are SETTINGS APP postgres|redis all|some    whether the server shows the app's sessions as wanted: `all`
# of them and at least one, or `some`. WHY
sessions_are() {
  local way right wrong
  way=$(wanted_way "$1" "$2" "$3")
  if [[ $3 == redis ]]; then see_redis_sessions "$1" "$2" || return; else see_database_sessions "$1" "$2" || return; fi
  right=$SEEN_TLS wrong=$SEEN_PLAIN
  if [[ $way == plain ]]; then right=$SEEN_PLAIN wrong=$SEEN_TLS; fi
  if [[ $way == any ]]; then right=$((SEEN_TLS + SEEN_PLAIN)) wrong=0; fi
  WHY="$SEEN_AT $SEEN_TLS sessions of $2 in TLS and $SEEN_PLAIN in plaintext"
  [[ $3 != postgres || -z ${URL_QUERY[sslmode]:-} ]] ||
    WHY+="; DATABASE_URL has sslmode=${URL_QUERY[sslmode]}, which wins over DATABASE_SSL_MODE: remove it there"
  [[ $4 == some ]] || ((wrong == 0)) || return
  ((right > 0))
}
