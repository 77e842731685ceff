# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The host's containers: their names, starting those that do not run, calls into them. A running container is never
# recreated here.

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

# usage: name_containers SETTINGS    from the site's prefix
name_containers() {
  local prefix role
  prefix=$(compose_value CONTAINER_PREFIX '')
  declare -gA CONTAINER=()
  for role in "${SERVER_ROLES[@]}" otel; do CONTAINER[$role]=${prefix}voiceai-$role; done
}

# usage: call SECONDS COMMAND...    a bounded command that does not hold this update's lock after our death
call() { timeout -k 2 "$@" 9>&-; }

# usage: docker_exec ROLE COMMAND...    in a server's container, as its user
docker_exec() { call "$CALL_SECONDS" docker exec "${CONTAINER[$1]}" "${@:2}" </dev/null; }

# usage: compose SECONDS ARGUMENTS...    in the bundle, whose .env is the site's compose.env
compose() {
  local seconds=$1
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
  done < <(call "$CALL_SECONDS" docker container inspect --format \
    '{{.Name}} {{.State.Status}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' "${names[@]}" 2>/dev/null)
}

# usage: own_volume ROLE DIRECTORY    gives a new data volume to the user that the server runs as: an image may
# have made it for another
own_volume() {
  compose "$START_SECONDS" run --rm -T --no-deps --user 0:0 --entrypoint chown "voiceai-$1" "$SERVER_OWNER" "$2" \
    >/dev/null 2>&1
}

# usage: start_missing SETTINGS    after inspect_servers: starts the servers that do not run and waits until each answers. Fails as bring_up.
start_missing() {
  local role missing=() words
  for role in "${SERVER_ROLES[@]}"; do
    has_role "$1" "$role" || continue
    [[ ${STATE_OF[$role]} != running ]] || continue
    missing+=("voiceai-$role")
  done
  ((${#missing[@]})) || return 0
  # A session into a container that is about to be replaced or started would be stale.
  admin_close
  say "starting ${missing[*]}"
  compose "$CALL_SECONDS" config --quiet >&2 || problem 'compose.yaml with the site'\''s compose.env is not valid, see above' || return "$EXIT_REFUSED"
  if [[ ${STATE_OF[postgres]:-} == absent ]]; then own_volume postgres /var/lib/postgresql/data || true; fi
  if [[ ${STATE_OF[redis]:-} == absent ]]; then own_volume redis /data || true; fi
  words=$(compose "$START_SECONDS" --progress quiet up --detach --no-recreate --no-deps "${missing[@]}" 2>&1) ||
    problem "docker compose could not start ${missing[*]}: $(tail -n 3 <<<"$words" | tr '\n' ' ')" || return "$EXIT_REFUSED"
  for role in "${SERVER_ROLES[@]}"; do
    if has_role "$1" "$role"; then
      wait_for "$WAIT_SECONDS" "voiceai-$role to answer" "${role}_answers" || {
        last_log_lines "$role"
        return "$EXIT_STUCK"
      }
    fi
  done
  inspect_servers "$1"
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
  [[ -z $words ]] || problem "voiceai-$1 cannot use the certificate: ${words//$'\n'/; }; nothing was changed"
}

# usage: last_log_lines ROLE    says the end of a server's log: the reason is there
last_log_lines() {
  local line
  while IFS= read -r line; do say "  voiceai-$1: $line"; done \
    < <(call "$CALL_SECONDS" docker logs --tail 5 "${CONTAINER[$1]}" 2>&1)
}
