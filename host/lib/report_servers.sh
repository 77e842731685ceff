# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004,SC2016 # `a && b || report` is meant as such; the keys of an array are words; scripts
# The servers' part of a report. One call into each container, all of them and the handshakes side by side: a call takes a
# tenth of a second.

# Each script prints lines "KEY<FIELD>…". Arguments are given by position, so that nothing of theirs is read as a script.

# usage: postgres_report SETTINGS    Postgres's own facts, over its Unix socket
postgres_report() {
  local sql separator="E'\\x1f'"
  sql="SELECT concat_ws($separator, 'fact', name, setting, source) FROM pg_settings WHERE name IN ('ssl', 'ssl_cert_file', 'ssl_key_file', 'hba_file')
    UNION ALL SELECT concat_ws($separator, 'over', name, CASE WHEN sourcefile LIKE '%postgresql.auto.conf' THEN 'ALTER SYSTEM' ELSE sourcefile END) FROM pg_file_settings WHERE name IN ('ssl', 'ssl_cert_file', 'ssl_key_file') AND sourcefile LIKE '%postgresql.auto.conf'
    UNION ALL SELECT concat_ws($separator, 'problem', concat_ws(' ', sourcefile, 'line', sourceline, name, error)) FROM pg_file_settings WHERE error IS NOT NULL AND error <> 'setting could not be applied'
    UNION ALL SELECT concat_ws($separator, 'problem', concat_ws(' ', 'pg_hba.conf line', line_number, error)) FROM pg_hba_file_rules WHERE error IS NOT NULL
    UNION ALL SELECT concat_ws($separator, 'plaintextRules', count(*)) FROM pg_hba_file_rules WHERE type IN ('host', 'hostnossl', 'hostnogssenc') AND auth_method <> 'reject'
    UNION ALL SELECT concat_ws($separator, 'client', CASE WHEN s.ssl THEN 'tls' ELSE 'plaintext' END, host(a.client_addr), a.usename, a.application_name || CASE WHEN a.backend_type = 'walsender' THEN ' (replication)' ELSE '' END) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.client_addr IS NOT NULL AND a.pid <> pg_backend_pid()"
  postgres_sql "$sql" 2>&1 || printf 'error\n'
}

PGBOUNCER_REPORT='
at=$1 port=$2 user=$3
shift 3
{'"$DIAL_SCRIPT"'
} &
console=$(printf "\\\\echo ::config\nSHOW CONFIG;\n\\\\echo ::servers\nSHOW SERVERS;\n\\\\echo ::clients\nSHOW CLIENTS;\n" |
  timeout 8 psql -X -q -A -w -P footer=off -P "fieldsep=$(printf "\037")" -h "$at" -p "$port" -U "$user" -d pgbouncer 2>&1)
wait
printf "%s\n" "$console"'

# Reads the console's tables by the names of their columns, which differ by version.
PGBOUNCER_TABLES='
  BEGIN { FS = OFS = "\037" }
  /^::/ { table = substr($0, 3); header = 0; next }
  table == "" { print; next }
  !header { header = 1; delete at; for (i = 1; i <= NF; i++) at[$i] = i; next }
  table == "config" && $at["key"] ~ /^(client_tls|server_tls)_(sslmode|ca_file|cert_file|key_file)$/ { print "fact", $at["key"], $at["value"] }
  table == "servers" { if ($at["close_needed"] == 1) old++; if ($at["tls"] != "") tls++; else plain++ }
  table == "clients" && $at["addr"] !~ /^unix/ && $at["user"] != "pgbouncer" {
    print "client", ($at["tls"] != "" ? "tls" : "plaintext"), $at["addr"], $at["user"], ("application_name" in at ? $at["application_name"] : "")
  }
  END { if (table == "") print "error"; else print "leg", tls + 0, plain + 0, old + 0 }'

# usage: pgbouncer_report SETTINGS
pgbouncer_report() {
  local CONSOLE
  console_words
  docker_exec pgbouncer sh -c "$PGBOUNCER_REPORT" report "${CONSOLE[1]}" "${CONSOLE[3]}" "${CONSOLE[5]}" \
    postgres "$(postgres_conninfo disable)" pgbouncer "$(through_pgbouncer sslmode=disable)" 2>&1 | awk -F '\t' '
    $1 == "postgres" || $1 == "pgbouncer" { printf "dial\037%s\037%s\n", $1, $2; next } { print }' | awk "$PGBOUNCER_TABLES"
}

# usage: postgres_dial_report    where PgBouncer is on another host: Postgres asked in plaintext from its own container
postgres_dial_report() {
  dial_all postgres postgres "$(postgres_conninfo disable)"
  printf 'dial\037postgres\037%s\n' "${DIAL[postgres]:-}"
}

REDIS_REPORT='
export REDISCLI_AUTH=${REDISCLI_AUTH:-$(cat /usr/local/etc/redis/password)}
port=$1
cd /etc/ssl/internal 2>/dev/null
plain() { timeout 4 redis-cli -p "$1" PING 2>&1 | tr "\n" " "; }
answer=$(plain 6379)
printf "plain\037%s\037%s\n" 6379 "$answer"
case $answer in *efused*) set -- -p "$port" --tls --cacert ca.crt ;; *) set -- -p 6379 ;; esac
facts=$(for key in port tls-port tls-cert-file tls-key-file tls-ca-cert-file tls-auth-clients; do echo "CONFIG GET $key"; done |
  timeout 4 redis-cli "$@" 2>&1)
printf "%s\n" "$facts" | while read -r key && read -r value; do printf "fact\037%s\037%s\n" "$key" "$value"; done
own=$(printf "%s\n" "$facts" | sed -n "/^port$/{n;p;q;}")
case $own in "" | 0 | 6379 | *[!0-9]*) ;; *) printf "plain\037%s\037%s\n" "$own" "$(plain "$own")" ;; esac
printf "CLIENT LIST\nINFO server\n" | timeout 4 redis-cli "$@" 2>&1'

# usage: redis_report SETTINGS
redis_report() {
  # shellcheck disable=SC2153  # know_redis sets it
  docker_exec redis sh -c "$REDIS_REPORT" report "$REDIS_PORT" 2>&1
}

# usage: handshake ADDRESS PORT NAME [PROTOCOL]    prints what is served there, from a handshake as a client of NAME that
# trusts the host's CA makes it; nothing where no TLS is
handshake() {
  local text ca=$VOICEAI_TLS/ca.crt
  [[ -r $ca ]] || ca=''
  text=$(tls_client "$1" "$2" "$3" "$ca" "${4:-}") || true
  [[ $text == *'BEGIN CERTIFICATE'* && $text =~ New,\ ([^,]+),\ Cipher\ is\ ([^[:space:]]+) ]] || return 0
  printf 'tls %s %s\n' "${BASH_REMATCH[@]:1:2}"
  [[ ! $text =~ Verify\ return\ code:\ ([[:print:]]*) ]] || printf 'verified %s\n' "${BASH_REMATCH[1]}"
  openssl x509 -noout -serial -enddate -fingerprint -sha256 -ext subjectAltName <<<"$text" 2>/dev/null
}

# usage: served_object TEXT    JSON is what `handshake` printed, null where no TLS is served
served_object() {
  local served='' word protocol cipher verify=''
  [[ $1 == 'tls '*Fingerprint=* ]] || {
    JSON=null
    return
  }
  { read -r word protocol cipher && read -r word verify; } <<<"$1"
  put served protocol "$protocol"
  put served cipher "$cipher"
  put served verify "$verify"
  certificate_object "$1"
  put_raw served certificate "$JSON"
  JSON="{${served%,}}"
}

# usage: plaintext_object ANSWER ACCEPTED REFUSED    JSON is accepted, refused or unknown, and the answer, by patterns
plaintext_object() {
  local asked='' verdict=unknown
  # shellcheck disable=SC2053  # patterns on purpose
  if [[ $1 == $2 ]]; then verdict=accepted; elif [[ $1 == $3 ]]; then verdict=refused; fi
  put asked verdict "$verdict"
  put asked answer "${1:0:300}"
  JSON="{${asked%,}}"
}

# usage: rendered_text SETTINGS ROLE    prints the file that steps change as the settings have it
rendered_text() {
  case $2 in
    postgres) postgres_tls_conf "$(variable_value "$1" POSTGRES_TLS_ENABLED)" ;;
    pgbouncer) pgbouncer_tls_ini "$1" ;;
    redis) redis_tls_conf "$1" ;;
  esac
}

# usage: rendered_object SETTINGS ROLE    JSON is the file that a start reads, and whether it is as the settings have it
rendered_object() {
  local one='' file
  case $2 in
    postgres) file=$VOICEAI_ETC/postgres/conf.d/tls.conf ;;
    pgbouncer) file=$VOICEAI_ETC/pgbouncer/tls.ini ;;
    redis) file=$VOICEAI_ETC/redis/tls.conf ;;
  esac
  put one path "$file"
  put_truth one asVerified file_says "$file" "$(rendered_text "$1" "$2")"
  JSON="{${one%,}}"
}

# usage: file_says FILE TEXT
file_says() { [[ -r $1 && $(<"$1") == "$2" ]]; }

# By role, of inspect_for_report: what docker knows of a container.
declare -A STARTED_OF=() POLICY_OF=() ARGUMENTS_OF=()

# usage: inspect_for_report SETTINGS    STATE_OF, ADDRESS_OF, STARTED_OF, POLICY_OF and ARGUMENTS_OF, in one call
inspect_for_report() {
  local role name state started policy address arguments names=()
  STATE_OF=() ADDRESS_OF=() STARTED_OF=() POLICY_OF=() ARGUMENTS_OF=()
  for role in "${SERVER_ROLES[@]}" otel; do
    has_role "$1" "$role" || continue
    STATE_OF[$role]=absent
    names+=("${CONTAINER[$role]}")
  done
  while IFS=$FIELD read -r name state started policy address arguments; do
    for role in "${!STATE_OF[@]}"; do
      [[ $name == "/${CONTAINER[$role]}" ]] || continue
      STATE_OF[$role]=$state STARTED_OF[$role]=$started POLICY_OF[$role]=$policy
      ADDRESS_OF[$role]=${address%% *} ARGUMENTS_OF[$role]=$arguments
    done
  done < <(call "$CALL_SECONDS" docker container inspect --format \
    "{{.Name}}$FIELD{{.State.Status}}$FIELD{{.State.StartedAt}}$FIELD{{.HostConfig.RestartPolicy.Name}}$FIELD{{range .NetworkSettings.Networks}}{{or .IPAddress \"127.0.0.1\"}} {{end}}$FIELD{{range .Args}}{{.}}"$'\x1e'"{{end}}" "${names[@]}" 2>/dev/null)
}

# usage: report_servers SETTINGS RESTART    adds to REPORT the servers and the collector
report_servers() {
  local role port protocol name servers='' one
  local -n _reported=$1
  local -A reading=() seeing=() proving=()
  know_redis "$1"
  inspect_for_report "$1"
  name=${_reported[DIALED_NAMES]:-localhost} name=${name%%,*}
  for role in "${SERVER_ROLES[@]}"; do
    has_role "$1" "$role" && [[ ${STATE_OF[$role]} == running ]] || continue
    port=5432 protocol=postgres
    case $role in
      pgbouncer) port=$(pgbouncer_port) ;;
      redis) port=$REDIS_PORT protocol='' ;;
    esac
    exec {one}< <("${role}_report" "$1")
    reading[$role]=$one
    exec {one}< <(handshake "${ADDRESS_OF[$role]}" "$port" "$name" "$protocol")
    seeing[$role]=$one
    [[ $2 == yes ]] || continue
    exec {one}< <(prove_start "$1" "$role")
    proving[$role]=$one
  done
  if has_role "$1" postgres && ! has_role "$1" pgbouncer && [[ ${STATE_OF[postgres]} == running ]]; then
    exec {one}< <(postgres_dial_report)
    reading[dial]=$one
  fi
  resolve_clients "$1"
  see_behind_forwarder
  read_answers
  for role in "${SERVER_ROLES[@]}"; do
    has_role "$1" "$role" || continue
    report_server "$@" "$role"
    put_raw servers "$role" "$JSON"
  done
  if has_role "$1" otel; then
    report_otel "$@"
    put_raw servers otel "$JSON"
  fi
  put_raw REPORT servers "{${servers%,}}"
}

# usage: read_answers    of report_servers: ANSWER_OF, SEEN_OF and PROOF_OF by role
read_answers() {
  local role
  declare -gA ANSWER_OF=() SEEN_OF=() PROOF_OF=()
  for role in "${!reading[@]}"; do ANSWER_OF[$role]=$(cat <&"${reading[$role]}"); done
  for role in "${!seeing[@]}"; do SEEN_OF[$role]=$(cat <&"${seeing[$role]}"); done
  for role in "${!proving[@]}"; do PROOF_OF[$role]=$(cat <&"${proving[$role]}"); done
}

# usage: report_server SETTINGS RESTART ROLE    JSON is one server
report_server() {
  local server=''
  put server container "${CONTAINER[$3]}"
  put server state "${STATE_OF[$3]}"
  put server startedAt "${STARTED_OF[$3]:-}"
  put server restartPolicy "${POLICY_OF[$3]:-}"
  rendered_object "$1" "$3"
  put_raw server rendered "$JSON"
  if [[ ${STATE_OF[$3]} == running ]]; then
    served_object "${SEEN_OF[$3]:-}"
    put_raw server served "$JSON"
    report_answers "$1" "$3"
    [[ $2 != yes ]] || put_raw server start "${PROOF_OF[$3]:-null}"
  fi
  JSON="{${server%,}}"
}

# usage: add_redis_client LINE    adds a client of CLIENT LIST to CLIENTS, as clients_object wants it
add_redis_client() {
  redis_client "$1" || return 0
  # shellcheck disable=SC2153  # redis_client sets CLIENT
  CLIENTS+="${CLIENT[way]/plain/plaintext}$FIELD${CLIENT[host]}$FIELD${CLIENT[user]:-}$FIELD${CLIENT[name]:-}"$'\n'
}

# usage: report_answers SETTINGS ROLE    adds to `server` what its own script printed
report_answers() {
  local line key first second third problems='' CLIENTS='' error='' plain=''
  local -A FACTS=() SOURCES=() OVER=() DIALS_OF=()
  while IFS= read -r line; do
    IFS=$FIELD read -r key first second third <<<"$line"
    case $key in
      fact) FACTS[$first]=$second && [[ -z $third ]] || SOURCES[$first]=$third ;;
      over) OVER[$first]=$second ;;
      problem) json_string "$first" && add_to problems "$JSON" ;;
      plaintextRules) put_number server plaintextRules "$first" ;;
      client) CLIENTS+="${line#*"$FIELD"}"$'\n' ;;
      leg) put_leg "$first" "$second" "$third" ;;
      # Of two ports the one that answers counts.
      plain) [[ -n $plain && $second != PONG* ]] || plain=$second ;;
      id=*) add_redis_client "$line" ;;
      config_file:*) FACTS[config_file]=${key#*:} FACTS[config_file]=${FACTS[config_file]%$'\r'} ;;
      error) error=yes ;;
    esac
    [[ $key != dial ]] || DIALED_OF[$first]=$second
  done <<<"${ANSWER_OF[$2]:-}"$'\n'"$([[ $2 != postgres ]] || printf '%s' "${ANSWER_OF[dial]:-}")"
  ((${#FACTS[@]})) || error=yes
  [[ -z $error ]] || put server error "$(head -n 3 <<<"${ANSWER_OF[$2]:-no answer}" | tr '\n' ' ' | cut -c 1-300)"
  put_map server facts FACTS
  put_map server sources SOURCES
  put_map server over OVER
  put_raw server problems "[${problems%,}]"
  case $2 in
    redis) plaintext_object "$plain" '@(PONG|NOAUTH)*' '*efused*' ;;
    postgres) plaintext_object "$(dialed_postgres)" '[tf]' '*no encryption*' ;;
    *) plaintext_object "${DIALED_OF[pgbouncer]:-}" '[tf]' '*SSL required*' ;;
  esac
  put_raw server plaintext "$JSON"
  clients_object "$1" "$2" <<<"$CLIENTS"
  put_raw server clients "$JSON"
}

# What was dialed in plaintext, by server: Postgres is dialed from PgBouncer's container where that is here.
declare -A DIALED_OF=()

# usage: dialed_postgres    prints how Postgres answered in plaintext
dialed_postgres() {
  local line
  [[ -z ${DIALED_OF[postgres]:-} ]] || {
    printf '%s' "${DIALED_OF[postgres]}"
    return
  }
  line=$(grep -m 1 "^dial${FIELD}postgres$FIELD" <<<"${ANSWER_OF[pgbouncer]:-}") || return 0
  printf '%s' "${line##*"$FIELD"}"
}

# usage: put_leg TLS PLAIN OLD    adds to `server` PgBouncer's connections to Postgres
put_leg() {
  local leg=''
  put_number leg tls "$1"
  put_number leg plaintext "$2"
  put_number leg old "$3"
  put_raw server leg "{${leg%,}}"
}

# usage: report_otel SETTINGS RESTART    JSON is the collector
report_otel() {
  local server='' line one='' key
  OTEL_STATE=${STATE_OF[otel]}
  inspect_otel
  put server container "${CONTAINER[otel]}"
  put server state "$OTEL_STATE"
  put server startedAt "${STARTED_OF[otel]:-}"
  put server restartPolicy "${POLICY_OF[otel]:-}"
  put server address "$OTEL_ADDRESS"
  for key in REDIS_ENDPOINT REDIS_TLS_INSECURE; do
    line=${OTEL_RUNS_WITH#*" $key="}
    [[ $line != "$OTEL_RUNS_WITH" ]] || line=''
    put one "$key" "${line%% *}"
  done
  put_raw server runsWith "{${one%,}}"
  put_truth server asRendered otel_runs_as_rendered
  put_truth server asVerified file_says "$VOICEAI_ETC/otel/env" "$(otel_env "$1" 2>/dev/null)"
  WHY=''
  if [[ $OTEL_STATE == running ]]; then
    put_truth server scrapes otel_scrapes
    put server why "$WHY"
    [[ $2 != yes ]] || put_raw server start "$(prove_otel_start "$1")"
  fi
  JSON="{${server%,}}"
}
