# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# What a host needs beforehand: checked and listed, not assumed.

COMPOSE_LEAST=2.24

# usage: need ok|missing WHAT [REMEDY]    prints one line of the list; a missing one is counted
need() {
  if [[ $1 == ok ]]; then
    printf 'ok       %s\n' "$2"
  else
    printf 'missing  %s: %s\n' "$2" "$3"
    NEEDS_MISSING=$((NEEDS_MISSING + 1))
  fi
}

# usage: need_command NAME PACKAGE
need_command() {
  if command -v "$1" >/dev/null; then need ok "$1"; else need missing "$1" "install $2"; fi
}

# usage: version_at_least FOUND LEAST    compares major.minor
version_at_least() {
  local found=${1#v} major minor
  IFS=. read -r major minor _ <<<"$found"
  major=${major%%[^0-9]*} minor=${minor%%[^0-9]*}
  [[ -n $major && -n $minor ]] || return 1
  ((major > ${2%%.*} || (major == ${2%%.*} && minor >= ${2#*.})))
}

# usage: need_docker ENGINE COMPOSE    their versions, empty where there is no answer
need_docker() {
  if ! command -v docker >/dev/null; then
    need missing docker "install Docker's client and engine"
    return
  fi
  if [[ -n $1 ]]; then
    need ok "docker engine $1"
  else
    need missing 'docker engine' 'it does not answer: start it, or give this user access to it'
  fi
  if version_at_least "$2" "$COMPOSE_LEAST"; then
    need ok "docker compose $2"
  else
    need missing "docker compose $COMPOSE_LEAST or newer" "found ${2:-none}; install the compose plugin"
  fi
}

# usage: need_password FILE
need_password() {
  local mode owner
  if [[ ! -f $1 ]]; then
    need missing "$1" 'write the password into its first line, mode 0600, owned by root'
    return
  fi
  read -r mode owner <<<"$(stat -c '%a %u' "$1")"
  if [[ $mode != 600 && $mode != 400 ]] || [[ $owner != "$EUID" ]]; then
    need missing "$1" "it must be mode 0600 and owned by root, and has mode $mode and owner $owner: chown 0:0 and chmod 0600"
  elif [[ ! -r $1 || -z $(read_password "$1" 2>/dev/null) ]]; then
    need missing "$1" 'it is empty: write the password into its first line'
  else
    need ok "$1"
  fi
}

# usage: need_writable DIR
need_writable() {
  local dir=$1
  # A directory that is not there yet is made by its nearest parent that is.
  while [[ ! -e $dir && $dir == */* && -n ${dir%/*} ]]; do dir=${dir%/*}; done
  if [[ -d $dir && -w $dir ]]; then need ok "$1 is writable"; else need missing "$1" 'it must be a directory that root can write'; fi
}

# usage: need_openssl
need_openssl() {
  local version=''
  if command -v openssl >/dev/null; then version=$(openssl version | cut -d ' ' -f 2); fi
  if version_at_least "${version:-0.0}" 3.0; then
    need ok "openssl $version"
  else
    need missing 'openssl 3.0 or newer' "found ${version:-none}; install it"
  fi
}

# usage: need_secret_reader FOUND    what secret_reader printed
need_secret_reader() {
  if [[ -n $1 ]]; then
    need ok "a reader of Secrets Manager ($1)"
  else
    need missing 'a reader of Secrets Manager' 'install the AWS CLI, or python3 with boto3 (python3-boto3)'
  fi
}

# usage: list_needs SETTINGS    prints the list for this kind of host; fails if anything is missing
list_needs() {
  local engine='' plugin='' reader='' engine_asked plugin_asked reader_asked
  NEEDS_MISSING=0
  exec {reader_asked}< <(secret_reader 9>&-)
  if has_any_role "$1" "${SERVER_ROLES[@]}" otel app; then
    # Asked first and read last: they take longest.
    exec {engine_asked}< <(timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null 9>&-)
    exec {plugin_asked}< <(timeout 10 docker compose version --short 2>/dev/null 9>&-)
  fi
  if ((EUID == 0)); then need ok root; else need missing root 'run this as root (sudo)'; fi
  need_command flock util-linux
  need_command timeout coreutils
  need_command base64 coreutils
  need_openssl
  read -r reader <&"$reader_asked" || true
  exec {reader_asked}<&-
  need_secret_reader "$reader"
  need_writable "$VOICEAI_TLS"
  need_writable "$VOICEAI_STATE"
  if has_any_role "$1" "${SERVER_ROLES[@]}" otel app; then
    read -r engine <&"$engine_asked" || true
    read -r plugin <&"$plugin_asked" || true
    exec {engine_asked}<&- {plugin_asked}<&-
    need_docker "$engine" "$plugin"
    need_writable "$VOICEAI_ETC"
    if has_role "$1" postgres || has_role "$1" pgbouncer; then need_password "$VOICEAI_ETC/postgres_password"; fi
    if has_any_role "$1" redis otel; then need_password "$VOICEAI_ETC/redis_password"; fi
  fi
  if has_role "$1" app; then need_clients "$1"; fi
  ((NEEDS_MISSING == 0))
}

# usage: need_clients SETTINGS    what proofs from an app's own host are made with
need_clients() {
  local app
  for app in $(apps_of "$1"); do
    if app_uses "$1" "$app" postgres; then
      need_command psql postgresql-client
      break
    fi
  done
  for app in $(apps_of "$1"); do
    if app_uses "$1" "$app" redis; then
      need_command redis-cli redis-tools
      break
    fi
  done
}

# usage: preflight_needs SETTINGS    refuses, with the list, a host that lacks something; says nothing otherwise
preflight_needs() {
  local list
  if ! list=$(list_needs "$1"); then
    say "$list"
    problem "this host lacks what is listed as missing above; nothing was changed"
  fi
}
