# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# An app's flip: proved beforehand from its own host, its env file changed in the step's lines, its replicas recreated one
# after another, and seen by the server afterwards. On any failure all of it goes back.

# The step variables under way; with none, everything of every app is verified.
STEPPED=()
# VARIABLE=VALUE of the preflight that was passed, and the tracks that a deploy took out of the env file: a step of the same
# app puts them in again.
PREFLIGHTED='' REPAIRED=()

# usage: preflight_app_database NOW NEXT VARIABLE
preflight_app_database() {
  preflight_track "$1" "$2" "$3" postgres
}

# usage: preflight_app_redis NOW NEXT VARIABLE
preflight_app_redis() {
  preflight_track "$1" "$2" "$3" redis
}

# usage: app_is_known APP    whether this host verified the app before. A host without a record, or with a new app, converges,
# and is not asked for a health that the app may not have before that.
app_is_known() { [[ ${RECORDED:-yes} == yes && ,${PREVIOUS[APPS]:-$1}, == *",$1,"* ]]; }

# usage: an_app_is_here SETTINGS    whether any app of this host is deployed
an_app_is_here() {
  local -n _here=$1
  local app
  for app in $(apps_of "$1"); do [[ ! -e ${_here["apps.$app.ENV_FILE"]} ]] || return 0; done
  return 1
}

# usage: app_runs_so SETTINGS APP TRACKS...    after inspect_app and read_env: env file and every container have it already
app_runs_so() {
  local service track key
  for track in "${@:3}"; do
    wanted_env "$1" "$2" "$track"
    for key in ${TRACK_KEYS[$track]}; do
      [[ -z ${WANTED[$key]+set} ]] || env_says "$key" || {
        WHY="$ENV_PATH says ${ENV_VALUE[$key]:+$key=}${ENV_VALUE[$key]:-no $key}, wanted is ${WANTED[$key]}"
        return 1
      }
    done
  done
  for service in "${REPLICAS[@]}"; do
    [[ -z ${REPLICA_ID[$service]:-} ]] || replica_runs_as_wanted "$1" "$service" "${@:3}" || return
  done
}

# usage: apply_app_database SETTINGS VARIABLE
apply_app_database() { app_of "$2" && apply_app "$1" "$APP" postgres; }

# usage: apply_app_redis SETTINGS VARIABLE
apply_app_redis() { app_of "$2" && apply_app "$1" "$APP" redis; }

# usage: apply_app SETTINGS APP TRACK    file, replicas, sessions; nothing where all of it is so already. Where no transaction
# would put it back (settings that are only applied again, a host without a record) it does so itself.
apply_app() {
  local -n _applied=$1
  local variable why
  local -a tracks
  variable=apps.$2.${TRACK_VARIABLE[$3]}
  inspect_app "$1" "$2" && read_env "${_applied["apps.$2.ENV_FILE"]}" || return
  if [[ -z ${RESTORING:-} && $PREFLIGHTED != "$variable=$(variable_value "$1" "$variable")" ]]; then
    ! app_runs_so "$1" "$2" "$3" || return 0
    preflight_track "$1" "$1" "$variable" "$3" || return
  fi
  tracks=("$3" "${REPAIRED[@]}")
  PREFLIGHTED=''
  change_app "$1" "$2" "${tracks[@]}" && return
  if [[ -n ${RESTORING:-} || ${RECORDED:-no} == yes && -e $VOICEAI_STATE/intent ]]; then return 1; fi
  why=$REASON
  undo_app "$1" "$2" "${tracks[@]}" || say "$REASON"
  REASON=$why
  return 1
}

# usage: change_app SETTINGS APP TRACKS...    of apply_app
change_app() {
  local track
  edit_env "$@" || return
  fault_point app-env-written
  ((${#REPLICA_ID[@]})) || {
    say "apps.$2 does not run here: its env file says what it will start with"
    return 0
  }
  ! app_runs_so "$@" || return 0
  APP=$2
  roll_app "$@" || return
  [[ -z ${RESTORING:-} ]] || return 0
  for track in "${@:3}"; do
    wait_for "$(sessions_bound "$track")" "the sessions of $2 to be $(wanted_way "$1" "$2" "$track") (an idle app connects late)" \
      sessions_are "$1" "$2" "$track" all || return
  done
}

# usage: undo_app SETTINGS APP TRACKS...    the env file as it was before this run, and the replicas that had the new one
undo_app() {
  local -n _undone=$1
  local -A BACK=()
  local RESTORING=yes track key
  trap '' TERM INT
  STOPPED=''
  say "putting back what the env file of $2 said"
  copy_settings "$1" BACK
  read_env "${_undone["apps.$2.ENV_FILE"]}" || return
  for track in "${@:3}"; do
    [[ ! -f $APP_STATE/$2.$track.undo ]] || restore_lines "$2" "$APP_STATE/$2.$track.undo"
    # What it said is what is wanted now, whatever that was.
    for key in ${TRACK_KEYS[$track]}; do
      BACK["apps.$2.$key"]=${ENV_VALUE[$key]:-}
      [[ $key != REDIS_TLS_PORT ]] || BACK[$key]=${ENV_VALUE[$key]:-}
    done
  done
  change_app BACK "${@:2}"
}

# usage: first_sessions SETTINGS TRACKS...    of the canary: the server sees at least one session as wanted
first_sessions() {
  local track
  for track in "${@:2}"; do
    wait_for "$(sessions_bound "$track")" "a first session of $APP to be $(wanted_way "$1" "$APP" "$track")" \
      sessions_are "$1" "$APP" "$track" some || return
  done
}

# usage: sessions_bound TRACK    prints seconds. A sslmode in the address is no matter of waiting.
sessions_bound() {
  if [[ $1 == postgres && -n ${URL_QUERY[sslmode]:-} ]]; then printf '%s' "$RELOAD_SECONDS"; else printf '%s' "$WAIT_SECONDS"; fi
}

# usage: app_tracks SETTINGS APP    prints what it uses
app_tracks() {
  local use
  for use in postgres redis; do ! app_uses "$1" "$2" "$use" || printf '%s\n' "$use"; done
}

# usage: stepped_tracks SETTINGS APP    prints the tracks that the steps under way are about, all of them when none is: what
# another deploy did to another app must not fail a step, nor its way back
stepped_tracks() {
  local track
  for track in $(app_tracks "$1" "$2"); do
    ((${#STEPPED[@]})) && ! one_of "apps.$2.${TRACK_VARIABLE[$track]}" "${STEPPED[@]}" || printf '%s\n' "$track"
  done
}

# usage: app_still_trusts SETTINGS APP    after a new certificate: a handshake of each of its uses that verifies; WHY
app_still_trusts() {
  local track
  inspect_app "$1" "$2" || {
    WHY=$REASON
    return 1
  }
  for track in $(app_tracks "$1" "$2"); do
    [[ $(wanted_way "$1" "$2" "$track") == tls ]] && ((${#REPLICA_ID[@]})) || continue
    if [[ $track == redis ]]; then redis_login "$1" "$2" || return; else database_login "$1" "$2" || return; fi
  done
}

# usage: app_holds SETTINGS APP    WHY says what does not hold
app_holds() {
  local -n _holding=$1
  local track service
  local -a tracks
  if [[ ${STEPPED[*]} == CERTIFICATE_GENERATION ]]; then
    app_still_trusts "$1" "$2"
    return
  fi
  mapfile -t tracks < <(stepped_tracks "$1" "$2")
  ((${#tracks[@]})) || return 0
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
    # None at all is no failure here: an idle app has none.
    SEEN_AT=''
    sessions_are "$1" "$2" "$track" all || [[ -n $SEEN_AT && $SEEN_PLAIN == 0 ]] ||
      checked FAILED "$2: all of its sessions should be in TLS" "$WHY" || return
    checked ok "$2: $SEEN_AT $SEEN_TLS sessions in TLS and none in plaintext"
  done
}

# usage: show_app SETTINGS APP    a line of --status
show_app() {
  local service track states='' variable
  inspect_app "$1" "$2" 2>/dev/null || {
    printf 'app          %s: %s\n' "$2" "$REASON"
    return
  }
  for service in "${REPLICAS[@]}"; do states+=", $service ${REPLICA_STATE[$service]:-absent}"; done
  printf 'app          %s: %s\n' "$2" "${states#, }"
  for track in $(app_tracks "$1" "$2"); do
    variable=${TRACK_VARIABLE[$track]} states=''
    for service in "${REPLICAS[@]}"; do states+=", $service ${REPLICA_ENV["$service $variable"]:-nothing}"; done
    sessions_are "$1" "$2" "$track" all || true
    printf '             %s: %s; %s\n' "$variable" "${states#, }" "$WHY"
  done
}
