# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# A look at a deployment that knows nothing of us, before PREPARED=on: what cannot be prepared is said, all of it, each
# with the way out; what can be is decided. Nothing is changed here.

# usage: unfit WORDS...    one reason against it; the survey goes on
unfit() {
  problem "$*" || UNFIT+=("$*")
}

# usage: survey SETTINGS    fills DECIDED; fails where the deployment cannot be prepared
survey() {
  UNFIT=() DECIDED=()
  survey_compose && survey_containers || true
  if ((${#UNFIT[@]} == 0)); then
    if has_role "$1" postgres; then survey_postgres; fi
    if has_role "$1" pgbouncer; then survey_pgbouncer; fi
    if has_role "$1" redis; then survey_redis && survey_port; fi
  fi
  survey_recreation
  # The copy that was looked at may hold passwords.
  rm -f "$(site_copy pgbouncer)"
  rmdir "$(before_home)" 2>/dev/null || true
  ((${#UNFIT[@]} == 0)) ||
    problem "PREPARED=on: this deployment cannot be prepared, for what is said above; nothing was changed"
}

# usage: survey_compose    the files are those that the containers were made from, and compose will take one more
survey_compose() {
  local role services
  SITE_CONFIG=$(site_compose "$CALL_SECONDS" config 2>&1) ||
    unfit "docker compose does not take the deployment's files (DEPLOYMENT_FILES=${SITE_FILES[*]}): $(tail -n 2 <<<"$SITE_CONFIG" | tr '\n' ' ')"
  ((${#UNFIT[@]} == 0)) || return
  services=$(awk '/^[^ ]/ { inside = /^services:/ } inside && /^  [^ ]/ { sub(/:.*/, ""); print $1 }' <<<"$SITE_CONFIG")
  for role in "${!SERVICE_OF[@]}"; do
    grep -qx -- "${SERVICE_OF[$role]}" <<<"$services" ||
      unfit "SERVICE_${role^^}=${SERVICE_OF[$role]}: the deployment in $SITE_DIRECTORY has no such service, it has ${services//$'\n'/, }: correct hosts.<host>.deployment.services.$role"
  done
  survey_registration
}

# usage: survey_registration    a plain `docker compose` in the site's directory has to find our file: whoever names files
# by -f leaves it out
survey_registration() {
  local declared="${SITE_FILES[*]}" found='' name
  found=$(sed -nE "s/^COMPOSE_FILE=[\"']?([^\"' ]*).*/\\1/p" "$SITE_DIRECTORY/.env" 2>/dev/null | tail -n 1 | tr ':;,' '   ')
  if [[ -n $found ]]; then
    [[ $found == "$declared" ]] ||
      unfit "$SITE_DIRECTORY/.env has COMPOSE_FILE=${found// /:}, and hosts.<host>.deployment.files is ${declared// /,}: make them the same"
    return
  fi
  # As compose looks for them: the first name, then its override.
  for name in compose.yaml compose.yml docker-compose.yml docker-compose.yaml; do
    [[ -e $SITE_DIRECTORY/$name ]] || continue
    found=$name
    [[ ! -e $SITE_DIRECTORY/${name%.*}.override.${name##*.} ]] || found+=" ${name%.*}.override.${name##*.}"
    break
  done
  [[ $found == "$declared" ]] ||
    unfit "docker compose in $SITE_DIRECTORY takes ${found:-no file} by itself, and hosts.<host>.deployment.files is ${declared// /,}: whoever starts it with -f would leave out what PREPARED adds: put COMPOSE_FILE=${declared// /:} into $SITE_DIRECTORY/.env, start it without -f, or declare the files that it takes"
}

# usage: survey_containers    what all three have in common
survey_containers() {
  local role facts readonly_root files file declared=''
  for file in "${SITE_FILES[@]}"; do declared+=,$(readlink -f "$SITE_DIRECTORY/$file"); done
  for role in "${SERVER_ROLES[@]}"; do
    [[ -n ${SERVICE_OF[$role]:-} ]] || continue
    [[ -n ${OWNER_OF[$role]:-} ]] || {
      unfit "service ${SERVICE_OF[$role]}: no process called $(server_command "$role") is seen in container ${CONTAINER[$role]}, or it has no shell: is it the service of role $role?"
      continue
    }
    facts=$(call "$CALL_SECONDS" docker container inspect --format \
      '{{.HostConfig.ReadonlyRootfs}} {{index .Config.Labels "com.docker.compose.project.config_files"}}' "${CONTAINER[$role]}")
    read -r readonly_root files <<<"$facts"
    files=$(for file in ${files//,/ }; do [[ $file == "$(override_file)" ]] || readlink -f "$file"; done | sed 's/^/,/' | tr -d '\n')
    [[ $files == "$declared" ]] ||
      unfit "service ${SERVICE_OF[$role]} was made from ${files#,}, and hosts.<host>.deployment.files says ${declared#,}: declare the files that are in use"
    [[ ${MOUNTED_OF[$role]} != site ]] ||
      unfit "service ${SERVICE_OF[$role]} has an /etc/ssl/internal of its own: move that to another path in the container"
    [[ $readonly_root != true ]] ||
      DECIDED["recreate.$role"]='its root filesystem is read-only'
    call "$CALL_SECONDS" docker logs --tail 1 "${CONTAINER[$role]}" >/dev/null 2>&1 ||
      unfit "service ${SERVICE_OF[$role]}: its log cannot be read by docker logs, and the log is what proves a reload: use a log driver that keeps it on the host"
  done
  ((${#UNFIT[@]} == 0))
}

# usage: survey_postgres
survey_postgres() {
  local facts super recovery ssl line where
  facts=$(postgres_sql "SELECT concat_ws('|', current_setting('is_superuser'), pg_is_in_recovery(), current_setting('ssl'), coalesce((SELECT string_agg(name, ' ') FROM pg_settings WHERE name IN ('ssl', 'ssl_cert_file', 'ssl_key_file') AND source = 'command line'), ''), coalesce((SELECT sourcefile FROM pg_settings WHERE name = 'ssl'), 'its command line'))" 2>&1) && find_data ||
    unfit "service ${SERVICE_OF[postgres]}: psql in its container cannot log in as voiceai over the Unix socket: $facts"
  ((${#UNFIT[@]} == 0)) || return 0
  IFS='|' read -r super recovery ssl line where <<<"$facts"
  [[ $super == on ]] || unfit "service ${SERVICE_OF[postgres]}: voiceai is no superuser, and pg_reload_conf() and pg_file_settings are for superusers"
  [[ $recovery == f ]] || unfit "service ${SERVICE_OF[postgres]} is a standby: replicas are not supported"
  [[ $ssl == off ]] ||
    unfit "service ${SERVICE_OF[postgres]} serves TLS already (ssl=$ssl in $where): this rollout begins in plaintext and would replace its certificate: set ssl to off first, when no client needs it"
  # With our mounts it was started without what its command line still says.
  if [[ ${MOUNTED_OF[postgres]} == yes ]]; then line=ssl; fi
  if [[ -n $line ]]; then
    DECIDED["recreate.postgres"]="$line is set on its command line, which no reload changes"
    survey_start postgres
  fi
  [[ $CONFIG_FILE == "$DATA_DIRECTORY"/* ]] || is_mounted postgres "$CONFIG_FILE" ||
    unfit "service ${SERVICE_OF[postgres]}: its configuration $CONFIG_FILE is in the image, so that a later container would not know of TLS: mount it, or use the one of the data directory"
  ! must_recreate postgres || is_mounted postgres "$DATA_DIRECTORY/PG_VERSION" ||
    unfit "service ${SERVICE_OF[postgres]} has to be made anew once (${DECIDED["recreate.postgres"]}), and its data directory $DATA_DIRECTORY is in no volume: it would be lost"
}

# usage: survey_pgbouncer
survey_pgbouncer() {
  local key mode service=${SERVICE_OF[pgbouncer]}
  docker_exec pgbouncer sh -c 'command -v psql && command -v awk' >/dev/null 2>&1 ||
    unfit "service $service: its container has no psql or no awk, and what PgBouncer will meet can only be tried from there: use an image with both (postgresql-client)"
  find_ini && look_at_site_file pgbouncer "$INI_FILE" || unfit "service $service: $REASON"
  ((${#UNFIT[@]} == 0)) || return 0
  without_block "$(site_copy pgbouncer)" >/dev/null ||
    unfit "service $service: $INI_FILE has no section [pgbouncer] of its own (is it in an included file?): put the section's header into it"
  if [[ -n ${SOCKET_OF[pgbouncer]:-} ]]; then
    pooling_is_supported || UNFIT+=("$REASON")
  else
    mode=$(ini_value "$(site_copy pgbouncer)" pool_mode)
    [[ ${mode:-session} != session ]] || refuse_pooling 'pool_mode=session' || UNFIT+=("$REASON")
  fi
  for key in client_tls_sslmode server_tls_sslmode; do
    mode=$(ini_value "$(site_copy pgbouncer)" "$key")
    one_of "${mode:-disable}" disable allow prefer && [[ $key != client* || ${mode:-disable} == disable ]] ||
      unfit "service $service has $key=$mode already: this rollout begins in plaintext and would replace that: set it to disable first, when no client needs it"
  done
  is_mounted pgbouncer "$INI_FILE" || survey_start pgbouncer "$INI_FILE is in its container only, which a later one does not have"
  [[ -n $(host_path pgbouncer "$INI_FILE") || -n ${DECIDED["recreate.pgbouncer"]:-} ]] ||
    call "$CALL_SECONDS" docker exec --user 0 "${CONTAINER[pgbouncer]}" test -w "$INI_FILE" </dev/null ||
    unfit "service $service: $INI_FILE is on a read-only mount that is no file of this host: mount a file or a directory of the host"
}

# usage: path_of CONTAINER_OR_IMAGE    prints its PATH
path_of() {
  call "$CALL_SECONDS" docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$1" 2>/dev/null | sed -n 's/^PATH=//p'
}

# usage: survey_start ROLE [WHY]    a later start of ROLE's container needs a program before the server's own on PATH
survey_start() {
  local command by_path path
  by_path="/$(server_command "$1")(\"|[[:space:]]|\$)"
  command=$(call "$CALL_SECONDS" docker container inspect --format '{{json .Config.Entrypoint}} {{json .Config.Cmd}}' "${CONTAINER[$1]}")
  # An entrypoint's own choice shows in the process; not in Redis's, which writes over it, nor in one that we started.
  [[ $1 == redis || ${MOUNTED_OF[$1]} == yes || ${ARGUMENT_OF[$1]} == */internal-tls-* ]] || command+=" ${PROGRAM_OF[$1]}"
  [[ ! $command =~ $by_path ]] ||
    unfit "service ${SERVICE_OF[$1]} is started by the path of its program, so that nothing can be added to its start: name it $(server_command "$1") in your compose file, without a directory"
  DECIDED["start.$1"]=${START_DIRECTORY_OF[$1]:-/usr/local/sbin}
  # A container that we had made has the PATH that we gave it.
  path=$(path_of "${CONTAINER[$1]}")
  if [[ ${MOUNTED_OF[$1]} == yes && $path == "/usr/local/sbin:$(path_of "$(call "$CALL_SECONDS" docker container inspect \
    --format '{{.Image}}' "${CONTAINER[$1]}")")" ]]; then
    DECIDED["path.$1"]=$path
  fi
  [[ -n ${START_DIRECTORY_OF[$1]:-} ]] || {
    DECIDED["path.$1"]=/usr/local/sbin:$path
    DECIDED["recreate.$1"]=${DECIDED["recreate.$1"]:-"${2:-}, and nothing on its PATH comes before its program"}
  }
}

# usage: survey_redis
survey_redis() {
  local facts key value service=${SERVICE_OF[redis]}
  local -A info=()
  redis_answers || {
    unfit "service $service does not answer a PING on port 6379 with the password of $VOICEAI_ETC/redis_password: $WHY"
    return 0
  }
  # shellcheck disable=SC2016  # expanded inside the container
  facts=$(docker_exec redis sh -c 'redis-cli info 2>&1; for key in tls-port save appendonly dir; do echo "$key:$(redis-cli config get "$key" | tail -n 1)"; done')
  while IFS=: read -r key value; do info[${key:-none}]=${value%$'\r'}; done <<<"$facts"
  [[ ${info[redis_mode]:-} == standalone && ${info[cluster_enabled]:-0} == 0 ]] ||
    unfit "service $service is Redis in mode ${info[redis_mode]:-unknown}: Sentinel and Cluster are not supported"
  [[ ${info[role]:-} == master && ${info[connected_slaves]:-0} == 0 ]] ||
    unfit "service $service is a Redis ${info[role]:-of unknown role} with ${info[connected_slaves]:-0} replicas: replication is not supported"
  [[ ${info["tls-port"]:-} == 0 ]] ||
    unfit "service $service has tls-port ${info["tls-port"]:-unknown} already: this rollout begins in plaintext and would replace that: set it to 0 first, when no client needs it"
  survey_start redis 'its settings are on its command line'
  ! must_recreate redis ||
    { is_mounted redis "${info[dir]}/." && [[ -n ${info[save]:-} || ${info[appendonly]:-} == yes ]]; } ||
    unfit "service $service has to be made anew once (${DECIDED["recreate.redis"]}), and does not keep its data (save '${info[save]:-}', appendonly ${info[appendonly]:-}, dir ${info[dir]}): it would be lost"
}

# usage: service_values ROLE KEY AWK    prints what AWK makes of the lines below KEY of a service, in compose's own rendering
service_values() {
  awk -v service="${SERVICE_OF[$1]}:" -v key="$2:" '
    /^[^ ]/ { services = /^services:/ }
    services && /^  [^ ]/ { ours = $1 == service; inside = 0 }
    ours && /^    [^ ]/ { inside = $1 == key; next }
    !(ours && inside) { next }
    '"$3" <<<"$SITE_CONFIG"
}

# usage: survey_port    who publishes Redis's TLS port: nobody where the plaintext one is not published either
survey_port() {
  local network bindings address addresses=''
  network=$(call "$CALL_SECONDS" docker container inspect --format '{{.HostConfig.NetworkMode}}' "${CONTAINER[redis]}")
  [[ $network != host ]] || return 0
  # shellcheck disable=SC2016  # Docker's template
  bindings=$(call "$CALL_SECONDS" docker container inspect --format \
    '{{range $port, $on := .HostConfig.PortBindings}}{{range $on}}{{$port}} {{or .HostIp "all"}}{{"\n"}}{{end}}{{end}}' "${CONTAINER[redis]}")
  while read -r network address; do
    [[ $address != *:* ]] || address="[$address]"
    [[ $network != 6379/tcp || " $addresses " == *" $address "* ]] || addresses+=" $address"
  done <<<"$bindings"
  # What the site's files publish counts: what the container does may be of ours.
  # shellcheck disable=SC2016  # awk's
  [[ -n $addresses && " $(service_values redis ports '/^      .*target:/ { print $NF }' | tr '\n' ' ') " != *" $REDIS_PORT "* ]] || return 0
  addresses=${addresses# }
  addresses=${addresses//0.0.0.0/all}
  if [[ -n ${DECIDED["recreate.redis"]:-} ]]; then
    DECIDED["publish"]=$addresses
    return 0
  fi
  docker_exec redis sh -c 'command -v socat || command -v perl || nc --help 2>&1 | grep BusyBox' >/dev/null 2>&1 ||
    unfit "service ${SERVICE_OF[redis]} does not publish port $REDIS_PORT, and its image has neither socat nor perl nor BusyBox's nc to forward it: publish $REDIS_PORT in your compose file and make the container anew"
  DECIDED["forward"]=$addresses
  DECIDED["forward.image"]=$(call "$CALL_SECONDS" docker container inspect --format '{{.Config.Image}}' "${CONTAINER[redis]}")
  # shellcheck disable=SC2016  # awk's
  DECIDED["forward.networks"]=$(service_values redis networks '/^      [^ ]/ { sub(/:.*/, ""); print $1 }' | paste -sd ' ' -)
}

# usage: survey_recreation    what is made anew becomes what the site's files say now, so that has to be what runs
survey_recreation() {
  local role wanted
  DRIFTED=()
  for role in "${SERVER_ROLES[@]}"; do
    [[ -n ${OWNER_OF[$role]:-} ]] || continue
    wanted=$(site_compose "$CALL_SECONDS" config --hash "${SERVICE_OF[$role]}" 2>/dev/null) || continue
    [[ ${wanted##* } != "$(call "$CALL_SECONDS" docker container inspect --format \
      '{{index .Config.Labels "com.docker.compose.config-hash"}}' "${CONTAINER[$role]}")" ]] || continue
    DRIFTED+=("${SERVICE_OF[$role]}")
    ! must_recreate "$role" ||
      unfit "service ${SERVICE_OF[$role]} has to be made anew once (${DECIDED["recreate.$role"]}), and your compose files say something else than what runs, which would take effect with it: apply them first (docker compose up -d ${SERVICE_OF[$role]}), or take the change back"
  done
}
