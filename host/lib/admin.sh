# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# One persistent session on PgBouncer's admin console, and its tables read by column name: columns differ by
# version. One session, because the moment between looking and acting is what counts (see flip in pgbouncer.sh).

ADMIN_SEPARATOR=$FIELD

# usage: admin_open    starts the session, without waiting for it; without a password, as the user that PgBouncer
# runs as. The first query waits.
admin_open() {
  [[ -z ${ADMIN_INPUT:-} ]] || return 0
  local CALL_ARGUMENTS CONSOLE
  console_words
  call_arguments pgbouncer
  { coproc ADMIN {
    exec 9>&-
    with_passwords exec_alone docker exec -i "${CALL_ARGUMENTS[@]}" "${CONTAINER[pgbouncer]}" psql -X -q -A -w -P footer=off \
      -P "fieldsep=$ADMIN_SEPARATOR" "${CONSOLE[@]}" 2>&1
  }; } 2>/dev/null
  # Descriptors of our own: bash closes a coprocess's as soon as it ends, with its last words unread.
  exec {ADMIN_INPUT}>&"${ADMIN[1]}" {ADMIN_OUTPUT}<&"${ADMIN[0]}"
  # shellcheck disable=SC1083  # the form for a descriptor in an array's element
  exec {ADMIN[1]}>&- {ADMIN[0]}<&-
}

# usage: console_words    CONSOLE is where psql finds the console, in PgBouncer's container
console_words() {
  local socket=${SOCKET_OF[pgbouncer]:-/tmp/.s.PGSQL.5432}
  CONSOLE=(-h "${socket%/*}" -p "${socket##*.}" -U pgbouncer -d pgbouncer)
  # A deployment of the site's own may have no socket: see pgbouncer_block.
  [[ $DEPLOYMENT == no || -n ${SOCKET_OF[pgbouncer]:-} ]] || CONSOLE=(-h 127.0.0.1 -p "$(pgbouncer_port)" -U voiceai -d pgbouncer)
}

# usage: pgbouncer_port    prints the port that PgBouncer listens on
pgbouncer_port() {
  local socket=${SOCKET_OF[pgbouncer]:-.${PORT_OF[pgbouncer]:-5432}}
  printf '%s' "${socket##*.}"
}

# usage: exec_alone COMMAND...    in place of this process and in a session of its own: a Ctrl-C, which goes to the whole
# group, would end it in the middle of the way back. What `call` runs is in a group of its own by timeout(1).
exec_alone() { exec setsid "$@"; }

# usage: admin_close    ends the session, if there is one; the next query opens another
admin_close() {
  [[ -n ${ADMIN_INPUT:-} ]] || return 0
  exec {ADMIN_INPUT}>&- {ADMIN_OUTPUT}<&-
  ADMIN_INPUT=''
  [[ -z ${ADMIN_PID:-} ]] || wait "$ADMIN_PID" 2>/dev/null || true
}

# usage: admin_query COMMAND    runs one console command; ADMIN_ROWS gets its lines, the header first
admin_query() {
  local line deadline=$((SECONDS + CALL_SECONDS))
  ADMIN_ROWS=()
  admin_open
  { printf '%s;\n\\echo ::end\n' "$1" >&"$ADMIN_INPUT"; } 2>/dev/null || true
  while IFS= read -r -t "$CALL_SECONDS" line <&"$ADMIN_OUTPUT"; do
    [[ $line != ::end ]] || {
      admin_row_is_error || return 0
      WHY="PgBouncer's admin console: ${ADMIN_ROWS[0]}"
      return 1
    }
    ADMIN_ROWS+=("$line")
    ((SECONDS < deadline)) || break
  done
  WHY="PgBouncer's admin console does not answer${ADMIN_ROWS[0]:+: ${ADMIN_ROWS[0]}}"
  # One that waits for its server would be waited for at its closing.
  [[ -z ${ADMIN_PID:-} ]] || kill "$ADMIN_PID" 2>/dev/null || true
  admin_close
  return 1
}

# usage: admin_row_is_error    whether the answer is an error instead of a table
admin_row_is_error() { [[ ${ADMIN_ROWS[0]:-} =~ ^(ERROR|FATAL|psql:) ]]; }

# usage: admin_column NAME [KEY_COLUMN KEY]    fills ADMIN_COLUMN with a column of ADMIN_ROWS, an element a row, by
# name; only the rows whose KEY_COLUMN is KEY where given. Fails where there is no such column: an answer that is
# not understood must never look like an empty table.
admin_column() {
  local row i wanted=-1 key=-1
  local -a header fields
  ADMIN_COLUMN=()
  IFS=$ADMIN_SEPARATOR read -ra header <<<"${ADMIN_ROWS[0]:-}"
  for ((i = 0; i < ${#header[@]}; i++)); do
    [[ ${header[i]} != "$1" ]] || wanted=$i
    [[ ${header[i]} != "${2:-}" ]] || key=$i
  done
  if ((wanted < 0)) || { (($# > 1)) && ((key < 0)); }; then
    WHY="PgBouncer's admin console has no column $1${2:+ or no column $2} where one was expected"
    return 1
  fi
  for row in "${ADMIN_ROWS[@]:1}"; do
    IFS=$ADMIN_SEPARATOR read -ra fields <<<"$row"
    (($# == 1)) || [[ ${fields[key]:-} == "$3" ]] || continue
    ADMIN_COLUMN+=("${fields[wanted]:-}")
  done
}

# usage: admin_setting KEY    fills ADMIN_VALUE with a live setting, empty where there is none. After a refused
# RELOAD this is the new value, not the one in force: good for what was never refused, no proof of a TLS setting.
admin_setting() {
  ADMIN_VALUE=''
  admin_query 'SHOW CONFIG' && admin_column value key "$1" && ADMIN_VALUE=${ADMIN_COLUMN[0]:-}
}

# usage: admin_table COLUMN...    fills ADMIN_TABLE with these columns of ADMIN_ROWS, a row an element, joined by FIELD.
# Fails where a column is missing, unless its name is given with a `?` before it: then it is empty.
admin_table() {
  local row name i line
  local -a header fields places=()
  ADMIN_TABLE=()
  IFS=$ADMIN_SEPARATOR read -ra header <<<"${ADMIN_ROWS[0]:-}"
  for name in "$@"; do
    places+=(-1)
    for ((i = 0; i < ${#header[@]}; i++)); do [[ ${header[i]} != "${name#\?}" ]] || places[-1]=$i; done
    ((places[-1] >= 0)) || [[ $name == \?* ]] || {
      WHY="PgBouncer's admin console has no column $name where one was expected"
      return 1
    }
  done
  for row in "${ADMIN_ROWS[@]:1}"; do
    IFS=$ADMIN_SEPARATOR read -ra fields <<<"$row"
    line=''
    for i in "${places[@]}"; do
      if ((i >= 0)); then line+=${fields[i]:-}; fi
      line+=$ADMIN_SEPARATOR
    done
    ADMIN_TABLE+=("${line%"$ADMIN_SEPARATOR"}")
  done
}
