# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The OpenTelemetry collector that scrapes Redis. REDIS_TLS_ENABLED switches its REDIS_ENDPOINT to the TLS port, with TLS
# really used: the receiver's own default is plaintext, also towards a TLS port.

# usage: otel_host    prints the name by which the collector dials Redis: OTEL_REDIS_HOST of /etc/voiceai/environment
otel_host() { printf '%s' "${OTEL_REDIS_HOST:-voiceai-redis}"; }

# usage: otel_env SETTINGS    the collector's environment; the password stands in a file of its own
otel_env() {
  local -n _scraped=$1
  if [[ $(variable_value "$1" REDIS_TLS_ENABLED) == true ]]; then
    printf '%s\n' "REDIS_ENDPOINT=$(otel_host):${_scraped[REDIS_TLS_PORT]}" REDIS_TLS_INSECURE=false \
      REDIS_CA_FILE=/etc/ssl/internal/ca.crt
  else
    printf '%s\n' "REDIS_ENDPOINT=$(otel_host):6379" REDIS_TLS_INSECURE=true REDIS_CA_FILE=
  fi
}

# usage: otel_config    the template, or what the site put there: then only the environment is ours
otel_config() {
  local file=$VOICEAI_ETC/otel/config.yaml
  [[ -e $file ]] || write_file "$file" 0644 0:0 "$(<"$BUNDLE/templates/otel.yaml")"
}

# usage: render_otel SETTINGS
render_otel() {
  local dir=$VOICEAI_ETC/otel password
  password=$(read_password "$VOICEAI_ETC/redis_password") || return
  make_dir "$dir" 0755 && otel_config || return
  # A YAML string: the collector reads it in place of a value.
  rendered_file otel "$dir/password" 0600 65534:65534 "$(redis_quoted "$password")" || return
  rendered_file otel "$dir/env" 0644 0:0 "$(otel_env "$1")"
}

# usage: apply_otel SETTINGS    the collector alone is recreated where its environment is another one
apply_otel() {
  local words
  has_role "$1" otel || return 0
  render_otel "$1" || return
  otel_runs_so "$1" && return 0
  say 'recreating voiceai-otel with its new environment: a scrape may be missed, no request is'
  words=$(compose "$START_SECONDS" --profile otel --progress quiet up --detach --no-deps voiceai-otel 2>&1) ||
    problem "docker compose could not start voiceai-otel: $(tail -n 3 <<<"$words" | tr '\n' ' ')" || return
  unset 'RENDERED[otel]'
}

# usage: otel_runs_so SETTINGS    whether the running collector has the environment that SETTINGS want
otel_runs_so() {
  local facts line
  facts=$(call "$CALL_SECONDS" docker container inspect --format \
    '{{.State.Status}}{{range .Config.Env}}{{println}}{{.}}{{end}}' "$(otel_container)" 2>/dev/null) || return
  [[ $facts == running* ]] || return
  while IFS= read -r line; do
    [[ $'\n'$facts$'\n' == *$'\n'"$line"$'\n'* ]] || return
  done < <(otel_env "$1")
}

# usage: otel_container    prints its name
otel_container() { printf '%svoiceai-otel' "$(compose_value CONTAINER_PREFIX '')"; }

# usage: otel_holds SETTINGS    the collector runs with the declared environment, and its last scrape did not fail. WHY
# says what does not hold
otel_holds() {
  local words since
  otel_runs_so "$1" || {
    WHY='voiceai-otel does not run with the declared REDIS_ENDPOINT'
    return 1
  }
  since=$(call "$CALL_SECONDS" docker container inspect --format '{{.State.StartedAt}}' "$(otel_container)")
  words=$(call "$CALL_SECONDS" docker logs --since "$since" "$(otel_container)" 2>&1 | grep -Ei 'metrics|error scraping' | tail -n 1)
  [[ $words == *etrics* && $words != *[Ee]'rror scraping'* ]] || {
    WHY="voiceai-otel has not scraped Redis since it started${words:+: ${words:0:300}}"
    return 1
  }
}
