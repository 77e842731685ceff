# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Server configuration from settings. Each file is replaced by rename and only when it differs; what a server may
# not have read yet is remembered in RENDERED, so that it can be reloaded.

# Services whose files changed in this run.
declare -A RENDERED=()

# usage: rendered_file SERVICE PATH MODE OWNER CONTENT    write_file, remembering SERVICE
rendered_file() {
  write_file "${@:2}" || return
  [[ $WROTE == no ]] || RENDERED[$1]=yes
}

# usage: site_file PATH    makes an empty file for the site's own settings, once
site_file() {
  [[ -e $1 ]] || write_file "$1" 0644 0:0 ''
}

# usage: read_password FILE    prints the first line of a password file
read_password() {
  local password=''
  IFS= read -r password <"$1" || [[ -n $password ]] || problem "$1 is empty: put the password in its first line" || return
  printf '%s' "$password"
}

# usage: pgpass_line PASSWORD    a libpq password file for user voiceai anywhere; ":" and "\" are escaped
pgpass_line() {
  local escaped=${1//\\/\\\\}
  printf '*:*:*:voiceai:%s' "${escaped//:/\\:}"
}

# usage: userlist_line PASSWORD    PgBouncer's auth_file; a double quote is doubled
userlist_line() { printf '"voiceai" "%s"' "${1//\"/\"\"}"; }

# usage: redis_quoted TEXT    a quoted string of redis.conf
redis_quoted() {
  local escaped=${1//\\/\\\\}
  printf '"%s"' "${escaped//\"/\\\"}"
}

# usage: postgres_tls_conf on|off
postgres_tls_conf() {
  if [[ $1 == off ]]; then
    printf 'ssl = off'
    return
  fi
  printf '%s\n' 'ssl = on' "ssl_cert_file = '/etc/ssl/internal/server.crt'" \
    "ssl_key_file = '/etc/ssl/internal/server.key'"
}

# usage: pgbouncer_tls_ini SETTINGS [server|client]    both legs and who may read the console; or one leg, and the other as
# the file has it: on a host whose record is lost the settings do not know it yet. Only the verify modes of the server leg
# read the CA; the client leg has one so that a client's own certificate is judged by it. It is included, so it has no
# section header: a second one would set everything before it to its default again.
pgbouncer_tls_ini() {
  local leg users file=$VOICEAI_ETC/pgbouncer/tls.ini
  for leg in server client; do
    if [[ -n ${2:-} && $leg != "$2" && -r $file ]]; then
      grep "^${leg}_tls_" "$file" || true
    else
      "${leg}_leg_ini" "$1"
    fi
  done
  users=$(console_readers "$1")
  [[ -z $users ]] || printf 'stats_users = %s' "$users"
}

# usage: server_leg_ini SETTINGS
server_leg_ini() {
  local mode
  mode=$(variable_value "$1" PGBOUNCER_SERVER_TLS_SSLMODE)
  printf 'server_tls_sslmode = %s\n' "$mode"
  [[ $mode != verify-* ]] || printf 'server_tls_ca_file = /etc/ssl/internal/ca.crt\n'
}

# usage: client_leg_ini SETTINGS
client_leg_ini() {
  local mode
  mode=$(variable_value "$1" PGBOUNCER_CLIENT_TLS_SSLMODE)
  printf 'client_tls_sslmode = %s\n' "$mode"
  [[ $mode == disable ]] || printf '%s\n' 'client_tls_ca_file = /etc/ssl/internal/ca.crt' \
    'client_tls_cert_file = /etc/ssl/internal/server.crt' 'client_tls_key_file = /etc/ssl/internal/server.key'
}

# usage: console_readers SETTINGS    prints PgBouncer's stats_users: those of the site, and the apps' users, so that an
# app's own host can ask whether its sessions use TLS
console_readers() {
  local -n _readers=$1
  local site=''
  [[ ! -r $VOICEAI_ETC/pgbouncer/site.ini ]] ||
    site=$(sed -n 's/^[[:space:]]*stats_users[[:space:]]*=[[:space:]]*//p' "$VOICEAI_ETC/pgbouncer/site.ini" | tail -n 1)
  printf '%s' "$site,${_readers[DATABASE_USERS]:-}" | tr -s ', ' '\n' | sed '/^$/d' | sort -u | paste -sd, -
}

# usage: pgbouncer_ini    the template with Postgres's address in it
pgbouncer_ini() {
  local text
  text=$(<"$BUNDLE/templates/pgbouncer.ini")
  text=${text//@POSTGRES_HOST@/${POSTGRES_HOST:-voiceai-postgres}}
  printf '%s' "${text//@POSTGRES_PORT@/${POSTGRES_PORT:-5432}}"
}

# usage: tls_file SERVICE KEEP PATH CONTENT    the file that steps change; where KEEP is `keep`, one that is there stays
tls_file() {
  [[ $2 == keep && -e $3 ]] || rendered_file "$1" "$3" 0644 0:0 "$4"
}

# usage: render_postgres SETTINGS [keep]    all of its files; with `keep`, what steps change is left as it is
render_postgres() {
  local dir=$VOICEAI_ETC/postgres password
  make_dir "$dir" 0755 && make_dir "$dir/conf.d" 0755 || return
  # A deployment of the site's own has all but what steps change.
  if ! has_deployment "$1"; then
    password=$(read_password "$VOICEAI_ETC/postgres_password") || return
    rendered_file postgres "$dir/password" 0600 "$SERVER_OWNER" "$password" || return
    rendered_file postgres "$dir/pgpass" 0600 "$SERVER_OWNER" "$(pgpass_line "$password")" || return
    rendered_file postgres "$dir/postgresql.conf" 0644 0:0 "$(<"$BUNDLE/templates/postgresql.conf")" || return
  fi
  tls_file postgres "${2:-}" "$dir/conf.d/tls.conf" \
    "$(postgres_tls_conf "$(variable_value "$1" POSTGRES_TLS_ENABLED)")"
}

# usage: render_pgbouncer SETTINGS [keep] [server|client]    with a leg, the other one stays
render_pgbouncer() {
  local dir=$VOICEAI_ETC/pgbouncer password
  make_dir "$dir" 0755 || return
  if ! has_deployment "$1"; then
    password=$(read_password "$VOICEAI_ETC/postgres_password") && site_file "$dir/site.ini" || return
    rendered_file pgbouncer "$dir/pgpass" 0600 "$SERVER_OWNER" "$(pgpass_line "$password")" || return
    rendered_file pgbouncer "$dir/userlist.txt" 0600 "$SERVER_OWNER" "$(userlist_line "$password")" || return
    rendered_file pgbouncer "$dir/pgbouncer.ini" 0644 0:0 "$(pgbouncer_ini)" || return
  fi
  tls_file pgbouncer "${2:-}" "$dir/tls.ini" "$(pgbouncer_tls_ini "$1" "${3:-}")"
}

# usage: redis_tls_conf SETTINGS    the listeners, as Redis reads them at its next start
redis_tls_conf() {
  local -n _listening=$1
  if [[ $(variable_value "$1" REDIS_TLS_ENABLED) == false ]]; then
    printf '# No TLS listener.'
    return
  fi
  # tls-auth-clients: the default would drop every client that has only a CA.
  printf '%s\n' 'tls-cert-file /etc/ssl/internal/server.crt' 'tls-key-file /etc/ssl/internal/server.key' \
    'tls-ca-cert-file /etc/ssl/internal/ca.crt' 'tls-auth-clients no' "tls-port ${_listening[REDIS_TLS_PORT]}"
  [[ $(variable_value "$1" REDIS_FORCE_TLS) == false ]] || printf 'port 0\n'
}

# usage: render_redis SETTINGS [keep]
render_redis() {
  local dir=$VOICEAI_ETC/redis password
  make_dir "$dir" 0755 || return
  if ! has_deployment "$1"; then
    password=$(read_password "$VOICEAI_ETC/redis_password") && site_file "$dir/site.conf" || return
    rendered_file redis "$dir/password" 0600 "$SERVER_OWNER" "$password" || return
    rendered_file redis "$dir/auth.conf" 0600 "$SERVER_OWNER" "requirepass $(redis_quoted "$password")" || return
    rendered_file redis "$dir/redis.conf" 0644 0:0 "$(<"$BUNDLE/templates/redis.conf")" || return
  fi
  tls_file redis "${2:-}" "$dir/tls.conf" "$(redis_tls_conf "$1")"
}

# usage: render_servers SETTINGS    every server that this host has, and the collector
render_servers() {
  local role
  for role in "${SERVER_ROLES[@]}" otel; do
    has_role "$1" "$role" || continue
    "render_$role" "$1" || return
  done
}
