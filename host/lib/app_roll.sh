# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# An app's replicas: compose services that are recreated one after another, each healthy before the next.
#
# Guarantees: a healthy replica is never taken down while another one is not; what is not healthy is replaced first; one
# that already runs with what its env file says is left alone; the first that fails ends it.

# What a replica's container tells, each field ended by a byte 0: an environment may hold line ends.
REPLICA_FORMAT='{{printf "id=%s\x00name=%s\x00state=%s\x00restarts=%v\x00image=%s\x00tag=%s\x00started=%s\x00policy=%s\x00" .Id .Name .State.Status .RestartCount .Image .Config.Image .State.StartedAt .HostConfig.RestartPolicy.Name}}{{if .State.Health}}{{printf "health=%s\x00" .State.Health.Status}}{{range .State.Health.Log}}{{printf "said=%s\x00" .Output}}{{end}}{{end}}{{with .Config.Healthcheck}}{{printf "period=%v\x00" .StartPeriod}}{{printf "interval=%v\x00" .Interval}}{{end}}{{range .NetworkSettings.Networks}}{{printf "address=%s\x00" .IPAddress}}{{end}}{{range .Config.Env}}{{printf "env=%s\x00" .}}{{end}}'

# usage: app_compose SECONDS ARGUMENTS...    docker compose in the app's directory, with nothing of this update's
# environment: a variable there would win over the app's own .env
app_compose() {
  local seconds=$1 name
  local -a kept=()
  shift
  for name in PATH HOME USER LOGNAME LANG "${!DOCKER_@}" "${!XDG_@}"; do
    [[ -z ${!name+set} ]] || kept+=("$name=${!name}")
  done
  (cd "$APP_DIRECTORY" 2>/dev/null && call "$seconds" env -i "${kept[@]}" docker compose "$@" </dev/null)
}

# usage: inspect_app SETTINGS APP    REPLICAS are the services; REPLICA_*[service] what their containers tell, and
# APP_ADDRESSES the containers' own addresses. A service without a container has no REPLICA_ID.
inspect_app() {
  local -n _inspected=$1
  local listing service id
  declare -gA REPLICA_ID=() REPLICA_NAME=() REPLICA_STATE=() REPLICA_RESTARTS=() REPLICA_IMAGE=() REPLICA_TAG=()
  declare -gA REPLICA_HEALTH=() REPLICA_SAID=() REPLICA_PATIENCE=() REPLICA_ENV=() REPLICA_STARTED=() REPLICA_POLICY=()
  APP=$2 APP_ADDRESSES=() SECRETS_OF_APP=()
  APP_DIRECTORY=${_inspected["apps.$2.DIRECTORY"]} APP_HEALTH=${_inspected["apps.$2.HEALTH_COMMAND"]:-}
  APP_KIND=${_inspected["apps.$2.KIND"]} APP_DRAIN=${_inspected["apps.$2.DRAIN_SECONDS"]}
  IFS=, read -ra REPLICAS <<<"${_inspected["apps.$2.SERVICES"]}"
  [[ -d $APP_DIRECTORY ]] || problem "apps.$2: there is no directory $APP_DIRECTORY" || return
  listing=$(app_compose "$CALL_SECONDS" ps --all --no-trunc --format '{{.Service}} {{.ID}}' "${REPLICAS[@]}" 2>&1) ||
    problem "apps.$2: docker compose in $APP_DIRECTORY does not list the services ${REPLICAS[*]}: $(tail -n 2 <<<"$listing" | tr '\n' ' ')" || return
  while read -r service id; do
    one_of "$service" "${REPLICAS[@]}" || continue
    [[ -z ${REPLICA_ID[$service]:-} ]] ||
      problem "apps.$2: the service $service has more than one container: its replicas are services of their own, listed in apps.$2.services" || return
    REPLICA_ID[$service]=$id
  done <<<"$listing"
  ((${#REPLICA_ID[@]} == 0)) || inspect_replicas
  read_secrets
}

# usage: inspect_replicas    of inspect_app
inspect_replicas() {
  local field service='' key
  while IFS= read -r -d '' field; do
    # Docker ends each container's answer with a line end.
    field=${field#$'\n'}
    key=${field%%=*} field=${field#*=}
    case $key in
      id) for service in "${!REPLICA_ID[@]}"; do [[ ${REPLICA_ID[$service]} != "$field" ]] || break; done ;;
      name) REPLICA_NAME[$service]=${field#/} ;;
      state) REPLICA_STATE[$service]=$field ;;
      restarts) REPLICA_RESTARTS[$service]=$field ;;
      image) REPLICA_IMAGE[$service]=$field ;;
      tag) REPLICA_TAG[$service]=$field ;;
      started) REPLICA_STARTED[$service]=$field ;;
      policy) REPLICA_POLICY[$service]=$field ;;
      health) REPLICA_HEALTH[$service]=$field ;;
      said) REPLICA_SAID[$service]=$field ;;
      # Nanoseconds: how long docker may take to call it healthy.
      period | interval) REPLICA_PATIENCE[$service]=$((${REPLICA_PATIENCE[$service]:-0} + field / 1000000000)) ;;
      address) [[ -z $field ]] || APP_ADDRESSES+=("$field") ;;
      env) REPLICA_ENV["$service ${field%%=*}"]=${field#*=} ;;
    esac
  done < <(call "$CALL_SECONDS" docker container inspect --format "$REPLICA_FORMAT" "${REPLICA_ID[@]}" 2>/dev/null)
}

# usage: replica_number SERVICE    prints its place among the replicas, from 1
replica_number() {
  local i
  for ((i = 0; i < ${#REPLICAS[@]}; i++)); do [[ ${REPLICAS[i]} != "$1" ]] || printf '%s' "$((i + 1))"; done
}

# usage: has_health SERVICE    whether there is anything that tells its health
has_health() { [[ -n $APP_HEALTH || -n ${REPLICA_HEALTH[$1]:-} || $APP_KIND == kamailio ]]; }

# usage: replica_is_healthy SERVICE    after inspect_app; WHY says what is so instead
replica_is_healthy() {
  local said
  [[ ${REPLICA_STATE[$1]:-absent} == running ]] || {
    WHY="$1 is ${REPLICA_STATE[$1]:-absent: it has no container}"
    return 1
  }
  if [[ -n $APP_HEALTH ]]; then
    said=$(SERVICE=$1 CONTAINER=${REPLICA_NAME[$1]} REPLICA=$(replica_number "$1") call 10 sh -c "$APP_HEALTH" </dev/null 2>&1) || {
      WHY="$1 is not healthy: its healthCommand ended with status $?: $(health_words "$said")"
      return 1
    }
  elif [[ -n ${REPLICA_HEALTH[$1]:-} ]]; then
    [[ ${REPLICA_HEALTH[$1]} == healthy ]] || {
      WHY="$1 is ${REPLICA_HEALTH[$1]}: $(health_words "${REPLICA_SAID[$1]:-}")"
      return 1
    }
  else
    said=$(call "$CALL_SECONDS" docker exec "${REPLICA_ID[$1]}" kamcmd core.uptime </dev/null 2>&1) || {
      WHY="$1 is not healthy: kamcmd core.uptime: $(health_words "$said")"
      return 1
    }
  fi
}

# usage: health_words TEXT    prints the end of what a health check said, on one line
health_words() {
  local words
  words=$(masked "$1" | tr -s '\n\t\r ' ' ' | tail -c 300)
  printf '%s' "${words:-it said nothing}"
}

# usage: unhealthy_replicas [BUT]    fills UNHEALTHY, and WHY with the last one's words
unhealthy_replicas() {
  local service
  UNHEALTHY=()
  for service in "${REPLICAS[@]}"; do
    [[ $service == "${1:-}" ]] || replica_is_healthy "$service" || UNHEALTHY+=("$service")
  done
}

# usage: replica_runs_as_wanted SETTINGS SERVICE TRACKS...    whether its container has what the env file must say; WHY
replica_runs_as_wanted() {
  local track key now
  [[ -n ${REPLICA_ID[$2]:-} ]] || {
    WHY="$2 has no container"
    return 1
  }
  for track in "${@:3}"; do
    wanted_env "$1" "$APP" "$track"
    for key in ${TRACK_KEYS[$track]}; do
      [[ -n ${WANTED[$key]+set} ]] || continue
      now=${REPLICA_ENV["$2 $key"]:-}
      [[ $now == "${WANTED[$key]}" || -z $now && $INITIAL == yes ]] || {
        WHY="$2 runs with ${now:+$key=}${now:-no $key}, wanted is ${WANTED[$key]}"
        return 1
      }
    done
  done
}

# usage: would_recreate SERVICES...    fills RECREATED with those that compose would recreate or create now
would_recreate() {
  local plan service
  RECREATED=()
  plan=$(app_compose "$CALL_SECONDS" up --detach --dry-run --no-deps --no-build --pull never "$@" 2>&1) || {
    WHY="docker compose in $APP_DIRECTORY cannot start $*: $(masked "$(tail -n 2 <<<"$plan" | tr '\n' ' ')")"
    return 1
  }
  for service in "$@"; do
    if [[ -z ${REPLICA_ID[$service]:-} || $plan =~ Container\ ${REPLICA_NAME[$service]}\ +Recreate ]]; then
      RECREATED+=("$service")
    fi
  done
}

# usage: roll_app SETTINGS APP TRACKS...    every replica that does not run with what SETTINGS want is recreated
roll_app() {
  local settings=$1 service first=yes
  local -a pending=() later=()
  shift 2
  inspect_app "$settings" "$APP" || return
  for service in "${REPLICAS[@]}"; do
    if replica_runs_as_wanted "$settings" "$service" "$@"; then
      continue
    elif replica_is_healthy "$service"; then
      later+=("$service")
    else
      pending+=("$service")
    fi
  done
  pending+=("${later[@]}")
  ((${#pending[@]})) || return 0
  would_recreate "${pending[@]}" || problem "$WHY" || return
  for service in "${pending[@]}"; do
    one_of "$service" "${RECREATED[@]}" ||
      problem "apps.$APP: $ENV_PATH was changed and docker compose would not recreate $service: its compose file does not take ${TRACK_VARIABLE[$1]} from that file (env_file), or sets it itself (environment)" || return
  done
  for service in "${pending[@]}"; do
    not_stopped && recreate_replica "$settings" "$service" "$@" || return
    # The first replica is the canary: what the servers see of it is asked before the next one is touched.
    if [[ $first == yes && -z ${RESTORING:-} ]] && ((${#pending[@]} > 1)); then
      first_sessions "$settings" "$@" || return
    fi
    first=no
  done
}

# usage: recreate_replica SETTINGS SERVICE TRACKS...
recreate_replica() {
  local settings=$1 service=$2 words begun
  shift 2
  if replica_is_healthy "$service"; then
    unhealthy_replicas "$service"
    ((${#UNHEALTHY[@]} == 0)) ||
      problem "$service was not recreated, because it is healthy and another replica is not: $WHY" || return
  fi
  fault_point app-replica-begun
  begun=$(milliseconds)
  # The lock is compose's as well: one that outlives this update ends before the next one begins.
  words=$(
    exec 8>>"$APP_STATE/compose.lock" && flock -w $((APP_DRAIN + WAIT_SECONDS)) 8 || exit
    app_compose $((APP_DRAIN + START_SECONDS)) --progress plain up --detach --no-deps --no-build --pull never --timeout "$APP_DRAIN" "$service" 2>&1
  ) || problem "docker compose in $APP_DIRECTORY could not recreate $service: $(masked "$(tail -n 3 <<<"$words" | tr '\n' ' ')")" || return
  fault_point app-replica-recreated
  inspect_app "$settings" "$APP" || return
  replica_runs_as_wanted "$settings" "$service" "$@" ||
    problem "apps.$APP: $WHY, though $ENV_PATH says so: its compose file sets it itself (environment)" || return
  replica_gets_healthy "$settings" "$service" || return
  begun=$(($(milliseconds) - begun))
  say "$service was recreated and is healthy again after $((begun / 1000)).$((begun % 1000 / 100)) s${REPLICAS[1]:+, the others answered meanwhile}"
  fault_point app-replica-healthy
}

# usage: replica_gets_healthy SETTINGS SERVICE    twice, a second apart; or its last words
replica_gets_healthy() {
  local line bound=$WAIT_SECONDS
  [[ -n $APP_HEALTH ]] || bound=$((bound + ${REPLICA_PATIENCE[$2]:-0}))
  HEALTHY_SINCE='' VERDICT=''
  if wait_for "$bound" "$2 to be healthy" replica_has_a_verdict "$1" "$2" && [[ $VERDICT == healthy ]]; then return 0; fi
  [[ $VERDICT != ending ]] || problem "$2 does not stay up: $WHY" || true
  [[ -z ${REPLICA_ID[$2]:-} ]] || while IFS= read -r line; do say "  $2: $(masked "$line")"; done \
    < <(call "$CALL_SECONDS" docker logs --tail 5 "${REPLICA_ID[$2]}" 2>&1)
  return 1
}

# usage: replica_has_a_verdict SETTINGS SERVICE    VERDICT is healthy, or ending for one that ends again and again
replica_has_a_verdict() {
  inspect_app "$1" "$APP" || return
  if replica_is_healthy "$2"; then
    HEALTHY_SINCE=${HEALTHY_SINCE:-$(milliseconds)}
    VERDICT=healthy
    (($(milliseconds) - HEALTHY_SINCE >= 1000))
    return
  fi
  HEALTHY_SINCE=''
  VERDICT=ending
  [[ ${REPLICA_STATE[$2]:-} == exited ]] || ((${REPLICA_RESTARTS[$2]:-0} >= 3)) && return
  VERDICT=''
  return 1
}
