# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# What an app dials, from its own environment: DATABASE_URL; REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, or REDIS_URL.
# Passwords stay in variables of this shell: they reach psql and redis-cli by their environment, and whatever is said
# passes `masked`.

URL_PATTERN='^([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(/[^?#]*)?(\?([^#]*))?(#.*)?$'
HOST_PATTERN='^(\[([0-9A-Fa-f:.%]+)\]|([^]:[]*))(:([0-9]*))?$'

# usage: percent_decoded TEXT    DECODED; fails where a % is not followed by two hex digits
percent_decoded() {
  local LC_ALL=C text=${1//\\/\\\\}
  [[ ${1//\%[0-9A-Fa-f][0-9A-Fa-f]/} != *%* && $1 != *%00* ]] || return
  printf -v DECODED '%b' "${text//%/\\x}"
}

# usage: parse_url URL    URL_SCHEME URL_USER URL_PASSWORD URL_HOSTS URL_PORTS (a place a host, "" where none is given)
# URL_PATH URL_QUERY[key]. As libpq reads it: what stands before the first @ are the credentials.
parse_url() {
  local LC_ALL=C authority query pair part
  URL_SCHEME='' URL_USER='' URL_PASSWORD='' URL_PATH='' URL_HOSTS=() URL_PORTS=()
  declare -gA URL_QUERY=()
  [[ $1 =~ $URL_PATTERN ]] || return
  URL_SCHEME=${BASH_REMATCH[1],,} authority=${BASH_REMATCH[2]} query=${BASH_REMATCH[5]} part=${BASH_REMATCH[3]#/}
  percent_decoded "$part" && URL_PATH=$DECODED || return
  if [[ $authority == *@* ]]; then
    part=${authority%%@*} authority=${authority#*@}
    percent_decoded "${part%%:*}" && URL_USER=$DECODED || return
    if [[ $part == *:* ]]; then percent_decoded "${part#*:}" && URL_PASSWORD=$DECODED || return; fi
  fi
  while [[ -n $authority ]]; do
    [[ ${authority%%,*} =~ $HOST_PATTERN ]] || return
    part=${BASH_REMATCH[2]}${BASH_REMATCH[3]}
    URL_PORTS+=("${BASH_REMATCH[5]}")
    percent_decoded "$part" && URL_HOSTS+=("$DECODED") || return
    [[ $authority == *,* ]] || break
    authority=${authority#*,}
  done
  while [[ -n $query ]]; do
    pair=${query%%&*}
    percent_decoded "${pair#*=}" && URL_QUERY[${pair%%=*}]=$DECODED || return
    [[ $query == *'&'* ]] || break
    query=${query#*&}
  done
}

# usage: masked TEXT    prints TEXT with the app's passwords, as they are and as they stand in an address, blacked out
masked() {
  local text=$1 secret
  for secret in "${SECRETS_OF_APP[@]}"; do
    ((${#secret} < 3)) || text=${text//"$secret"/***}
  done
  printf '%s' "$text"
}

# usage: secret_of_url URL    adds the address's password as it stands there and decoded to SECRETS_OF_APP
secret_of_url() {
  [[ $1 =~ ://[^/@:]*:([^@/]*)@ ]] || return 0
  SECRETS_OF_APP+=("${BASH_REMATCH[1]}")
  ! percent_decoded "${BASH_REMATCH[1]}" || SECRETS_OF_APP+=("$DECODED")
}

# usage: app_value KEY    prints what the app has for KEY: of the first replica that has a container, otherwise of the
# env file that was read
app_value() {
  local service
  for service in "${REPLICAS[@]}"; do
    [[ -n ${REPLICA_ID[$service]:-} ]] || continue
    printf '%s' "${REPLICA_ENV["$service $1"]:-}"
    return
  done
  printf '%s' "${ENV_VALUE[$1]:-}"
}

# usage: read_secrets    after inspect_app: SECRETS_OF_APP, before anything of the app is said
read_secrets() {
  local key value
  SECRETS_OF_APP=()
  for key in DATABASE_URL REDIS_URL; do secret_of_url "$(app_value "$key")"; done
  for key in REDIS_PASSWORD PGPASSWORD; do
    value=$(app_value "$key")
    [[ -z $value ]] || SECRETS_OF_APP+=("$value")
  done
}

# usage: dialed_database SETTINGS APP    URL_* of the app's DATABASE_URL with what it leaves out; WHY says what is wrong
dialed_database() {
  local -n _dialing=$1
  local url i
  url=$(app_value DATABASE_URL)
  [[ -n $url ]] || {
    WHY="it has no DATABASE_URL (${_dialing["apps.$2.ENV_FILE"]})"
    return 1
  }
  parse_url "$url" && [[ $URL_SCHEME =~ ^postgres(ql)?(\+[a-z0-9]+)?$ ]] || {
    WHY='its DATABASE_URL is not like postgresql://user:password@host:5432/database'
    return 1
  }
  if ((${#URL_HOSTS[@]} == 0)) && [[ -n ${URL_QUERY[host]:-} ]]; then
    IFS=, read -ra URL_HOSTS <<<"${URL_QUERY[host]}"
    IFS=, read -ra URL_PORTS <<<"${URL_QUERY[port]:-}"
  fi
  ((${#URL_HOSTS[@]})) || URL_HOSTS=('')
  for ((i = 0; i < ${#URL_HOSTS[@]}; i++)); do
    URL_PORTS[i]=${URL_PORTS[i]:-5432}
    [[ -n ${URL_HOSTS[i]} && ${URL_HOSTS[i]} != /* ]] || {
      WHY="its DATABASE_URL names ${URL_HOSTS[i]:-no host}, and a Unix socket has no TLS"
      return 1
    }
  done
  URL_USER=${URL_USER:-${URL_QUERY[user]:-${_dialing["apps.$2.DATABASE_USER"]:-}}}
  URL_PASSWORD=${URL_PASSWORD:-$(app_value PGPASSWORD)}
  URL_PATH=${URL_PATH:-${URL_QUERY[dbname]:-$URL_USER}}
}

# usage: dialed_redis    REDIS_AT REDIS_PLAIN_PORT REDIS_USER REDIS_SECRET, of REDIS_HOST or REDIS_URL; WHY says what is
# wrong
dialed_redis() {
  local url
  REDIS_AT=$(app_value REDIS_HOST) REDIS_PLAIN_PORT=$(app_value REDIS_PORT)
  REDIS_SECRET=$(app_value REDIS_PASSWORD) REDIS_USER=$(app_value REDIS_USERNAME)
  url=$(app_value REDIS_URL)
  if [[ -z $REDIS_AT && -n $url ]]; then
    parse_url "$url" && [[ $URL_SCHEME == redis || $URL_SCHEME == rediss ]] && ((${#URL_HOSTS[@]} == 1)) || {
      WHY='its REDIS_URL is not like redis://:password@host:6379/0'
      return 1
    }
    REDIS_AT=${URL_HOSTS[0]} REDIS_PLAIN_PORT=${URL_PORTS[0]}
    REDIS_SECRET=${URL_PASSWORD:-$REDIS_SECRET} REDIS_USER=${URL_USER:-$REDIS_USER}
  fi
  REDIS_PLAIN_PORT=${REDIS_PLAIN_PORT:-6379}
  [[ -n $REDIS_AT && $REDIS_AT != /* ]] || {
    WHY='it has neither REDIS_HOST nor REDIS_URL with a host'
    return 1
  }
}
