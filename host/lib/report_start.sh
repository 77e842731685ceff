# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004,SC2016 # `a && b || report` is meant as such; the keys of an array are words; scripts
# What a start of a server's container would serve, proved the way that a start reads it:
#
#   Postgres   `postgres -C` with the container's own command line, which reads every file as a start does
#   PgBouncer  a scratch process with the same ini and files, on a port of loopback, dialed in plaintext and in TLS as far as
#              Postgres
#   Redis      a scratch process with the same files, on ports of loopback, without the data
#   an app     a login from its own host as a replica is to log in, refused by another CA where it verifies
#   collector  a handshake as the collector makes it, where it is to use TLS
#
# In a deployment of the site's own no scratch process is started: its start may do more than ours; there the files alone are
# looked at, which is said.
#
# Guarantees: a scratch process has its files in a directory of its own in memory, and it and they are gone at the end.

# usage: start_words ROLE    WORDS are the server's own words of its container's command line; fails where it is not among them
start_words() {
  local -a words
  local i
  IFS=$'\x1e' read -ra words <<<"${ARGUMENTS_OF[$1]}"
  WORDS=()
  for ((i = 0; i < ${#words[@]}; i++)); do
    [[ ${words[i]##*/} == "$(server_command "$1")" ]] || continue
    WORDS=("${words[@]:i+1}")
    return 0
  done
  return 1
}

# Whether the certificate's files can be used by the server's own user, as at a start.
FILES_SCRIPT='
cd /etc/ssl/internal 2>/dev/null && for file in server.crt server.key ca.crt; do
  [ ! -e "$file" ] || [ -r "$file" ] || printf "problem\037/etc/ssl/internal/%s is not readable by uid %s\n" "$file" "$(id -u)"
done'

POSTGRES_START="$FILES_SCRIPT"'
for name in ssl ssl_cert_file ssl_key_file; do
  answer=$(timeout 5 postgres "$@" -C "$name" 2>&1) || { printf "problem\037postgres -C %s: %s\n" "$name" "$(printf %s "$answer" | tr "\n" " " | tail -c 300)"; continue; }
  printf "reads\037%s\037%s\n" "$name" "$(printf %s "$answer" | tail -n 1)"
done
mode=$(stat -L -c "%a %u" /etc/ssl/internal/server.key 2>/dev/null)
case $mode in "" | "600 $(id -u)" | "640 0") ;; *) printf "problem\037server.key has mode and owner %s, Postgres wants 600 %s\n" "$mode" "$(id -u)" ;; esac'

# Port, ini, program of ini-block.awk, conninfo in plaintext, conninfo in TLS.
PGBOUNCER_START="$FILES_SCRIPT"'
port=$1 ini=$2 program=$3 plain=$4 tls=$5
umask 077
dir=$(mktemp -d /dev/shm/internal-tls.XXXXXX) || exit
trap "rm -rf \"$dir\"" EXIT
printf "%s\n" "listen_addr = 127.0.0.1" "listen_port = $port" "unix_socket_dir =" "pidfile =" "logfile =" "syslog = 0" >"$dir/block"
awk -v "block=$dir/block" "$program" "$ini" >"$dir/ini" || { printf "problem\037%s has no section [pgbouncer]\n" "$ini"; exit; }
pgbouncer "$dir/ini" >"$dir/log" 2>&1 &
pid=$!
'"${DIAL_SCRIPT%%while*}"'
tries=0
while kill -0 "$pid" 2>/dev/null && ! grep -q "process up" "$dir/log" && [ "$tries" -lt 40 ]; do sleep 0.05; tries=$((tries + 1)); done
if kill -0 "$pid" 2>/dev/null; then
  { dial plain "$plain" & dial tls "$tls" & wait; } | sed "s/\t/\o037/; s/^/dial\o037/"
  # SIGTERM would wait for clients.
  kill -QUIT "$pid"
  wait "$pid" 2>/dev/null
else
  printf "problem\037pgbouncer does not start: %s\n" "$(grep -E "FATAL|ERROR" "$dir/log" | tail -n 1 | tail -c 300)"
fi'

# Plaintext port, TLS port, then the words of a start.
REDIS_START="$FILES_SCRIPT"'
export REDISCLI_AUTH=${REDISCLI_AUTH:-$(cat /usr/local/etc/redis/password)}
plain=$1 tls=$2
shift 2
umask 077
dir=$(mktemp -d /dev/shm/internal-tls.XXXXXX) || exit
trap "rm -rf \"$dir\"" EXIT
# The last line of each counts, of included files too, and the command line after them.
ports=$({ awk '"'"'
  function flat(file, line, words) {
    while ((getline line <file) > 0) {
      split(line, words, /[ \t]+/)
      sub(/^[ \t]+/, "", line); split(line, words, /[ \t]+/)
      if (tolower(words[1]) == "include") { gsub(/"/, "", words[2]); flat(words[2]) } else print tolower(words[1]), words[2]
    }
  }
  BEGIN { if (ARGV[1] != "" && ARGV[1] !~ /^-/) flat(ARGV[1]); for (i = 1; i < ARGC; i++) if (ARGV[i] ~ /^--/) print tolower(substr(ARGV[i], 3)), ARGV[i + 1] }'"'"' "$@"; } |
  awk "\$1 == \"port\" || \$1 == \"tls-port\" { found[\$1] = \$2 } END { print (\"port\" in found ? found[\"port\"] : 6379), (\"tls-port\" in found ? found[\"tls-port\"] : 0) }")
printf "reads\037port\037%s\nreads\037tls-port\037%s\n" "${ports% *}" "${ports#* }"
[ "${ports% *}" != 0 ] || plain=0
[ "${ports#* }" != 0 ] || tls=0
redis-server "$@" --bind 127.0.0.1 --port "$plain" --tls-port "$tls" --dir "$dir" --appendonly no --save "" --pidfile "$dir/pid" \
  --logfile "" --daemonize no >"$dir/log" 2>&1 &
pid=$!
ask() { timeout 4 redis-cli "$@" PING 2>&1 | tr "\n" " "; }
tries=0
while kill -0 "$pid" 2>/dev/null && ! grep -q "Ready to accept\|ready to accept" "$dir/log" && [ "$tries" -lt 40 ]; do sleep 0.05; tries=$((tries + 1)); done
if kill -0 "$pid" 2>/dev/null; then
  [ "$plain" = 0 ] || printf "dial\037plain\037%s\n" "$(ask -p "$plain")"
  [ "$tls" = 0 ] || printf "dial\037tls\037%s\n" "$(ask -p "$tls" --tls --cacert /etc/ssl/internal/ca.crt)"
  kill "$pid"
  wait "$pid" 2>/dev/null
else
  printf "problem\037redis-server does not start: %s\n" "$(grep -v "^ *$" "$dir/log" | tail -n 4 | tr "\n" " " | tail -c 300)"
fi'

# usage: scratch_port    prints a port above those that are usually taken
scratch_port() { printf '%s' "$((61000 + RANDOM % 4000))"; }

# usage: try_start ROLE    after start_words: prints what the role's script finds
try_start() {
  local port verified='sslmode=verify-ca sslrootcert=/etc/ssl/internal/ca.crt'
  port=$(scratch_port)
  case $1 in
    postgres) docker_exec postgres sh -c "$POSTGRES_START" start "${WORDS[@]}" ;;
    redis) docker_exec redis sh -c "$REDIS_START" start "$port" "$((port + 1))" "${WORDS[@]}" ;;
    pgbouncer)
      docker_exec pgbouncer sh -c "$PGBOUNCER_START" start "$port" "${WORDS[-1]:-}" "$(<"$BUNDLE/templates/ini-block.awk")" \
        "$(scratch_conninfo "$port" sslmode=disable)" "$(scratch_conninfo "$port" "$verified")"
      ;;
  esac 2>&1
}

# usage: scratch_conninfo PORT WORDS
scratch_conninfo() {
  printf 'host=127.0.0.1 port=%s user=voiceai dbname=voiceai connect_timeout=5 gssencmode=disable application_name=%s %s' "$1" "$PROBE" "$2"
}

# usage: prove_start SETTINGS ROLE    prints what a start would serve, as JSON
prove_start() {
  local start='' problems='' key first second line
  local -A reads=() dials=()
  local -a WORDS
  if [[ $DEPLOYMENT == yes ]]; then
    put start proof files
  elif ! start_words "$2"; then
    put start proof none
    json_string "the command line of ${CONTAINER[$2]} does not tell how $(server_command "$2") is started"
    add_to problems "$JSON"
  else
    if [[ $2 == postgres ]]; then put start proof 'postgres -C'; else put start proof 'scratch process'; fi
    # Postgres itself says so of its settings.
    [[ $2 != redis ]] || for line in "${WORDS[@]}"; do
      [[ ! $line =~ ^--(port|tls-[a-z-]+)$ ]] || reads['command line']+="${reads['command line']:+ }$line"
    done
    while IFS= read -r line; do
      IFS=$FIELD read -r key first second <<<"$line"
      case $key in
        reads) reads[$first]=$second ;;
        dial) dials[$first]=$second ;;
        problem) json_string "$first" && add_to problems "$JSON" ;;
      esac
    done < <(try_start "$2")
    ((${#reads[@]} + ${#dials[@]})) || [[ -n $problems ]] || {
      json_string "the proof of a start of ${CONTAINER[$2]} gave no answer"
      add_to problems "$JSON"
    }
  fi
  while IFS= read -r line; do
    [[ -n $line ]] && json_string "$line" && add_to problems "$JSON"
  done < <(certificate_holds "$1" 2>&1)
  start_object
}

# usage: start_object    prints `start` with reads, dials and problems, as JSON
start_object() {
  put_map start reads reads
  put_map start dials dials
  put_raw start problems "[${problems%,}]"
  printf '{%s}' "${start%,}"
}

# usage: prove_app_start SETTINGS APP TRACKS...    prints what a replica's login would meet: `accepted`, or why not, by track
prove_app_start() {
  local start='' problems='' track login
  local -A reads=() dials=()
  put start proof login
  for track in "${@:3}"; do
    login=database_login WHY=''
    [[ $track != redis ]] || login=redis_login
    if "$login" "$1" "$2" 2>/dev/null; then dials[$track]=accepted; else dials[$track]=${WHY:0:400}; fi
  done
  start_object
}

# usage: prove_otel_start SETTINGS    prints what the collector's handshake would meet, as of an app
prove_otel_start() {
  local start='' problems=''
  local -A reads=() dials=()
  if [[ $(variable_value "$1" REDIS_TLS_ENABLED) == true ]]; then
    put start proof handshake
    WHY=''
    if otel_can_verify "$1" 2>/dev/null; then dials[redis]=accepted; else dials[redis]=${WHY:-$REASON}; fi
  else
    put start proof files
  fi
  start_object
}
