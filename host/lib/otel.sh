# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The OpenTelemetry collector, a client of Redis: its env file says where Redis is and whether to speak TLS, and it reads
# that when its container is made. The collector alone is recreated; what it misses is one scrape.
#
# The receiver's own default is plaintext (`tls.insecure: true`): another endpoint alone would send plaintext to the TLS
# port. So endpoint and TLS are one change.

# Not the servers' user: the collector has no business with their key, which is mounted beside the CA.
OTEL_OWNER=10001:10001
OTEL_CA_FILE=/etc/ssl/internal/ca.crt
OTEL_SERVICE=voiceai-otel

# usage: otel_redis_host SETTINGS    prints the name by which the collector dials Redis: the site's OTEL_REDIS_HOST, or the
# service beside it
otel_redis_host() {
  if [[ -n ${OTEL_REDIS_HOST:-} ]]; then
    printf '%s' "$OTEL_REDIS_HOST"
  elif has_role "$1" redis; then
    printf voiceai-redis
  else
    problem "this host's collector scrapes a Redis on another host: put OTEL_REDIS_HOST=<its name, as in the certificate> into $VOICEAI_ETC/environment"
  fi
}

# usage: otel_env SETTINGS    prints the env file
otel_env() {
  local -n _endpoint=$1
  local host port=6379 insecure=true ca=''
  host=$(otel_redis_host "$1") || return
  if [[ $(variable_value "$1" REDIS_TLS_ENABLED) == true ]]; then
    port=${_endpoint[REDIS_TLS_PORT]} insecure=false ca=$OTEL_CA_FILE
  fi
  printf '%s\n' "REDIS_ENDPOINT=$host:$port" "REDIS_TLS_INSECURE=$insecure" "REDIS_CA_FILE=$ca"
}

# usage: otel_config_is_ours    whether config.yaml is init.sh's to write
otel_config_is_ours() {
  local file=$VOICEAI_ETC/otel/config.yaml
  [[ ! -e $file || $(head -n 1 "$file") == "$(head -n 1 "$BUNDLE/templates/otel.yaml")" ]]
}

# usage: render_otel SETTINGS [keep]    with `keep`, an env file that is there stays
render_otel() {
  local dir=$VOICEAI_ETC/otel env password
  env=$(otel_env "$1") && password=$(read_password "$VOICEAI_ETC/redis_password") || return
  make_dir "$dir" 0755 || return
  # Taken by the collector as it stands but for `$`, a line's end included.
  rendered_file otel "$dir/redis_password" 0600 "$OTEL_OWNER" "${password//\$/\$\$}" '' || return
  if otel_config_is_ours; then
    rendered_file otel "$dir/config.yaml" 0644 0:0 "$(<"$BUNDLE/templates/otel.yaml")" || return
  fi
  tls_file otel "${2:-}" "$dir/env" "$env"
}

# usage: inspect_otel    fills OTEL_STATE (absent, or docker's word), OTEL_ADDRESS and OTEL_RUNS_WITH, its environment
inspect_otel() {
  local line=''
  OTEL_STATE=absent OTEL_ADDRESS='' OTEL_RUNS_WITH=''
  line=$(call "$CALL_SECONDS" docker container inspect --format \
    '{{.State.Status}}|{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}|{{range .Config.Env}}{{.}} {{end}}' \
    "${CONTAINER[otel]}" 2>/dev/null) || return 0
  IFS='|' read -r OTEL_STATE OTEL_ADDRESS OTEL_RUNS_WITH <<<"${line//$'\n'/ }"
  OTEL_ADDRESS=${OTEL_ADDRESS%% *} OTEL_RUNS_WITH=" $OTEL_RUNS_WITH"
}

# usage: otel_runs_as_rendered    after inspect_otel: whether it was made with the env file as it is now
otel_runs_as_rendered() {
  local line
  [[ $OTEL_STATE == running ]] || {
    WHY="${CONTAINER[otel]} is $OTEL_STATE"
    return 1
  }
  while IFS= read -r line; do
    [[ $OTEL_RUNS_WITH == *" $line "* ]] || {
      WHY="${CONTAINER[otel]} runs without $line"
      return 1
    }
  done <"$VOICEAI_ETC/otel/env"
}

# usage: start_otel    the collector's container with the files as they are; recreated where it runs with others
start_otel() {
  local words fresh=''
  inspect_otel
  if [[ -z ${RENDERED[otel]:-} ]] && otel_runs_as_rendered; then return 0; fi
  [[ -z ${RENDERED[otel]:-} ]] || fresh=--force-recreate
  # shellcheck disable=SC2086  # one option or none
  words=$(compose "$START_SECONDS" --progress quiet up --detach --no-deps $fresh "$OTEL_SERVICE" 2>&1) ||
    problem "docker compose could not start $OTEL_SERVICE: $(tail -n 3 <<<"$words" | tr '\n' ' ')" || return
  unset 'RENDERED[otel]'
  inspect_otel
}

# usage: bring_up_otel SETTINGS RECORDED    as bring_up
bring_up_otel() {
  local keep=''
  inspect_otel
  if [[ $2 == no && $OTEL_STATE == running ]]; then keep=keep; fi
  render_otel "$1" "$keep" && start_otel || return "$EXIT_REFUSED"
}

# usage: otel_scrapes    whether the last scrape that its log tells of was one. Without a word of it, as where a site's own
# configuration does not print them, nothing is held against it.
otel_scrapes() {
  local last
  last=$(call "$CALL_SECONDS" docker logs --tail 200 "${CONTAINER[otel]}" 2>&1 |
    grep -E 'Error scraping metrics|"resource metrics": [1-9]' | tail -n 1) || true
  [[ $last != *'Error scraping'* ]] || {
    [[ $last =~ \"error\":\ \"([^\"]*) ]]
    WHY="the collector cannot scrape Redis: ${BASH_REMATCH[1]:-see docker logs ${CONTAINER[otel]}}"
    return 1
  }
  [[ -n $last ]] || ! otel_config_is_ours || {
    WHY='the collector has not scraped Redis yet'
    return 1
  }
}

# usage: otel_is_connected plain|tls    after inspect_otel: whether Redis has the collector's session by that listener, and
# none by the other
otel_is_connected() {
  local session found=no
  inspect_otel
  redis_sessions || return
  for session in "${SESSIONS[@]}"; do
    [[ $session == *"$FIELD${OTEL_ADDRESS:-none}$FIELD"* ]] || continue
    [[ $session == "$1$FIELD"* ]] || {
      WHY="the collector at $OTEL_ADDRESS is connected to Redis by the other listener (${session%%"$FIELD"*})"
      return 1
    }
    found=yes
  done
  [[ $found == yes ]] || {
    WHY="Redis has no session ($1) of the collector at ${OTEL_ADDRESS:-no address}"
    return 1
  }
}

# usage: otel_can_verify SETTINGS    whether a client here that dials as the collector does is shown a certificate that it
# can verify, and refuses it by another CA
otel_can_verify() {
  local -n _scraped=$1
  local host port=${_scraped[REDIS_TLS_PORT]} at words
  host=$(otel_redis_host "$1") || return
  at=$host
  # The service's name is known in its own network only.
  if has_role "$1" redis; then at=${ADDRESS_OF[redis]}; fi
  words=$(redis_handshake "$at" "$port" "$host" "$VOICEAI_TLS/ca.crt") || {
    WHY="a client on this host that dials $host:$port and trusts $VOICEAI_TLS/ca.crt should accept its certificate; it said: $words"
    return 1
  }
  words=$(redis_handshake "$at" "$port" "$host" "$VOICEAI_TLS/wrong-ca.crt") || [[ $words != *'verify error'* ]] || return 0
  WHY="a client on this host that trusts another CA should refuse the certificate at $host:$port"
  return 1
}

# usage: otel_holds SETTINGS    WHY says what does not hold
otel_holds() {
  local way=plain
  [[ $(variable_value "$1" REDIS_TLS_ENABLED) == false ]] || way=tls
  [[ $(cat "$VOICEAI_ETC/otel/env" 2>/dev/null) == "$(otel_env "$1")" ]] || {
    WHY="$VOICEAI_ETC/otel/env does not say what the settings say"
    return 1
  }
  inspect_otel
  otel_runs_as_rendered && otel_scrapes || return
  if [[ $way == tls ]]; then otel_can_verify "$1" || return; fi
  # Only its own server can tell by which listener it came.
  ! has_role "$1" redis || otel_is_connected "$way"
}

# usage: preflight_otel NOW NEXT
preflight_otel() {
  local -n _otel=$2
  local host word
  host=$(otel_redis_host "$2") || return
  [[ $(variable_value "$2" REDIS_TLS_ENABLED) == true ]] || return 0
  [[ $(variable_value "$2" CERTIFICATE_GENERATION) != 0 ]] ||
    problem "REDIS_TLS_ENABLED=true: this host has no CA (CERTIFICATE_GENERATION=0): raise CERTIFICATE_GENERATION first; nothing was changed" || return
  otel_config_is_ours || for word in REDIS_ENDPOINT REDIS_TLS_INSECURE REDIS_CA_FILE; do
    grep -qF "\${env:$word" "$VOICEAI_ETC/otel/config.yaml" ||
      problem "REDIS_TLS_ENABLED=true: $VOICEAI_ETC/otel/config.yaml is the site's own and does not read \${env:$word}: the receiver's default is plaintext, also to a TLS port; let its redis receiver read the three variables of $VOICEAI_ETC/otel/env; nothing was changed" || return
  done
  if has_role "$2" redis; then
    check_names "$VOICEAI_TLS/server.crt" '' "$host" 2>/dev/null ||
      problem "REDIS_TLS_ENABLED=true: the collector dials $host, which the server certificate does not cover: set OTEL_REDIS_HOST in $VOICEAI_ETC/environment to a name that it covers, or add this one and reissue; nothing was changed"
  else
    # Another host's change, which may be under way.
    ! looking || {
      say "whether Redis at $host serves TLS can be asked after its own host's turn, which comes first"
      return 0
    }
    ensure_wrong_ca && wait_for "$WAIT_SECONDS" "Redis at $host to serve TLS" otel_can_verify "$2"
  fi
}

# usage: apply_otel SETTINGS    its env file, and its container made anew
apply_otel() {
  has_role "$1" otel || return 0
  render_otel "$1" && fault_point otel-rendered && start_otel && fault_point otel-switched
}
