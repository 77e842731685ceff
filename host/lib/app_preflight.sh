# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# What is proved before an app is touched, from its own host, with its own CA file, names and credentials.
#
# Forward, everything must be as it should. The way back is asked for less, because it is taken when something is broken: an
# app that is down goes back.

# usage: preflight_track NOW NEXT VARIABLE TRACK
preflight_track() {
  local track direction=forward
  app_of "$3"
  PREFLIGHTED='' REPAIRED=()
  # What was verified before and is only put in again is asked for no more than a way back.
  if [[ $(wanted_way "$2" "$APP" "$4") == plain ]] || ! app_is_known "$APP" || same_variable "$1" "$2" "$3"; then direction=back; fi
  preflight_app "$2" "$APP" "$4" "$direction" || return
  ! app_runs_so "$2" "$APP" "$4" || return 0
  ((${#REPLICA_ID[@]})) || return 0
  for track in $(app_tracks "$1" "$APP"); do
    [[ $track != "$4" ]] && app_is_known "$APP" && ! app_runs_so "$1" "$APP" "$track" || continue
    say "$APP: ${WHY:-$ENV_PATH says something else}; a deploy took it out, and this step puts it in again"
    REPAIRED+=("$track")
  done
  for track in "$4" "${REPAIRED[@]}"; do
    "prove_$track" "$2" "apps.$APP.${TRACK_VARIABLE[$track]}" || return
  done
  PREFLIGHTED=$3=$(variable_value "$2" "$3")
}

# usage: prove_postgres SETTINGS VARIABLE    of preflight_track: PgBouncer is reached as the app is to reach it, and tells of
# its clients, because that is what the step is judged by
prove_postgres() {
  dialed_database "$1" "$APP" || problem "$2: $WHY; nothing was changed" || return
  if [[ $(wanted_way "$1" "$APP" postgres) == tls ]]; then
    url_mode_is_heeded "$(database_mode "$1" "$APP")" || problem "$2: $WHY; nothing was changed" || return
    has_no_own_certificate "$APP" "$2" || return
    [[ $(database_mode "$1" "$APP") != verify-* ]] || ca_file_is_good "$1" "$APP" DATABASE_SSL_CA_FILE || return
  fi
  database_login "$1" "$APP" ||
    problem "$2=$(variable_value "$1" "$2"): $WHY$(names_shown "$1"); nothing was changed" || return
  [[ $(wanted_way "$1" "$APP" postgres) != tls ]] || see_database_sessions "$1" "$APP" ||
    problem "$2=$(variable_value "$1" "$2"): $WHY: apply the database host's settings, which make the app's user one of stats_users; nothing was changed"
}

# usage: prove_redis SETTINGS VARIABLE    likewise
prove_redis() {
  if [[ $(redis_way "$1" "$APP") == tls ]]; then
    ca_file_is_good "$1" "$APP" REDIS_TLS_CA_FILE || return
    [[ $APP_KIND != kamailio ]] || kamailio_can_tls "$1" "$APP" "$2" || return
  fi
  redis_login "$1" "$APP" && { [[ $(redis_way "$1" "$APP") == plain ]] || see_redis_sessions "$1" "$APP"; } ||
    problem "$2=$(variable_value "$1" "$2"): $WHY; nothing was changed"
}

# usage: url_mode_is_heeded MODE    a sslmode in DATABASE_URL may win over the variable. Where it is plaintext the sessions will
# tell; one that encrypts and does not verify no server could tell from the one that was asked for.
url_mode_is_heeded() {
  local mode=${URL_QUERY[sslmode]:-}
  [[ -n $mode && $mode != "$1" ]] || return 0
  if [[ $1 == verify-* && $mode =~ ^(prefer|require|verify-ca)$ ]]; then
    WHY="DATABASE_URL has sslmode=$mode, which wins over DATABASE_SSL_MODE in most clients, and no server can tell whether a client verifies: remove it from DATABASE_URL"
    return 1
  fi
  say "$APP: DATABASE_URL has sslmode=$mode: where that wins over DATABASE_SSL_MODE=$1 this step will fail and be put back"
}

# usage: apps_allow_certificate NOW NEXT    before CERTIFICATE_GENERATION: no app would be left with a CA that is no more
apps_allow_certificate() {
  local -n _had=$1 _gets=$2
  local app track variable
  for app in $(apps_of "$1"); do
    for track in $(app_tracks "$1" "$app"); do
      [[ $(wanted_way "$1" "$app" "$track") == tls ]] || continue
      variable=apps.$app.${TRACK_VARIABLE[$track]}
      [[ ${_gets[CERTIFICATE_GENERATION]} != 0 ]] ||
        problem "CERTIFICATE_GENERATION=0: $app on this host uses TLS ($variable=$(variable_value "$1" "$variable")): set that back first; nothing was changed" || return
      [[ ${_had[CA_SHA256]} == "${_gets[CA_SHA256]}" ]] ||
        problem "CERTIFICATE_GENERATION=${_gets[CERTIFICATE_GENERATION]}: another CA, while $app on this host verifies by the present one ($variable): a reissue keeps the CA; nothing was changed" || return
    done
  done
}

# usage: preflight_app SETTINGS APP USE forward|back    its directory, file and replicas are there and, forward, well. An app without any
# container is left as it is: starting it is not this program's
preflight_app() {
  local -n _flipped=$1
  inspect_app "$1" "$2" && read_env "${_flipped["apps.$2.ENV_FILE"]}" || return
  ((${#REPLICA_ID[@]})) || {
    [[ $4 == back ]] || problem "apps.$2: none of its replicas (${REPLICAS[*]}) runs: start it first; nothing was changed"
    return
  }
  ! app_runs_so "$1" "$2" "$3" || return 0
  preflight_replicas "$2" "$4" || return
  ((${#REPLICAS[@]} > 1)) || [[ ${_flipped["apps.$2.ACCEPT_RESTART"]} == true ]] || problem "$(restart_cost); nothing was changed" || return
  nothing_else_pending "$4"
}

# usage: preflight_replicas APP forward|back    forward, each must be healthy; on the way back it is only said
preflight_replicas() {
  local service
  if [[ $2 == back ]]; then
    unhealthy_replicas
    ((${#UNHEALTHY[@]} == 0)) || say "apps.$1: $WHY"
    return
  fi
  for service in "${REPLICAS[@]}"; do
    has_health "$service" ||
      problem "apps.$1: nothing tells whether $service is healthy: give its container a HEALTHCHECK, or set apps.$1.healthCommand; nothing was changed" || return
    replica_is_healthy "$service" ||
      problem "apps.$1: $WHY: an app is flipped only while all of it is well; nothing was changed" || return
  done
}

# usage: restart_cost    prints why an app with one replica is not flipped without being told to
restart_cost() {
  if [[ $APP_KIND == kamailio ]]; then
    printf 'apps.%s has one replica here, which is restarted: SIP clients send again what is not answered (after 0.5, 1, 2 s, … for 32 s), so that a restart of a few seconds delays requests, and calls in progress go on: accept that by apps.%s.acceptRestart=true' "$APP" "$APP"
  else
    printf 'apps.%s has one replica here, and a restart without overlap costs what comes in meanwhile (34 of 796 requests where it was measured): run a second replica behind a proxy, or accept that by apps.%s.acceptRestart=true' "$APP" "$APP"
  fi
}

# usage: nothing_else_pending forward|back    recreating a replica would also bring whatever else was changed since it was
# started, and the way back would not undo that
nothing_else_pending() {
  local service key
  local -a there=()
  for service in "${REPLICAS[@]}"; do
    [[ -n ${REPLICA_ID[$service]:-} ]] || continue
    there+=("$service")
    # Lines of ours that a deploy changed in the file explain a difference; then nothing is known of others.
    for key in ${TRACK_KEYS[postgres]} ${TRACK_KEYS[redis]}; do
      [[ ${ENV_VALUE[$key]:-} == "${REPLICA_ENV["$service $key"]:-}" ]] || return 0
    done
  done
  would_recreate "${there[@]}" || problem "apps.$APP: $WHY; nothing was changed" || return
  ((${#RECREATED[@]})) || return 0
  WHY="docker compose would recreate ${RECREATED[*]} even without this step: its compose file, .env, env file or image was changed since it was started"
  if [[ $1 == back ]]; then
    say "apps.$APP: $WHY: that comes with it"
  else
    problem "apps.$APP: $WHY; deploy that first (docker compose up -d in $APP_DIRECTORY); nothing was changed"
  fi
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

# usage: names_shown SETTINGS    prints what the server's certificate covers, where the name was the reason
names_shown() {
  local pem names
  [[ $WHY == *'does not match host name'* ]] || return 0
  pem=$(call 8 openssl s_client -starttls postgres -connect "${URL_HOSTS[0]}:${URL_PORTS[0]}" </dev/null 2>/dev/null) || true
  names=$(openssl x509 -noout -ext subjectAltName <<<"$pem" 2>/dev/null) || true
  printf '; the certificate covers %s: add %s to certificate.names and reissue, or let %s dial a name that is there' \
    "$(names_in "$names")" "${URL_HOSTS[0]}" "$APP"
}

# usage: kamailio_can_tls SETTINGS APP VARIABLE    ndb_redis speaks TLS only where it was built with hiredis_ssl; without, it ignores
# tls=1 in silence and sends plaintext to the TLS port
kamailio_can_tls() {
  local -n _hashed=$1
  local service words directory
  directory=${_hashed["apps.$2.REDIS_TLS_CA_FILE"]%/*}/hashed
  for service in "${REPLICAS[@]}"; do
    # shellcheck disable=SC2016  # expanded inside the container
    words=$(in_replica "$service" 'for file in $(find /usr/lib /usr/lib64 /usr/local/lib -name ndb_redis.so 2>/dev/null); do ldd "$file"; done') || true
    [[ $words == *libhiredis_ssl* ]] ||
      problem "$3: the image ${REPLICA_TAG[$service]} of $service has no hiredis_ssl, so Kamailio's ndb_redis would send plaintext to the TLS port: ship the SSL build of it first (docs/runbook/00-telpro.md has a Dockerfile); nothing was changed" || return
    # shellcheck disable=SC2016  # expanded inside the container
    words=$(in_replica "$service" 'cat "$1"' cat "$directory/$(openssl x509 -in "$VOICEAI_TLS/ca.crt" -noout -subject_hash).0") &&
      [[ $words == *"$(<"$VOICEAI_TLS/ca.crt")"* ]] ||
      problem "$3: $service does not see the CA in $directory, by its hash, which Kamailio's ca_path needs: mount /etc/ssl/internal; nothing was changed" || return
  done
  say 'Kamailio checks the chain and no host name: keep this CA for these servers alone'
}
