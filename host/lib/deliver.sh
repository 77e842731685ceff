# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Files for the servers of a site's own deployment, where each server finds them with and without our mounts: a set
# of files a server, /etc/voiceai/deployment/ROLE on the host and /etc/ssl/internal in the container.
#
#   sets/3f0c9a12be77/{ca.crt,server.crt,server.key,wrong-ca.crt,tls.conf}    named after its content and owner
#   current -> sets/3f0c9a12be77
#   ca.crt -> current/ca.crt, and so on
#
# Guarantees: a server sees a whole set, the old or the new; the key is 0600 and the server's own; it travels from file
# to file through a pipe. Postgres's set is in its data directory as well, where every later container finds it.

# usage: deployment_home    prints where the host keeps what is for the deployment
deployment_home() { printf '%s/deployment' "$VOICEAI_ETC"; }

# usage: set_file NAME    prints one file's lines behind its name, from standard input; nothing where that is empty
set_file() {
  local text
  text=$(cat)
  [[ -z $text ]] || printf '=== %s\n%s\n' "$1" "$text"
}

# usage: print_set ROLE    prints what a server gets: the certificate as far as there is one, and its settings
print_set() {
  local file
  for file in ca.crt server.crt server.key; do
    [[ ! -e $VOICEAI_TLS/current/$file ]] || set_file "$file" <"$VOICEAI_TLS/current/$file" || return
  done
  [[ ! -e $VOICEAI_TLS/wrong-ca.crt ]] || set_file wrong-ca.crt <"$VOICEAI_TLS/wrong-ca.crt" || return
  case $1 in
    postgres) postgres_set_conf | set_file tls.conf ;;
    pgbouncer)
      pgbouncer_block | set_file tls.ini
      set_file ini-block.awk <"$BUNDLE/templates/ini-block.awk"
      ;;
    redis) set_file tls.conf <"$VOICEAI_ETC/redis/tls.conf" ;;
  esac
}

# usage: postgres_set_conf    the rendered settings, with paths in the data directory, where the files survive; and that
# each login's line tells whether it was encrypted
postgres_set_conf() {
  local text
  text=$(<"$VOICEAI_ETC/postgres/conf.d/tls.conf") || return
  printf 'log_connections = on\n%s\n' "${text//\/etc\/ssl\/internal\//internal-tls/}"
}

# One shell on the host or in a container places a set from standard input, unless it is there: DIRECTORY NAME OWNER,
# ALL=yes where every file, not only the key, is to be the owner's.
# shellcheck disable=SC2016  # expanded there
PLACE_SCRIPT='
set -eu
umask 022
[ "$(readlink "$1/current" 2>/dev/null)" != "sets/$2" ] || { cat >/dev/null; exit 0; }
mkdir -p "$1/sets"
cd "$1"
rm -rf sets/.new
(umask 077 && mkdir sets/.new && cd sets/.new && awk "/^=== /{ close(file); file = \$2; next } { print >file }")
for file in sets/.new/*; do
  case $file in *.key) chmod 0600 "$file" ;; *) chmod 0644 "$file" ;; esac
  case $4$file in yes* | *.key) [ "$(id -u)" -ne 0 ] || chown "$3" "$file" ;; esac
done
chmod 0755 sets/.new
sync 2>/dev/null || true
rm -rf "sets/$2"
mv sets/.new "sets/$2"
before=$(readlink current || true)
ln -sfn "sets/$2" .current.new
mv -fT .current.new current 2>/dev/null || { rm -f current; mv .current.new current; }
for file in "sets/$2"/*; do
  file=${file##*/}
  [ "$(readlink "$file" || true)" = "current/$file" ] || ln -sfn "current/$file" "$file"
done
for file in *; do [ -e "$file" ] || rm -f "$file"; done
for dir in sets/*; do
  case $dir in "sets/$2" | "$before") ;; *) rm -rf "$dir" ;; esac
done'

# usage: set_name ROLE    prints the name of the set that ROLE should have now
set_name() {
  local digest
  digest=$({ print_set "$1" && printf '%s' "${OWNER_OF[$1]}"; } | sha256sum) && printf '%s' "${digest:0:12}"
}

# usage: deliver ROLE    brings a server of the site's own deployment the certificate and the settings as they are on
# disk; the server has yet to read them. With our own compose.yaml they are mounted, and nothing is done.
deliver() {
  local name words
  [[ $DEPLOYMENT == yes && -n ${SERVICE_OF[$1]:-} ]] || return 0
  [[ -n ${OWNER_OF[$1]:-} ]] ||
    problem "no process $(server_command "$1") is in the container ${CONTAINER[$1]}" || return
  # Its lines are joined with what its ini says now.
  [[ $1 != pgbouncer ]] || { find_ini && look_at_site_file pgbouncer "$INI_FILE"; } || return
  name=$(set_name "$1") || problem "cannot read what $(service_name "$1") is to get" || return
  deliver_to_host "$1" "$name" || return
  if [[ ${MOUNTED_OF[$1]:-no} == no && ${DELIVERED[$1]:-} != "$name" ]]; then
    words=$(print_set "$1" | deliver_into "$1" 0 /etc/ssl/internal "$name" no 2>&1) ||
      problem "cannot bring files to $(service_name "$1"): $words" || return
    DELIVERED[$1]=$name RENDERED[$1]=yes
  fi
  case $1 in
    postgres) deliver_to_data "$name" ;;
    pgbouncer) place_block ;;
  esac
}

# usage: deliver_to_host ROLE NAME    the host's copy, which containers made after PREPARED=on have mounted
deliver_to_host() {
  local home words
  home=$(deployment_home)
  [[ $(readlink "$home/$1/current") != "sets/$2" ]] || return 0
  make_dir "$home" 0755 || return
  words=$(print_set "$1" | sh -c "$PLACE_SCRIPT" place "$home/$1" "$2" "${OWNER_OF[$1]}" no 2>&1) ||
    problem "cannot write to $home/$1: ${words:-no permission, or the disk is full}" || return
  RENDERED[$1]=yes
}

# usage: deliver_into ROLE USER DIRECTORY NAME ALL    a set from standard input into a container
deliver_into() {
  call "$CALL_SECONDS" docker exec -i --user "$2" "${CONTAINER[$1]}" sh -c "$PLACE_SCRIPT" \
    place "$3" "$4" "${OWNER_OF[$1]}" "$5"
}

# usage: deliver_all    every server of the deployment that runs
deliver_all() {
  local role
  for role in "${SERVER_ROLES[@]}"; do
    [[ ${STATE_OF[$role]:-} != running ]] || deliver "$role" || return
  done
}

# usage: find_data    DATA_DIRECTORY and CONFIG_FILE as Postgres says them
find_data() {
  local words
  words=$(postgres_sql "SELECT current_setting('data_directory') || chr(10) || current_setting('config_file')" 2>&1) ||
    problem "$(service_name postgres) does not answer: $words" || return
  DATA_DIRECTORY=${words%%$'\n'*} CONFIG_FILE=${words#*$'\n'}
}

# usage: deliver_to_data NAME    Postgres's set into its data directory, and one line at the end of its configuration. A
# container made without us reads both; where the set is missing, the line means nothing.
deliver_to_data() {
  local words
  find_data || return
  words=$(print_set postgres | deliver_into postgres "${OWNER_OF[postgres]}" "$DATA_DIRECTORY/internal-tls" "$1" yes 2>&1) ||
    problem "cannot write to the data directory of $(service_name postgres): $words" || return
  look_at_site_file postgres "$CONFIG_FILE" && change_site_file postgres "$CONFIG_FILE" with_include_line
}

# usage: with_include_line FILE    prints FILE with our line as the last
with_include_line() {
  without_include_line "$1"
  # A last line without its end would swallow ours.
  [[ -z $(tail -c 1 "$1") ]] || printf '\n'
  printf "include_if_exists = '%s/internal-tls/tls.conf' # internal-tls\n" "$DATA_DIRECTORY"
}

# usage: without_include_line FILE    prints FILE without it
without_include_line() { sed '/^include_if_exists = .*# internal-tls$/d' "$1"; }

# usage: find_ini    INI_FILE is what PgBouncer reads at a RELOAD
find_ini() {
  # Told by the process, not by the console, which is not open yet where the first lines are placed.
  INI_FILE=${ARGUMENT_OF[pgbouncer]#* }
  [[ $INI_FILE == /* ]] || INI_FILE=$(call "$CALL_SECONDS" docker container inspect --format '{{or .Config.WorkingDir "/"}}' \
    "${CONTAINER[pgbouncer]}")/$INI_FILE
}

# usage: ini_value FILE KEY    prints a setting of [pgbouncer] in FILE, without our lines; the last one counts
ini_value() {
  awk -f "$BUNDLE/templates/ini-block.awk" "$1" | awk -v key="$2" '
    /^[ \t]*\[/ { section = tolower($0) ~ /\[pgbouncer\]/ }
    section && match($0, "^[ \t]*" key "[ \t]*=[ \t]*") { value = substr($0, RLENGTH + 1); sub(/[ \t\r]+$/, "", value) }
    END { printf "%s", value }'
}

# usage: pgbouncer_block    prints our lines of PgBouncer's ini. A list of users that the site has keeps its users.
pgbouncer_block() {
  local text users ini
  text=$(<"$VOICEAI_ETC/pgbouncer/tls.ini") || return
  ini=$(site_copy pgbouncer)
  if [[ $text =~ (^|$'\n')stats_users\ =\ ([^$'\n']*) && -n $(ini_value "$ini" stats_users) ]]; then
    users=${BASH_REMATCH[2]}
    text=${text/"stats_users = $users"/"stats_users = $(ini_value "$ini" stats_users),$users"}
  fi
  printf '%s\n' ';;; internal-tls: begin, written by update.sh, removed by PREPARED=off' 'log_connections = 1' \
    'server_login_retry = 1'
  if [[ -z ${SOCKET_OF[pgbouncer]:-} ]]; then
    users=$(ini_value "$ini" admin_users)
    printf 'admin_users = %svoiceai\n' "${users:+$users,}"
  fi
  # Before the console is open no setting of TLS may change: see open_console.
  [[ -n ${CONSOLE_ONLY:-} ]] || printf '%s\n' "$text"
  printf '%s\n' ';;; internal-tls: end'
}

# usage: place_block    our lines into the ini in effect, which deliver looked at; PgBouncer has yet to read them
place_block() { change_site_file pgbouncer "$INI_FILE" with_block; }

# usage: with_block FILE    prints an ini with our lines
with_block() {
  awk -v "block=$(deployment_home)/pgbouncer/tls.ini" -f "$BUNDLE/templates/ini-block.awk" "$1" ||
    problem "$INI_FILE in $(service_name pgbouncer) has no section [pgbouncer]"
}

# usage: without_block FILE    prints an ini without them
without_block() { awk -f "$BUNDLE/templates/ini-block.awk" "$1"; }
