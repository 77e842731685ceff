# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# An app's part of a report: its replicas, what they run with, what its env file says, and how the servers see its sessions.
# Of both only the step's own keys: whatever else stands there is nobody's business.

# usage: modes_object ENV|FILE SERVICE    JSON is what the replica's container, or the env file, has for the steps' keys
modes_object() {
  local track key value
  local -A found=()
  for track in "${tracks[@]}"; do
    for key in ${TRACK_KEYS[$track]}; do
      if [[ $1 == ENV ]]; then value=${REPLICA_ENV["$2 $key"]:-}; else value=${ENV_VALUE[$key]:-}; fi
      [[ -z $value ]] || found[$key]=${value:0:200}
    done
  done
  local object=''
  put_map object modes found
  object=${object#*:}
  JSON=${object%,}
}

# usage: replica_object SERVICE    JSON is one replica
replica_object() {
  local replica=''
  put replica service "$1"
  put replica container "${REPLICA_NAME[$1]:-}"
  put replica state "${REPLICA_STATE[$1]:-absent}"
  put replica health "${REPLICA_HEALTH[$1]:-}"
  put replica startedAt "${REPLICA_STARTED[$1]:-}"
  put replica restartPolicy "${REPLICA_POLICY[$1]:-}"
  modes_object ENV "$1"
  put_raw replica modes "$JSON"
  JSON="{${replica%,}}"
}

# usage: sessions_object SETTINGS APP TRACK    prints what the server says of the app's sessions, or why it is not known
sessions_object() {
  local seen=''
  local -a asks=(see_database_sessions "$1" "$2")
  # What is served may not be what was verified.
  [[ $3 != redis ]] || asks=(see_redis_sessions "$1" "$2" "$(redis_way "$1" "$2")" tls plain)
  WHY=''
  if "${asks[@]}" 2>/dev/null; then
    put_number seen tls "$SEEN_TLS"
    put_number seen plaintext "$SEEN_PLAIN"
    put seen by "${SEEN_AT#* sees from }"
    [[ $3 == redis ]] || put seen urlSslmode "${URL_QUERY[sslmode]:-}"
  else
    put seen unknown "${WHY:0:300}"
  fi
  printf '{%s}' "${seen%,}"
}

# usage: report_app SETTINGS RESTART APP    JSON is one app
report_app() {
  local -n _app=$1
  local app='' list='' sessions='' file='' service track one
  local -a tracks
  local -A asking=()
  mapfile -t tracks < <(app_tracks "$1" "$3")
  put app name "$3"
  put app kind "${_app["apps.$3.KIND"]:-}"
  list_of "${tracks[@]}"
  put_raw app uses "$JSON"
  REASON='' ENV_VALUE=()
  put file path "${_app["apps.$3.ENV_FILE"]:-}"
  if ! inspect_app "$1" "$3" 2>/dev/null; then
    put app problem "$REASON"
    JSON="{${app%,}}"
    return
  fi
  put_truth file readable read_env "${_app["apps.$3.ENV_FILE"]}" 2>/dev/null
  # Again: a file that could be read only now may have a password of its own.
  read_secrets
  for track in "${tracks[@]}"; do
    exec {one}< <(sessions_object "$1" "$3" "$track")
    asking[$track]=$one
  done
  for service in "${REPLICAS[@]}"; do
    replica_object "$service"
    add_to list "$JSON"
  done
  put_raw app replicas "[${list%,}]"
  modes_object FILE ''
  put_raw file modes "$JSON"
  put_raw app envFile "{${file%,}}"
  for track in "${tracks[@]}"; do put_raw sessions "$track" "$(cat <&"${asking[$track]}")"; done
  put_raw app sessions "{${sessions%,}}"
  # Not before: its own logins at Redis have no name, and would be counted.
  [[ $2 != yes ]] || put_raw app start "$(prove_app_start "$1" "$3" "${tracks[@]}")"
  JSON="{${app%,}}"
}
