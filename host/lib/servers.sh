# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The host's containers: their names, starting those that do not run, calls into them. A running container is never
# recreated here.

# By role, of inspect_servers: absent or docker's word; the container's address.
declare -A STATE_OF=() ADDRESS_OF=()

# usage: compose_value KEY DEFAULT    prints KEY of /etc/voiceai/compose.env as compose would read it
compose_value() {
  local line value=$2
  if [[ -r $VOICEAI_ETC/compose.env ]]; then
    while IFS= read -r line || [[ -n $line ]]; do
      [[ $line == "$1="* ]] || continue
      value=${line#*=}
      if [[ $value == \"*\" || $value == \'*\' ]]; then value=${value:1:${#value}-2}; fi
    done <"$VOICEAI_ETC/compose.env"
  fi
  printf '%s' "$value"
}

# usage: name_containers SETTINGS    from the site's prefix or, of a deployment of its own, by compose's labels. Refuses
# one that is not as declared.
name_containers() {
  local prefix role
  declare -gA CONTAINER=()
  DEPLOYMENT=no
  if has_deployment "$1"; then
    find_deployment "$1"
    return
  fi
  prefix=$(compose_value CONTAINER_PREFIX '')
  for role in "${SERVER_ROLES[@]}" otel; do CONTAINER[$role]=${prefix}voiceai-$role; done
}

# usage: call SECONDS COMMAND...    a bounded command that does not hold this update's lock after our death
call() { timeout -k 2 "$@" 9>&-; }

# usage: docker_exec ROLE COMMAND...    in a server's container, as its user
docker_exec() {
  local CALL_ARGUMENTS
  call_arguments "$1"
  with_passwords call "$CALL_SECONDS" docker exec "${CALL_ARGUMENTS[@]}" "${CONTAINER[$1]}" "${@:2}" </dev/null
}

# usage: compose SECONDS ARGUMENTS...    in the bundle, whose .env is the site's compose.env; or in the site's directory
compose() {
  local seconds=$1
  [[ $DEPLOYMENT == no ]] || {
    site_compose "$@"
    return
  }
  shift
  (cd "$BUNDLE" && call "$seconds" docker compose "$@" </dev/null)
}

# usage: inspect_servers SETTINGS    fills STATE_OF[role] (absent, or docker's word) and ADDRESS_OF[role]
inspect_servers() {
  local role name state address names=()
  declare -gA STATE_OF=() ADDRESS_OF=()
  for role in "${SERVER_ROLES[@]}"; do
    has_role "$1" "$role" || continue
    STATE_OF[$role]=absent
    names+=("${CONTAINER[$role]}")
  done
  while read -r name state address _; do
    for role in "${!STATE_OF[@]}"; do
      [[ $name != "/${CONTAINER[$role]}" ]] || STATE_OF[$role]=$state ADDRESS_OF[$role]=$address
    done
    # A container in its host's own network has no address.
  done < <(call "$CALL_SECONDS" docker container inspect --format \
    '{{.Name}} {{.State.Status}} {{range .NetworkSettings.Networks}}{{or .IPAddress "127.0.0.1"}} {{end}}' "${names[@]}" 2>/dev/null)
}

# usage: service_name ROLE    prints what compose calls a server
service_name() { printf '%s' "${SERVICE_OF[$1]:-voiceai-$1}"; }

# usage: own_volume ROLE DIRECTORY    gives a new data volume to the user that the server runs as: an image may
# have made it for another
own_volume() {
  compose "$START_SECONDS" run --rm -T --no-deps --user 0:0 --entrypoint chown "voiceai-$1" "$SERVER_OWNER" "$2" \
    >/dev/null 2>&1
}

# usage: start_missing SETTINGS    after inspect_servers: starts the servers that do not run and waits until each answers. Fails as bring_up.
start_missing() {
  local role missing=() words keep=--no-recreate
  for role in "${SERVER_ROLES[@]}"; do
    has_role "$1" "$role" || continue
    [[ ${STATE_OF[$role]} != running ]] || continue
    missing+=("$(service_name "$role")")
  done
  ((${#missing[@]})) || return 0
  # A session into a container that is about to be replaced or started would be stale.
  admin_close
  say "starting ${missing[*]}"
  compose "$CALL_SECONDS" config --quiet >&2 || problem 'compose.yaml with the site'\''s compose.env is not valid, see above' || return "$EXIT_REFUSED"
  # The site's own volumes are as its own servers want them.
  if [[ $DEPLOYMENT == no && ${STATE_OF[postgres]:-} == absent ]]; then own_volume postgres /var/lib/postgresql/data || true; fi
  if [[ $DEPLOYMENT == no && ${STATE_OF[redis]:-} == absent ]]; then own_volume redis /data || true; fi
  # A way back may find a container that we had made and that does not start.
  [[ $DEPLOYMENT == no || -z ${RESTORING:-} ]] || keep=''
  # shellcheck disable=SC2086  # a word or none
  words=$(compose "$START_SECONDS" --progress quiet up --detach $keep --no-deps "${missing[@]}" 2>&1) ||
    problem "docker compose could not start ${missing[*]}: $(tail -n 3 <<<"$words" | tr '\n' ' ')" || return "$EXIT_REFUSED"
  for role in "${SERVER_ROLES[@]}"; do
    if has_role "$1" "$role"; then
      wait_for "$WAIT_SECONDS" "$(service_name "$role") to answer" server_answers "$1" "$role" || {
        last_log_lines "$role"
        return "$EXIT_STUCK"
      }
    fi
  done
  # A new container has a new address, and may run as somebody else.
  name_containers "$1" && inspect_servers "$1"
}

# usage: server_answers SETTINGS ROLE    whether a server that was just started does
server_answers() {
  [[ $DEPLOYMENT == no || -n ${OWNER_OF[$2]:-} ]] || name_containers "$1" || return
  "${2}_answers"
}

# usage: files_are_usable ROLE    whether the server's own user can read the certificate, the key and the CA, in its
# container, as it will at its next start
files_are_usable() {
  local words
  # shellcheck disable=SC2016  # expanded inside the container
  words=$(docker_exec "$1" sh -c 'cd /etc/ssl/internal || exit
    for file in server.crt server.key ca.crt; do
      test -r "$file" || echo "/etc/ssl/internal/$file is not readable by uid $(id -u)"
    done' 2>&1) || true
  [[ -z $words ]] || problem "$(service_name "$1") cannot use the certificate: ${words//$'\n'/; }; nothing was changed"
}

# usage: last_log_lines ROLE    says the end of a server's log: the reason is there
last_log_lines() {
  local line
  while IFS= read -r line; do say "  $(service_name "$1"): $line"; done \
    < <(call "$CALL_SECONDS" docker logs --tail 5 "${CONTAINER[$1]}" 2>&1)
}

# usage: tls_client ADDRESS PORT NAME CA_FILE PROTOCOL [OPTIONS...]    prints openssl's words of a handshake from this host, by a
# client that dials NAME and trusts CA_FILE alone; PROTOCOL is openssl's name for what asks for TLS first. NAME, CA_FILE and
# PROTOCOL may be empty.
tls_client() {
  local kind=-verify_hostname
  local -a wants=()
  if [[ $3 =~ ^[0-9.]+$ || $3 == *:* ]]; then kind=-verify_ip; fi
  [[ -z $3 ]] || wants+=("$kind" "$3")
  [[ -z $4 ]] || wants+=(-CAfile "$4" -no-CApath -no-CAstore)
  [[ -z $5 ]] || wants+=(-starttls "$5")
  timeout 8 openssl s_client -connect "$1:$2" "${wants[@]}" "${@:6}" </dev/null 2>&1 9>&-
}
