# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# An app's flip: proved beforehand from its own host, its env file changed in the step's lines, its replicas recreated one
# after another, and seen by the server afterwards. On any failure all of it goes back.

# usage: preflight_app_database NOW NEXT VARIABLE
preflight_app_database() {
  app_of "$3"
  preflight_app "$2" "$APP" postgres || return
  app_runs_so "$2" "$APP" postgres && return 0
  dialed_database "$2" "$APP" || problem "$3: $WHY; nothing was changed" || return
  if [[ $(wanted_way "$2" "$APP" postgres) == tls ]]; then
    has_no_own_certificate "$APP" "$3" || return
    [[ $(database_mode "$2" "$APP") != verify-* ]] || ca_file_is_good "$2" "$APP" DATABASE_SSL_CA_FILE || return
  fi
  database_login "$2" "$APP" ||
    problem "$3=$(variable_value "$2" "$3"): $WHY$(names_shown "$APP"); nothing was changed"
}

# usage: preflight_app_redis NOW NEXT VARIABLE
preflight_app_redis() {
  app_of "$3"
  preflight_app "$2" "$APP" redis || return
  app_runs_so "$2" "$APP" redis && return 0
  if [[ $(redis_way "$2" "$APP") == tls ]]; then
    ca_file_is_good "$2" "$APP" REDIS_TLS_CA_FILE || return
    [[ $APP_KIND != kamailio ]] || kamailio_can_tls "$APP" "$3" || return
  fi
  redis_login "$2" "$APP" || problem "$3=$(variable_value "$2" "$3"): $WHY; nothing was changed"
}

# usage: preflight_app SETTINGS APP USE    its directory, file and replicas are there and well. An app without any container
# is left as it is: starting it is not this program's
preflight_app() {
  local -n _flipped=$1
  local service
  inspect_app "$1" "$2" && read_env "${_flipped["apps.$2.ENV_FILE"]}" || return
  ((${#REPLICA_ID[@]})) || {
    [[ $RECORDED == no ]] || problem "apps.$2: none of its replicas (${REPLICAS[*]}) runs: start it first; nothing was changed"
    return
  }
  app_runs_so "$1" "$2" "$3" && return 0
  for service in "${REPLICAS[@]}"; do
    has_health "$service" ||
      problem "apps.$2: nothing tells whether $service is healthy: give its container a HEALTHCHECK, or set apps.$2.healthCommand; nothing was changed" || return
    replica_is_healthy "$service" ||
      problem "apps.$2: $WHY: an app is flipped only while all of it is well; nothing was changed" || return
  done
  ((${#REPLICAS[@]} > 1)) || [[ ${_flipped["apps.$2.ACCEPT_RESTART"]} == true ]] ||
    problem "apps.$2 has one replica here, and a restart without overlap costs what comes in meanwhile (34 of 796 requests where it was measured): run a second replica behind a proxy, or accept that by apps.$2.acceptRestart=true; nothing was changed"
}

# usage: app_runs_so SETTINGS APP TRACKS...    after inspect_app and read_env: env file and every container have it already
app_runs_so() {
  local service track key
  for track in "${@:3}"; do
    wanted_env "$1" "$2" "$track"
    for key in "${!WANTED[@]}"; do env_says "$key" || return; done
  done
  for service in "${REPLICAS[@]}"; do
    [[ -z ${REPLICA_ID[$service]:-} ]] || replica_runs_as_wanted "$1" "$service" "${@:3}" || return
  done
}

# usage: in_replica SERVICE SCRIPT ARGUMENTS...    a shell in its container, as its user
in_replica() { call "$CALL_SECONDS" docker exec "${REPLICA_ID[$1]}" sh -c "${@:2}" </dev/null 2>&1; }

# usage: ca_file_is_good SETTINGS APP KEY    the app's CA file holds the present CA, on the host and as its container's user
# reads it
ca_file_is_good() {
  local -n _trusted=$1
  local file service body text
  file=${_trusted["apps.$2.$3"]}
  body=$(sed '/^-----/d' "$VOICEAI_TLS/ca.crt" 2>/dev/null | tr -d '\n')
  [[ -n $body ]] || problem "apps.$2.$3: this host has no CA (CERTIFICATE_GENERATION=0): raise CERTIFICATE_GENERATION first; nothing was changed" || return
  for service in "${REPLICAS[@]}"; do
    # shellcheck disable=SC2016  # expanded inside the container
    text=$(in_replica "$service" 'cat "$1"' cat "$file") ||
      problem "apps.$2.$3=$file: $service cannot read it as its own user: $(health_words "$text"); mount /etc/ssl/internal into its container; nothing was changed" || return
    [[ $(tr -d '\n\r' <<<"$text") == *"$body"* ]] ||
      problem "apps.$2.$3=$file: in $service it does not hold the present CA, so it is stale: mount the directory /etc/ssl/internal, not the file; nothing was changed" || return
  done
}

# usage: has_no_own_certificate APP VARIABLE    PgBouncer refuses a client certificate that another CA signed, also at `allow`
has_no_own_certificate() {
  local service found
  for service in "${REPLICAS[@]}"; do
    # shellcheck disable=SC2016,SC2088  # expanded inside the container
    found=$(in_replica "$service" 'file=${PGSSLCERT:-${HOME:-/root}/.postgresql/postgresql.crt}; test ! -e "$file" || echo "$file"') || found=''
    [[ -z $found || $found != /* ]] ||
      problem "$2: $service has a client certificate in $found, which libpq would show to PgBouncer and PgBouncer would refuse: remove it (or set PGSSLCERT to a path that is not there); nothing was changed" || return
  done
}

# usage: names_shown APP    prints what the server's certificate covers, where the name was the reason
names_shown() {
  [[ $WHY == *'does not match host name'* ]] || return 0
  printf '; the certificate covers what DIALED_NAMES lists: add %s to certificate.names and reissue, or let %s dial a name that is there' \
    "${URL_HOSTS[0]}" "$1"
}

# usage: kamailio_can_tls APP VARIABLE    ndb_redis speaks TLS only where it was built with hiredis_ssl; without, it ignores
# tls=1 in silence and sends plaintext to the TLS port
kamailio_can_tls() {
  local service words
  for service in "${REPLICAS[@]}"; do
    # shellcheck disable=SC2016  # expanded inside the container
    words=$(in_replica "$service" 'for file in $(find /usr/lib /usr/lib64 /usr/local/lib -name ndb_redis.so 2>/dev/null); do ldd "$file"; done') || true
    [[ $words == *libhiredis_ssl* ]] ||
      problem "$2: the image ${REPLICA_TAG[$service]} of $service has no hiredis_ssl, so Kamailio's ndb_redis would send plaintext to the TLS port: ship the SSL build of it first (docs/runbook/00-telpro.md has a Dockerfile); nothing was changed" || return
    # shellcheck disable=SC2016  # expanded inside the container
    words=$(in_replica "$service" 'ls "$1"/*.0' ls /etc/ssl/internal/hashed) ||
      problem "$2: $service does not see the hashed CA directory /etc/ssl/internal/hashed, which Kamailio's ca_path needs: mount /etc/ssl/internal; nothing was changed" || return
  done
  say 'Kamailio checks the chain and no host name: keep this CA for these servers alone'
}

# usage: apply_app_database SETTINGS VARIABLE
apply_app_database() { app_of "$2" && apply_app "$1" "$APP" postgres; }

# usage: apply_app_redis SETTINGS VARIABLE
apply_app_redis() { app_of "$2" && apply_app "$1" "$APP" redis; }

# usage: apply_app SETTINGS APP TRACK    file, replicas, sessions; nothing where all of it is so already
apply_app() {
  inspect_app "$1" "$2" && edit_env "$1" "$2" "$3" || return
  fault_point app-env-written
  ((${#REPLICA_ID[@]})) || {
    say "apps.$2 does not run here: its env file says what it will start with"
    return 0
  }
  ! app_runs_so "$1" "$2" "$3" || return 0
  APP=$2
  roll_app "$1" "$2" "$3" || return
  [[ -z ${RESTORING:-} ]] || return 0
  wait_for "$WAIT_SECONDS" "the sessions of $2 to be $(wanted_way "$1" "$2" "$3") (an idle app connects late)" \
    sessions_are "$1" "$2" "$3" all
}

# usage: first_sessions SETTINGS TRACK    of the canary: the server sees at least one session as wanted
first_sessions() {
  wait_for "$WAIT_SECONDS" "a first session of $APP to be $(wanted_way "$1" "$APP" "$2")" sessions_are "$1" "$APP" "$2" some
}

# usage: app_tracks SETTINGS APP    prints what it uses
app_tracks() {
  local use
  for use in postgres redis; do ! app_uses "$1" "$2" "$use" || printf '%s\n' "$use"; done
}

# usage: app_holds SETTINGS APP    WHY says what does not hold
app_holds() {
  local -n _holding=$1
  local track service
  local -a tracks
  mapfile -t tracks < <(app_tracks "$1" "$2")
  inspect_app "$1" "$2" && read_env "${_holding["apps.$2.ENV_FILE"]}" || {
    WHY=$REASON
    return 1
  }
  app_runs_so "$1" "$2" "${tracks[@]}" ||
    checked FAILED "$2: its env file and its replicas should say what the settings say (a deploy may have rewritten the file): update.sh --restart-only puts it in again" "${WHY:-$ENV_PATH says something else}" || return
  ((${#REPLICA_ID[@]})) || {
    checked ok "$2 does not run here; its env file is as declared"
    return 0
  }
  checked ok "$2: env file and replicas are as declared"
  for service in "${REPLICAS[@]}"; do
    replica_is_healthy "$service" || checked FAILED "$2: $service should be healthy" "$WHY" || return
  done
  for track in "${tracks[@]}"; do
    if [[ $track == redis ]]; then redis_login "$1" "$2" || return; else database_login "$1" "$2" || return; fi
    [[ $(wanted_way "$1" "$2" "$track") == tls ]] || continue
    sessions_are "$1" "$2" "$track" all || ((SEEN_PLAIN == 0)) ||
      checked FAILED "$2: all of its sessions should be in TLS" "$WHY" || return
    checked ok "$2: $SEEN_AT $SEEN_TLS sessions in TLS and none in plaintext"
  done
}

# usage: show_app SETTINGS APP    a line of --status
show_app() {
  local service states=''
  inspect_app "$1" "$2" 2>/dev/null || {
    printf 'app          %s: %s\n' "$2" "$REASON"
    return
  }
  for service in "${REPLICAS[@]}"; do states+=", $service ${REPLICA_STATE[$service]:-absent}"; done
  printf 'app          %s: %s\n' "$2" "${states#, }"
}
