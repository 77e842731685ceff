# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# An app's env file: the lines of a step's variables are changed in place, every other byte stays.
#
# It is read as docker compose reads it: KEY=value or KEY: value, perhaps after `export`, perhaps in quotes; ` #` begins a
# comment; a quoted value may run over lines; the last line of a key is the one that counts.
#
# What is remembered, in /var/lib/voiceai/apps, is a line a key: "KEY BEFORE WRITTEN", each line in base64, `-` for none.
#
#   APP.TRACK.first   what stood there before the step was first taken: the way back restores it
#   APP.TRACK.undo    what stood there before this transaction: putting back restores it
#   APP.ended         SHA-256 of a last line that had no line end until something was added after it
#
# A line that is not what was written here is somebody else's by now: it is never restored over, only set.

APP_STATE=$VOICEAI_STATE/apps
ENV_ASSIGNMENT='^([[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_.]*)[[:space:]]*[=:])(.*)$'
declare -A ENV_AT=() ENV_VALUE=()
declare -A TRACK_VARIABLE=([postgres]=DATABASE_SSL_MODE [redis]=REDIS_TLS_ENABLED)
declare -A TRACK_KEYS=(
  [postgres]='DATABASE_SSL_MODE DATABASE_SSL_CA_FILE'
  [redis]='REDIS_TLS_ENABLED REDIS_TLS_CA_FILE REDIS_TLS_PORT'
)

# usage: wanted_env SETTINGS APP postgres|redis    WANTED[key] is what the env file must say; of a step that is not taken
# only its variable, where the file has it at all (see env_says)
wanted_env() {
  local -n _lined=$1
  local variable=${TRACK_VARIABLE[$3]} value
  value=$(variable_value "$1" "apps.$2.$variable")
  declare -gA WANTED=([$variable]=$value)
  INITIAL=no
  if [[ $value == "${INITIAL_VALUE["apps.$variable"]}" ]]; then
    INITIAL=yes
  elif [[ $3 == postgres ]]; then
    WANTED[DATABASE_SSL_CA_FILE]=${_lined["apps.$2.DATABASE_SSL_CA_FILE"]:-}
  else
    WANTED[REDIS_TLS_CA_FILE]=${_lined["apps.$2.REDIS_TLS_CA_FILE"]:-}
    WANTED[REDIS_TLS_PORT]=${_lined[REDIS_TLS_PORT]:-}
  fi
}

# usage: split_line LINE    LINE_PREFIX LINE_KEY LINE_QUOTE LINE_RAW (the value as it stands) LINE_TAIL LINE_END; LINE_OPEN
# is set where a quote is not closed on this line. Fails for a line that assigns nothing.
split_line() {
  local LC_ALL=C text=${1%$'\n'} rest head
  LINE_END='' LINE_QUOTE='' LINE_OPEN=''
  if [[ $1 == *$'\n' ]]; then
    LINE_END=$'\n'
    [[ $text != *$'\r' ]] || LINE_END=$'\r\n' text=${text%$'\r'}
  fi
  LINE_BODY=$text
  [[ $text =~ $ENV_ASSIGNMENT ]] || return
  LINE_PREFIX=${BASH_REMATCH[1]} LINE_KEY=${BASH_REMATCH[3]} rest=${BASH_REMATCH[4]}
  if [[ $rest =~ ^([[:blank:]]+)([^#[:blank:]].*)$ ]]; then
    LINE_PREFIX+=${BASH_REMATCH[1]} rest=${BASH_REMATCH[2]}
  fi
  if [[ $rest =~ ^\"(([^\\\"]|\\.)*)(\"?)(.*)$ || $rest =~ ^\'(([^\'])*)(\'?)(.*)$ ]]; then
    LINE_QUOTE=${rest:0:1} LINE_RAW=${BASH_REMATCH[1]} LINE_TAIL=${BASH_REMATCH[4]}
    [[ -n ${BASH_REMATCH[3]} ]] || LINE_OPEN=yes
  else
    head=${rest%%[[:blank:]]#*}
    LINE_RAW=${head%"${head##*[![:space:]]}"}
    LINE_TAIL=${rest:${#LINE_RAW}}
  fi
}

# usage: scan_env    ENV_AT[key] is the number of the line that counts, ENV_VALUE[key] what it says; not interpolated
scan_env() {
  local i open=''
  declare -gA ENV_AT=() ENV_VALUE=()
  for ((i = 0; i < ${#ENV_LINES[@]}; i++)); do
    if [[ -n $open ]]; then
      [[ ${ENV_LINES[i]} != *"$open"* ]] || open=''
      continue
    fi
    split_line "${ENV_LINES[i]}" || continue
    [[ -z $LINE_OPEN ]] || open=$LINE_QUOTE
    ENV_AT[$LINE_KEY]=$i
    [[ $LINE_QUOTE != '"' ]] || {
      LINE_RAW=${LINE_RAW//\\\"/\"} LINE_RAW=${LINE_RAW//\\\$/\$}
      LINE_RAW=${LINE_RAW//\\\\/\\}
    }
    ENV_VALUE[$LINE_KEY]=$LINE_RAW
  done
}

# usage: read_env FILE    ENV_LINES with their line ends, scanned. ENV_PATH is the file behind a symbolic link, so that a
# rename replaces the file and not the link.
read_env() {
  local LC_ALL=C text
  ENV_LINES=()
  scan_env
  ENV_PATH=$(readlink -f -- "$1") && [[ -f $ENV_PATH && -r $ENV_PATH ]] ||
    problem "$1: there is no such file, or it cannot be read" || return
  mapfile ENV_LINES <"$ENV_PATH"
  printf -v text '%s' "${ENV_LINES[@]}"
  [[ ${#text} == "$(stat -c %s "$ENV_PATH")" ]] ||
    problem "$1 is no text: it has a byte 0" || return
  scan_env
}

# usage: env_says KEY    whether the file says WANTED[KEY]; nothing said is the initial value
env_says() {
  if [[ -z ${ENV_VALUE[$1]:-} ]]; then [[ $INITIAL == yes ]]; else [[ ${ENV_VALUE[$1]} == "${WANTED[$1]}" ]]; fi
}

# usage: env_body KEY    BODY is the key's line without its end; fails where there is none
env_body() {
  BODY=''
  [[ -n ${ENV_AT[$1]+set} ]] || return
  split_line "${ENV_LINES[${ENV_AT[$1]}]}" || true
  BODY=$LINE_BODY
}

# usage: put_env_value KEY VALUE    in the key's line, or in a new one at the end
put_env_value() {
  local at=${ENV_AT[$1]:-}
  if [[ -z $at ]]; then
    append_env_line "$1=$2"
    return
  fi
  split_line "${ENV_LINES[at]}"
  [[ -z $LINE_OPEN ]] || problem "$ENV_PATH, line $((at + 1)): the quote of $1 is not closed there" || return
  ENV_LINES[at]=$LINE_PREFIX$LINE_QUOTE$2$LINE_QUOTE$LINE_TAIL$LINE_END
}

# usage: append_env_line TEXT    with the file's own line end
append_env_line() {
  local last=$((${#ENV_LINES[@]} - 1)) end=$'\n'
  [[ ${ENV_LINES[*]} != *$'\r\n'* ]] || end=$'\r\n'
  if ((last >= 0)) && [[ ${ENV_LINES[last]} != *$'\n' ]]; then
    ENV_ENDED=yes
    ENV_LINES[last]+=$end
  fi
  ENV_LINES+=("$1$end")
}

# usage: restore_lines APP MEMORY    every remembered line that still is what was written there becomes what it was
restore_lines() {
  local i key before written ended
  local -a lines
  mapfile -t lines <"$2"
  # The last first: lines that were added leave in the opposite order.
  for ((i = ${#lines[@]} - 1; i >= 0; i--)); do
    read -r key before written <<<"${lines[i]}"
    env_body "$key" && [[ $(encoded "$BODY") == "$written" ]] || continue
    if [[ $before == - ]]; then
      unset "ENV_LINES[${ENV_AT[$key]}]"
      ENV_LINES=("${ENV_LINES[@]}")
    else
      ENV_LINES[${ENV_AT[$key]}]=$(base64 -d <<<"$before")$LINE_END
    fi
    scan_env
  done
  ended=$(cat "$APP_STATE/$1.ended" 2>/dev/null) && ((${#ENV_LINES[@]})) || return 0
  split_line "${ENV_LINES[-1]}" || true
  [[ $(sha256sum <<<"$LINE_BODY") != "$ended" ]] || ENV_LINES[-1]=$LINE_BODY
}

# usage: encoded TEXT    prints base64, of one line
encoded() { printf %s "$1" | base64 -w 0; }

# usage: memory_text TRACK BODIES [MEMORY]    prints what to remember: for each key BODIES[key] before, or, where that is
# what MEMORY says was written here, what MEMORY has; and what stands there now
memory_text() {
  local -n _bodies=$2
  local key before written was wrote
  for key in ${TRACK_KEYS[$1]}; do
    before=-
    [[ -z ${_bodies[$key]+set} ]] || before=$(encoded "${_bodies[$key]}")
    if [[ -n ${3:-} && -f $3 ]]; then
      read -r was wrote < <(sed -n "s/^$key //p" "$3") || true
      [[ $before != "${wrote:-}" ]] || before=$was
    fi
    written=-
    ! env_body "$key" || written=$(encoded "$BODY")
    printf '%s %s %s\n' "$key" "$before" "$written"
  done
}

# usage: edit_env SETTINGS APP TRACKS...    the app's env file says what SETTINGS say, or, while RESTORING, what it said
# before. EDITED tells whether it had to be changed.
edit_env() {
  local -n _edited=$1
  local settings=$1 app=$2 track key before text
  local -A BODIES=()
  shift 2
  EDITED=no ENV_ENDED=no
  read_env "${_edited["apps.$app.ENV_FILE"]}" || return
  printf -v before '%s' "${ENV_LINES[@]}"
  for track in "$@"; do
    for key in ${TRACK_KEYS[$track]}; do ! env_body "$key" || BODIES[$key]=$BODY; done
  done
  for track in "$@"; do edit_track "$settings" "$app" "$track" || return; done
  printf -v text '%s' "${ENV_LINES[@]}"
  [[ $text != "$before" ]] || return 0
  make_dir "$APP_STATE" 0700 || return
  [[ $ENV_ENDED == no ]] || write_file "$APP_STATE/$app.ended" 0600 0:0 "$(sha256sum <<<"${before##*$'\n'}")" || return
  if [[ -z ${RESTORING:-} ]]; then
    for track in "$@"; do remember_track "$settings" "$app" "$track" || return; done
  fi
  fault_point app-env-remembered
  write_env && EDITED=yes
}

# usage: edit_track SETTINGS APP TRACK    in ENV_LINES
edit_track() {
  local key memory=$APP_STATE/$2.$3
  wanted_env "$1" "$2" "$3"
  if [[ -n ${RESTORING:-} && -f $memory.undo ]]; then
    restore_lines "$2" "$memory.undo"
  elif [[ $INITIAL == yes && -f $memory.first ]]; then
    restore_lines "$2" "$memory.first"
  fi
  for key in ${TRACK_KEYS[$3]}; do
    [[ -n ${WANTED[$key]+set} ]] && ! env_says "$key" || continue
    put_env_value "$key" "${WANTED[$key]}" || return
    scan_env
  done
}

# usage: remember_track SETTINGS APP TRACK    of edit_env: before the file is replaced
remember_track() {
  local memory=$APP_STATE/$2.$3
  write_file "$memory.undo" 0600 0:0 "$(memory_text "$3" BODIES)" || return
  wanted_env "$1" "$2" "$3"
  [[ $INITIAL == yes ]] || write_file "$memory.first" 0600 0:0 "$(memory_text "$3" BODIES "$memory.first")"
}

# usage: forget_undo    with the end of a transaction, before its intent goes
forget_undo() { rm -f "$APP_STATE"/*.undo; }

# usage: write_env    ENV_LINES to ENV_PATH, whole or not at all, with its mode, owner and further attributes
write_env() {
  local new=${ENV_PATH%/*}/.${ENV_PATH##*/}.new
  if (umask 077 && rm -f "$new" && cp --attributes-only --preserve=all -- "$ENV_PATH" "$new" &&
    printf '%s' "${ENV_LINES[@]}" >"$new" && sync "$new" && mv -fT "$new" "$ENV_PATH") 2>/dev/null; then
    return 0
  fi
  rm -f "$new"
  problem "cannot write $ENV_PATH: no permission, or the disk is full; what was there is unchanged"
}
