# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Redis: a TLS listener beside the plaintext one by one CONFIG SET, live and both ways, and what proves it. tls.conf says
# the same for the next start. Existing connections go on as they are.

# The one shell in Redis's container: the password does not leave it. Arguments: plain|tls|wrong|any PORT COMMAND...
# `any` takes plaintext while it is open.
# shellcheck disable=SC2016  # expanded inside the container
REDIS_SCRIPT='
export REDISCLI_AUTH=${REDISCLI_AUTH:-$(cat /usr/local/etc/redis/password)}
way=$1 port=$2
shift 2
cd /etc/ssl/internal 2>/dev/null
if [ "$way" = any ]; then
  case $(timeout 5 redis-cli -p 6379 PING 2>&1) in *efused*) way=tls ;; *) way=plain ;; esac
fi
case $way in
  plain) exec timeout 5 redis-cli -p 6379 "$@" ;;
  tls) exec timeout 5 redis-cli -p "$port" --tls --cacert ca.crt "$@" ;;
  wrong) exec timeout 5 redis-cli -p "$port" --tls --cacert wrong-ca.crt "$@" ;;
esac'

# usage: redis_by plain|tls|wrong|any COMMAND...    a command in Redis's container, its answer on standard output
redis_by() { docker_exec redis sh -c "$REDIS_SCRIPT" redis "$1" "${REDIS_PORT:-6380}" "${@:2}" 2>&1; }

# usage: know_redis SETTINGS    REDIS_PORT is the TLS listener's
know_redis() {
  local -n _known=$1
  REDIS_PORT=${_known[REDIS_TLS_PORT]:-6380}
}

# usage: redis_answers    a PING by password
redis_answers() {
  WHY=$(redis_by any PING)
  [[ $WHY == PONG ]]
}

# usage: redis_config COMMAND...    CONFIG SET and the like, which answer OK or say why not
redis_config() {
  local answer
  answer=$(redis_by any CONFIG SET "$@")
  [[ $answer == OK ]] || problem "Redis does not take $*: $answer"
}

# usage: reload_redis SETTINGS    has the listeners be as SETTINGS say, the certificate read anew; always in one command:
# a tls-port alone is an error while Redis has no certificate
reload_redis() {
  know_redis "$1"
  if [[ $(variable_value "$1" REDIS_TLS_ENABLED) == false ]]; then
    redis_config tls-port 0
  else
    # tls-auth-clients: the default would drop every client that has only a CA.
    redis_config tls-cert-file /etc/ssl/internal/server.crt tls-key-file /etc/ssl/internal/server.key \
      tls-ca-cert-file /etc/ssl/internal/ca.crt tls-auth-clients no tls-port "$REDIS_PORT"
  fi
}

# usage: redis_holds SETTINGS    accepted and refused twins; WHY says what does not hold. A PING's answer counts, never a
# connect: what publishes a port may accept for a listener that is closed.
redis_holds() {
  local -n _redis=$1
  local plain tls wrong name words
  know_redis "$1"
  plain=$(redis_by plain PING) || true
  if [[ $(variable_value "$1" REDIS_FORCE_TLS) == true ]]; then
    redis_said "$plain" '*efused*' 'Redis should refuse plaintext' && no_plaintext_session redis || return
  else
    redis_said "$plain" PONG 'Redis should answer in plaintext' || return
  fi
  tls=$(redis_by tls PING) || true
  if [[ $(variable_value "$1" REDIS_TLS_ENABLED) == false ]]; then
    redis_said "$tls" '*efused*' "Redis should have no TLS listener on $REDIS_PORT"
    return
  fi
  wrong=$(redis_by wrong PING) || true
  redis_said "$tls" PONG "Redis should answer on its TLS port $REDIS_PORT" &&
    redis_said "$wrong" '*certificate verify failed*' "a client that trusts another CA should refuse Redis's certificate" &&
    serves_declared "$1" redis "$REDIS_PORT" || return
  name=${_redis[DIALED_NAMES]%%,*}
  # redis-cli checks no host name, so this is asked of openssl.
  words=$(redis_handshake "${ADDRESS_OF[redis]}" "$REDIS_PORT" "$name" "$VOICEAI_TLS/ca.crt") || {
    WHY="the certificate on Redis's TLS port should verify for $name: $words"
    return 1
  }
}

# usage: redis_handshake ADDRESS PORT NAME CA_FILE    a verified TLS handshake from this host; prints why not where it fails
redis_handshake() {
  local words
  words=$(tls_client "$1" "$2" "$3" "$4" '' -verify_return_error) && return
  grep -m 1 -oE 'verify error:.*|connect:errno=.*|[Cc]onnection refused.*|[Nn]ame or service not known.*' <<<"$words" ||
    head -n 1 <<<"$words"
  return 1
}

# usage: redis_said ANSWER PATTERN MEANING
redis_said() {
  # shellcheck disable=SC2053  # a pattern on purpose
  [[ $1 == $2 ]] || checked FAILED "$3" "$1" || return
  checked ok "$3"
}

# usage: client_words LINE    of CLIENT LIST: CLIENT[key] of each of its words. No fork: there may be hundreds of lines
client_words() {
  local word
  local -a list
  declare -gA CLIENT=()
  read -ra list <<<"$1"
  for word in "${list[@]}"; do [[ $word != ?*=* ]] || CLIENT[${word%%=*}]=${word#*=}; done
}

# usage: redis_client LINE    client_words with CLIENT[host] and CLIENT[way] (tls or plain); fails for a line that is no
# client's: what comes from the container itself are proofs and health checks. After see_behind_forwarder
redis_client() {
  local address
  [[ $1 == id=* ]] || return
  client_words "$1"
  address=${CLIENT[addr]:--}
  address=${BEHIND[$address]:-$address}
  [[ $address != /* ]] && ! is_own_loopback redis "$address" || return
  # In the host's own network, who asks for this list is ourselves.
  [[ $address != 127.0.0.1:* || ${CLIENT[cmd]:-} != 'client|list' ]] || return
  address=${address%:*}
  CLIENT[host]=${address//[\[\]]/} CLIENT[way]=plain
  [[ ${CLIENT[laddr]:-} != *":${REDIS_PORT:-6380}" ]] || CLIENT[way]=tls
}

# usage: redis_sessions    fills SESSIONS with Redis's clients
redis_sessions() {
  local line idle list
  SESSIONS=()
  list=$(redis_by any CLIENT LIST)
  [[ $list == id=* ]] || {
    WHY="Redis does not list its clients: ${list:0:200}"
    return 1
  }
  see_behind_forwarder
  while IFS= read -r line; do
    redis_client "$line" || continue
    idle=busy
    # A client that has a command, a transaction or a subscription open is not idle.
    if [[ ${CLIENT[flags]:-} == N && ${CLIENT[multi]:-} == -1 ]] && ((${CLIENT[idle]:-0} >= 1)); then idle=idle; fi
    SESSIONS+=("${CLIENT[way]}$FIELD${CLIENT[host]}$FIELD${CLIENT[user]:-}$FIELD${CLIENT[name]:-}$FIELD${CLIENT[id]}$FIELD$idle")
  done <<<"$list"
}

# usage: redis_end_session ID
redis_end_session() { redis_by any CLIENT KILL ID "$1" >/dev/null; }

# The bound of the sample that stands for the log that Redis does not keep.
SAMPLE_SECONDS=20

# usage: redis_proofs SETTINGS    adds to EVIDENCE, see closing_evidence
redis_proofs() {
  local -n _sampled=$1
  local seconds=$((${_sampled[QUIET_MINUTES]:-0} * 60)) deadline session
  local -A seen=()
  unseen_apps "$1" redis redis
  ((seconds <= SAMPLE_SECONDS)) || seconds=$SAMPLE_SECONDS
  ((seconds >= 1)) || seconds=1
  say "Redis keeps no log of connections: a job that is not connected now can't be seen; sampling its clients for $seconds s"
  deadline=$(($(milliseconds) + seconds * 1000))
  while (($(milliseconds) < deadline)); do
    redis_sessions || problem "$WHY" || return
    while IFS= read -r session; do [[ -z $session ]] || seen[$(describe_session "$1" redis "$session")]=yes; done < <(sessions_in plain)
    [[ -z $STOPPED ]] || problem "stopped by $STOPPED while sampling Redis's clients" || return
    sleep 0.2
  done
  for session in "${!seen[@]}"; do
    [[ -z ${SPARED["$session"]:-} ]] || continue
    one_of "connected in plaintext: $session" "${EVIDENCE[@]}" || EVIDENCE+=("came in plaintext during the sample: $session")
  done
}

# usage: redis_is_supported    one standalone master, or a refusal that says what was found
redis_is_supported() {
  local info
  info=$(redis_by any INFO | tr -d '\r')
  [[ $info == *redis_mode:* ]] || problem "Redis does not answer: ${info:0:200}; nothing was changed" || return
  [[ $info == *redis_mode:standalone* ]] || refuse_redis "runs as $(sed -n 's/^redis_mode://p' <<<"$info")" || return
  [[ $info == *role:master* ]] || refuse_redis 'is a replica' || return
  [[ $info == *connected_slaves:0* ]] || refuse_redis "has $(sed -n 's/^connected_slaves://p' <<<"$info") replicas" || return
  [[ $(redis_by any CLIENT LIST) != *name=sentinel-* ]] || refuse_redis 'is watched by Sentinel'
}

# usage: refuse_redis WHAT
refuse_redis() {
  problem "Redis $1: replicas, Sentinel and Cluster would need TLS among themselves and are not supported; nothing was changed"
}

# usage: redis_keeps_settings    whether Redis reads our tls.conf at its next start
redis_keeps_settings() {
  local file
  # A deployment of the site's own was given a way by PREPARED.
  [[ $DEPLOYMENT == no ]] || return 0
  file=$(redis_by any INFO server | tr -d '\r' | sed -n 's/^config_file://p')
  [[ -n $file ]] ||
    problem "Redis was started without a configuration file, so a restart would forget the TLS listener: set PREPARED to on first; nothing was changed" || return
  docker_exec redis grep -q '^ *include .*tls\.conf' "$file" ||
    problem "Redis's configuration $file does not include tls.conf, so a restart would forget the TLS listener: set PREPARED to on first; nothing was changed"
}

# usage: redis_command_leaves_listeners    whether Redis's own command line says nothing of listeners: it would win over
# tls.conf at the next start
redis_command_leaves_listeners() {
  local words
  [[ $DEPLOYMENT == no ]] || return 0
  ! words=$(call "$CALL_SECONDS" docker container inspect --format '{{range .Args}}{{println .}}{{end}}' "${CONTAINER[redis]}" |
    grep -m 1 -E '^--(port|tls-[a-z-]+)$') ||
    problem "Redis was started with $words on its command line, which wins over tls.conf at its next start: take it out of the container's command, or set PREPARED to on first; nothing was changed"
}

# usage: redis_publishes PORT    whether the port can be reached from outside where the plaintext one can; a running
# container can't gain a published port
redis_publishes() {
  local ports
  [[ $DEPLOYMENT == no ]] || return 0
  ports=$(call "$CALL_SECONDS" docker container inspect --format '{{range $p, $b := .NetworkSettings.Ports}}{{if $b}}{{$p}} {{end}}{{end}}' "${CONTAINER[redis]}")
  [[ " $ports " != *' 6379/tcp '* || " $ports " == *" $1/tcp "* ]] ||
    problem "REDIS_TLS_PORT=$1: the container of voiceai-redis publishes $ports and not $1: put REDIS_TLS_PORT=$1 into $VOICEAI_ETC/compose.env and recreate it, or take a published port; nothing was changed"
}

# usage: preflight_redis_tls NOW NEXT VARIABLE
preflight_redis_tls() {
  if has_role "$2" redis; then preflight_redis_listener "$@" || return; fi
  if has_role "$2" otel; then preflight_otel "$1" "$2"; fi
}

# usage: preflight_redis_listener NOW NEXT VARIABLE
preflight_redis_listener() {
  know_redis "$2"
  redis_is_supported || return
  if [[ $(variable_value "$2" REDIS_TLS_ENABLED) == false ]]; then
    nobody_needs_tls "$2" "$3=false"
    return
  fi
  [[ $(variable_value "$2" CERTIFICATE_GENERATION) != 0 ]] ||
    problem "$3=true: this host has no certificate (CERTIFICATE_GENERATION=0): raise CERTIFICATE_GENERATION first; nothing was changed" || return
  files_are_usable redis && redis_keeps_settings && redis_command_leaves_listeners && redis_publishes "$REDIS_PORT"
}

# usage: nobody_needs_tls SETTINGS ASKED    refuses while somebody is connected by the TLS listener, whom the next connect
# would fail. The collector goes back with this very step, before Redis.
nobody_needs_tls() {
  if has_role "$1" otel; then inspect_otel; fi
  say_tls_users "$1" redis 'uses TLS now and would find no TLS listener' "${OTEL_ADDRESS:-}" || return
  ((TLS_USERS == 0)) ||
    problem "$2: $TLS_USERS sessions use Redis's TLS listener, see above: take these clients back to plaintext first; nothing was changed"
}

# usage: apply_redis_tls SETTINGS VARIABLE    Redis before its collector, on the way back after it
apply_redis_tls() {
  if [[ $(variable_value "$1" REDIS_TLS_ENABLED) == true ]]; then
    apply_redis_listeners "$1" && apply_otel "$1"
  else
    apply_otel "$1" && apply_redis_listeners "$1"
  fi
}

# usage: apply_redis_listeners SETTINGS
apply_redis_listeners() {
  has_role "$1" redis || return 0
  render_redis "$1" && deliver redis && fault_point redis_tls-rendered && reload_redis "$1" && unset 'RENDERED[redis]'
}

# usage: preflight_force_redis NOW NEXT VARIABLE
preflight_force_redis() {
  know_redis "$2"
  redis_is_supported || return
  [[ $(variable_value "$2" REDIS_FORCE_TLS) == true ]] || return 0
  [[ $(variable_value "$2" REDIS_TLS_ENABLED) == true ]] ||
    problem "$3=true: Redis would have no listener left (REDIS_TLS_ENABLED=false): set that to true first; nothing was changed" || return
  closing_evidence "$2" redis "$3=true"
}

# usage: apply_force_redis SETTINGS VARIABLE
apply_force_redis() {
  local port=6379
  know_redis "$1"
  [[ $(variable_value "$1" REDIS_FORCE_TLS) == false ]] || port=0
  render_redis "$1" && deliver redis && fault_point force_redis-rendered && redis_config port "$port" && unset 'RENDERED[redis]'
}
