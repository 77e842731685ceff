# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# What a container that the site makes later gets from us: a compose file of ours after the site's own, registered in the
# .env of the site's directory, and the forwarder of Redis's TLS port, a service in it.

FORWARDER=internal-tls-redis-port

# usage: override_file    prints the path of our compose file
override_file() { printf '%s/compose.yaml' "$(deployment_home)"; }

# usage: machine_path PATH    prints a path of ours as the engine's machine has it, quoted for compose
machine_path() {
  local home
  home=$(compose_value VOICEAI_CONFIG_DIR "$VOICEAI_ETC")
  quoted_for_compose "$home${1#"$VOICEAI_ETC"}"
}

# usage: quoted_for_compose TEXT    prints a string of compose's, without its variables
quoted_for_compose() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//\$/\$\$}"
}

# usage: mounted SOURCE TARGET    prints a line of `volumes`
mounted() { printf '      - {type: bind, source: %s, target: %s, read_only: true}\n' "$(machine_path "$1")" "$(quoted_for_compose "$2")"; }

# What the survey decided when PREPARED was set, by key: later runs see containers that are no longer as they were.
#   recreate.ROLE  why a container had to be made anew
#   start.ROLE     the directory on its PATH for a program that comes before the server's; `path.ROLE`: a PATH that has one
#   forward        the addresses on which the forwarder publishes the port, its image and networks beside it
#   publish        the addresses on which Redis's own container does, where that was made anew
declare -A DECIDED=()
DECISIONS=({recreate,start,path}.{postgres,pgbouncer,redis} forward forward.image forward.networks publish)

# usage: must_recreate ROLE    whether its container is still to be made anew: our mounts show that it was
must_recreate() { [[ -n ${DECIDED["recreate.$1"]:-} && ${MOUNTED_OF[$1]:-no} != yes ]]; }

# usage: read_decisions    fails where there are none
read_decisions() {
  local line
  DECIDED=()
  [[ -r $(before_home)/decided ]] || return
  while IFS= read -r line; do DECIDED[${line%%=*}]=${line#*=}; done <"$(before_home)/decided"
}

# usage: write_decisions
write_decisions() {
  local key text=''
  for key in "${DECISIONS[@]}"; do text+="$key=${DECIDED[$key]:-}"$'\n'; done
  make_dir "$(before_home)" 0700 && write_file "$(before_home)/decided" 0600 0:0 "${text%$'\n'}"
}

# usage: override_service ROLE    prints the part of our compose file for one server
override_service() {
  local home
  home=$(deployment_home)
  printf '  %s:\n    volumes:\n' "$(quoted_for_compose "$(service_name "$1")")"
  mounted "$home/$1" /etc/ssl/internal
  [[ $1 != redis ]] || mounted "$home/$1" /tmp/redis-tls
  [[ -z ${DECIDED["start.$1"]:-} ]] || mounted "$home/start" "${DECIDED["start.$1"]}/$(server_command "$1")"
  [[ -z ${DECIDED["path.$1"]:-} ]] || printf '    environment:\n      PATH: %s\n' "$(quoted_for_compose "${DECIDED["path.$1"]}")"
  [[ $1 != redis || -z ${DECIDED["publish"]:-} ]] || published_port "${DECIDED["publish"]}"
}

# usage: published_port ADDRESSES    prints Redis's TLS port on each of them; `all` is every one
published_port() {
  local address
  printf '    ports:\n'
  for address in $1; do
    if [[ $address == all ]]; then address=''; else address+=:; fi
    printf '      - "%s%s:%s"\n' "$address" "$REDIS_PORT" "$REDIS_PORT"
  done
}

# usage: override_forwarder    prints the forwarder's part of our compose file
override_forwarder() {
  local network
  printf '  %s:\n    image: %s\n    pull_policy: never\n' "$FORWARDER" "$(quoted_for_compose "${DECIDED["forward.image"]}")"
  printf '    user: "65534:65534"\n    restart: unless-stopped\n    command: []\n'
  printf '    entrypoint: ["sh", "/forward", "%s", %s, "%s"]\n' \
    "$REDIS_PORT" "$(quoted_for_compose "$(service_name redis)")" "$REDIS_PORT"
  printf '    volumes:\n'
  mounted "$(deployment_home)/forward" /forward
  published_port "${DECIDED["forward"]}"
  printf '    networks:\n'
  for network in ${DECIDED["forward.networks"]}; do printf '      - %s\n' "$(quoted_for_compose "$network")"; done
}

# usage: override_text    prints our compose file. Postgres is in it only where it has to be: what is there makes the
# site's next `up` recreate the container.
override_text() {
  local role
  printf '# Written by update.sh for PREPARED=on, removed by PREPARED=off: a change made here is overwritten.\n'
  printf '# It follows the deployment'\''s own files in COMPOSE_FILE of %s/.env.\nservices:\n' "$SITE_DIRECTORY"
  for role in "${SERVER_ROLES[@]}"; do
    [[ -n ${SERVICE_OF[$role]:-} ]] || continue
    [[ $role == postgres && -z ${DECIDED["recreate.postgres"]:-} ]] || override_service "$role"
  done
  [[ -z ${DECIDED["forward"]:-} ]] || override_forwarder
}

# usage: write_override    our compose file and the programs that it mounts
write_override() {
  local home text
  home=$(deployment_home)
  make_dir "$home" 0755 &&
    write_file "$home/start" 0755 0:0 "$(<"$BUNDLE/templates/start")" &&
    write_file "$home/forward" 0755 0:0 "$(<"$BUNDLE/templates/forward")" || return
  text=$(override_text)
  write_file "$(override_file)" 0644 0:0 "$text" || return
  text=$(site_compose "$CALL_SECONDS" config --quiet 2>&1) ||
    problem "docker compose does not take $(override_file) after the deployment's files: $text"
}

# usage: with_registration FILE    prints the site's .env with our compose file in COMPOSE_FILE
with_registration() {
  local file=$1 separator files
  separator=$(sed -n 's/^COMPOSE_PATH_SEPARATOR=//p' "$file" | tail -n 1)
  separator=${separator:-:}
  files=$(IFS=$separator && printf '%s' "${SITE_FILES[*]}")
  if grep -q '^COMPOSE_FILE=' "$file"; then
    # Quotes around the value stay around all of it.
    sed -E "/^COMPOSE_FILE=/{
      \\#$(override_file)#b
      s#^(COMPOSE_FILE=)(\"?'?)(.*[^\"' ])(\"?'?[[:space:]]*)\$#\\1\\2\\3$separator$(override_file)\\4#
    }" "$file"
  else
    cat "$file"
    [[ ! -s $file || -z $(tail -c 1 "$file") ]] || printf '\n'
    printf 'COMPOSE_FILE=%s%s%s # internal-tls\n' "$files" "$separator" "$(override_file)"
  fi
}

# usage: without_registration FILE    prints the site's .env without it
without_registration() {
  sed -E "/^COMPOSE_FILE=.*# internal-tls\$/d; /^COMPOSE_FILE=/s#[:;,]$(override_file)##" "$1"
}

# usage: register_override    in the .env of the site's directory, which is made where there is none. What it was is kept.
register_override() {
  local file=$SITE_DIRECTORY/.env home
  home=$(before_home)
  make_dir "$home" 0700 || return
  if [[ -e $file ]]; then
    (umask 077 && cat "$file" >"$home/env.now")
    with_registration "$home/env.now" >"$home/env.next" || return
    ! cmp -s "$home/env.now" "$home/env.next" || return 0
    [[ -e $home/env.before ]] || (umask 077 && cat "$home/env.now" >"$home/env.before") ||
      problem "cannot keep $file in $home: is the disk full?" || return
  else
    : >"$home/env.now" && : >"$home/env.none" && with_registration "$home/env.now" >"$home/env.next" || return
  fi
  if ! { cat "$home/env.next" >"$file" && cmp -s "$home/env.next" "$file"; } 2>/dev/null; then
    cat "$home/env.now" >"$file" 2>/dev/null || true
    problem "cannot write $file: no permission, or the disk is full"
  fi
}

# usage: unregister_override    the .env byte for byte as it was, or without our part where the site has changed it since
unregister_override() {
  local file=$SITE_DIRECTORY/.env home
  home=$(before_home)
  if [[ -e $file && -d $home ]]; then
    (umask 077 && without_registration "$file" >"$home/env.next") || return
    if [[ -e $home/env.before && $(<"$home/env.next") == "$(<"$home/env.before")" ]]; then
      cat "$home/env.before" >"$home/env.next"
    fi
    if [[ -e $home/env.none && ! -s $home/env.next ]]; then
      rm -f "$file"
    elif ! cmp -s "$file" "$home/env.next"; then
      cat "$home/env.next" >"$file" && cmp -s "$home/env.next" "$file" ||
        problem "cannot write $file: no permission, or the disk is full" || return
    fi
  fi
  rm -f "$home"/env.*
}

# usage: is_registered    whether compose, asked in the site's directory as anybody would, has our file
is_registered() {
  [[ ,$(sed -nE "s/^COMPOSE_FILE=[\"']?([^\"']*).*/\\1/p" "$SITE_DIRECTORY/.env" 2>/dev/null | tail -n 1 | tr ':; ' ',,,'), == *",$(override_file),"* ]]
}

# usage: start_forwarder    beside Redis, where there is one; a change of it replaces it
start_forwarder() {
  local words
  [[ -n ${DECIDED["forward"]:-} ]] || return 0
  words=$(site_compose "$START_SECONDS" --progress quiet up --detach --no-deps "$FORWARDER" 2>&1) ||
    problem "cannot start $FORWARDER, which publishes port $REDIS_PORT: $(tail -n 2 <<<"$words" | tr '\n' ' ')"
}

# usage: see_behind_forwarder    fills BEHIND["address:port"], as Redis sees a connection, with the client's own
see_behind_forwarder() {
  local id word client address
  declare -gA BEHIND=()
  [[ $DEPLOYMENT == yes ]] || return 0
  for id in $(forwarder_ids); do
    while read -r _ word client _ address; do
      [[ $word != forward ]] || BEHIND[$address]=$client
    done < <(call "$CALL_SECONDS" docker top "$id" -eo pid,args 2>/dev/null)
  done
}

# usage: stop_forwarder    where there is one
stop_forwarder() {
  local ids
  ids=$(forwarder_ids all) || return 0
  # shellcheck disable=SC2086  # a list of words
  [[ -z $ids ]] || call "$CALL_SECONDS" docker rm --force $ids >/dev/null
}

# usage: forwarder_ids [all]    prints the forwarder's containers: those that run, or all
forwarder_ids() {
  call "$CALL_SECONDS" docker ps ${1:+--all} --quiet --filter "label=com.docker.compose.service=$FORWARDER" \
    --filter "label=com.docker.compose.project=$PROJECT"
}
