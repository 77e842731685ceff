# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Evidence for closing steps: absence is not evidence. A stopped app, an idle pool or a nightly job is in no list of
# clients, so a server stops taking plaintext only when
#
#   1. nobody is connected in plaintext now; whoever is, is named;
#   2. every declared app was seen in TLS, from each of its addresses: by a session now, or by a login in the server's
#      log after which it never came in plaintext again;
#   3. the server's log has no plaintext login within QUIET_MINUTES, and reaches that far back; whatever QUIET_MINUTES
#      says, nobody comes in plaintext for WATCH_SECONDS: who connects anew each second is in no list either.
#
# A new host, on which no server ran before this update, needs none of it: nobody can have been connected.
#
# Redis keeps no log of connections: for 2 it is sessions alone, and for 3 a sample, which is said.
#
# A server (pgbouncer, postgres, redis) brings SERVER_sessions, which fills SESSIONS, SERVER_end_session ID, and
# SERVER_proofs SETTINGS. A session is one element: tls|plain, address, user, application, id, idle|busy.

# A separator that no value has: names are chosen by clients.
FIELD=$'\x1f'
# The application name of our own probes: they are nobody's client.
PROBE=internal-tls-probe
# How long ending stragglers may take, in seconds.
DRAIN_SECONDS=10
# What the sessions are called that an update would end and a preflight leaves alone.
declare -A SPARED=()
# For how long the log must show nobody in plaintext.
WATCH_SECONDS=4

# usage: resolve_clients SETTINGS    fills ADDRESSES_OF["app entry"] with the addresses behind each declared entry. Names are
# asked side by side: without a resolver each takes its whole bound
resolve_clients() {
  local -n _declared=$1
  local app entry asked address
  local -A asking=()
  declare -gA ADDRESSES_OF=()
  for app in $(words "${_declared[CLIENTS]:-}"); do
    for entry in $(words "${_declared["clients.$app.ADDRESSES"]:-}"); do
      ADDRESSES_OF["$app $entry"]=$entry
      [[ ! $entry =~ ^[0-9.]+$ && $entry != *:* ]] || continue
      exec {asked}< <(timeout 5 getent ahosts "$entry" 9>&-)
      asking["$app $entry"]=$asked
    done
  done
  for entry in "${!asking[@]}"; do
    ADDRESSES_OF[$entry]=''
    asked=${asking[$entry]}
    while read -r address _; do
      [[ " ${ADDRESSES_OF[$entry]}" == *" $address "* ]] || ADDRESSES_OF[$entry]+="$address "
    done <&"$asked"
    exec {asked}<&-
  done
}

# usage: is_own_loopback ROLE ADDRESS    whether it is a proof's or a health check's, from the container itself. In its
# host's own network loopback may be any client of the host.
is_own_loopback() {
  [[ ${ADDRESS_OF[$1]:-} != 127.0.0.1 ]] && [[ $2 == 127.* || $2 == ::1 || $2 == '[::1]'* ]]
}

# usage: clients_using SETTINGS postgres|redis    prints the declared apps that use a server
clients_using() {
  local -n _using=$1
  local app
  for app in $(words "${_using[CLIENTS]:-}"); do
    [[ ,${_using["clients.$app.USES"]:-}, != *,$2,* ]] || printf '%s\n' "$app"
  done
}

# usage: session_is_of SETTINGS SERVER APP USER APPLICATION    whether these names are the app's
session_is_of() {
  local -n _names=$1
  local wanted
  if [[ $2 == redis ]]; then
    wanted=${_names["clients.$3.REDIS_CLIENT_NAME"]:-}
  else
    wanted=${_names["clients.$3.DATABASE_USER"]:-}
    [[ -z $wanted || $4 == "$wanted" ]] || return
    wanted=${_names["clients.$3.APPLICATION_NAME"]:-}
  fi
  [[ -z $wanted || $5 == "$wanted" ]]
}

# usage: find_apps SETTINGS SERVER ADDRESS USER APPLICATION    FOUND_APPS are those that a session may be of, in their order. No
# fork: there may be hundreds of sessions
find_apps() {
  local -n _owners=$1
  local app key
  local -a declared
  FOUND_APPS=()
  IFS=, read -ra declared <<<"${_owners[CLIENTS]:-}"
  for app in "${declared[@]}"; do
    for key in "${!ADDRESSES_OF[@]}"; do
      [[ $key == "$app "* && " ${ADDRESSES_OF[$key]} " == *" $3 "* ]] && session_is_of "$1" "$2" "$app" "$4" "$5" || continue
      FOUND_APPS+=("$app")
      break
    done
  done
}

# usage: apps_behind SETTINGS SERVER ADDRESS USER APPLICATION    prints them: "api or web"
apps_behind() {
  local list
  find_apps "$@"
  ((${#FOUND_APPS[@]})) || return 0
  printf -v list ' or %s' "${FOUND_APPS[@]}"
  printf '%s' "${list# or }"
}

# usage: describe_session SETTINGS SERVER SESSION    prints "user voiceai, application psql, from 10.0.1.20 (api)"
describe_session() {
  local tls address user application id idle apps
  IFS=$FIELD read -r tls address user application id idle <<<"$3"
  apps=$(apps_behind "$1" "$2" "$address" "$user" "$application")
  printf 'user %s, application %s, from %s (%s)' "${user:-none}" "${application:-not named}" "$address" \
    "${apps:-no declared app}"
}

# usage: sessions_in tls|plain    prints those of SESSIONS
sessions_in() {
  local session
  for session in "${SESSIONS[@]}"; do [[ $session != "$1$FIELD"* ]] || printf '%s\n' "$session"; done
}

# usage: say_tls_users SETTINGS SERVER WORDS [ADDRESS]    says who is connected in TLS, but from ADDRESS; TLS_USERS counts them
say_tls_users() {
  local session
  TLS_USERS=0
  "$2_sessions" || problem "$WHY" || return
  resolve_clients "$1"
  while IFS= read -r session; do
    [[ -n $session && (-z ${4:-} || $session != "tls$FIELD$4$FIELD"*) ]] || continue
    TLS_USERS=$((TLS_USERS + 1))
    say "$3: $(describe_session "$1" "$2" "$session")"
  done < <(sessions_in tls)
}

# usage: no_plaintext_session SERVER    reads SESSIONS anew; WHY counts what is left
no_plaintext_session() {
  local left
  "$1_sessions" || return
  mapfile -t left < <(sessions_in plain)
  WHY="${#left[@]} plaintext sessions are connected to $1"
  ((${#left[@]} == 0))
}

# usage: drain_asked SETTINGS
drain_asked() {
  local -n _drained=$1
  [[ ${DRAIN:-no} == yes || ${_drained[DRAIN_STRAGGLERS]:-off} == on ]]
}

# usage: end_stragglers SETTINGS SERVER    ends idle plaintext sessions, announced one by one, and waits until they are
# gone; busy ones are left alone
end_stragglers() {
  local session id idle ended=0 rest
  drain_asked "$1" || return 0
  if looking; then
    spare_stragglers "$1" "$2"
    return
  fi
  while IFS= read -r session; do
    [[ -n $session ]] || continue
    IFS=$FIELD read -r _ _ _ _ id idle <<<"$session"
    if [[ $idle == idle ]]; then
      say "ending an idle plaintext session of $2: $(describe_session "$1" "$2" "$session")"
      "$2_end_session" "$id" || return
      ended=$((ended + 1))
    fi
  done < <(sessions_in plain)
  ((ended)) || return 0
  # Who comes back at once is named by the caller, so the end of this wait is no failure.
  wait_for "$DRAIN_SECONDS" "the $ended idle plaintext sessions of $2 to end" no_plaintext_session "$2" || true
  "$2_sessions"
}

# usage: spare_stragglers SETTINGS SERVER    says which sessions end_stragglers would end, and takes them out of SESSIONS
spare_stragglers() {
  local session words
  local -a left=()
  for session in "${SESSIONS[@]}"; do
    if [[ $session == "plain$FIELD"*"${FIELD}idle" ]]; then
      words=$(describe_session "$1" "$2" "$session")
      say "would end an idle plaintext session of $2: $words"
      SPARED["$words"]=yes
    else
      left+=("$session")
    fi
  done
  SESSIONS=("${left[@]}")
}

# usage: stragglers SETTINGS SERVER    adds a line to EVIDENCE for each plaintext session
stragglers() {
  local session
  while IFS= read -r session; do
    [[ -z $session ]] || EVIDENCE+=("connected in plaintext: $(describe_session "$1" "$2" "$session")")
  done < <(sessions_in plain)
}

# usage: app_has_session SETTINGS SERVER APP ENTRY    whether SESSIONS has one of the app in TLS from that address
app_has_session() {
  local session tls address user application
  while IFS= read -r session; do
    IFS=$FIELD read -r tls address user application _ <<<"$session"
    [[ " ${ADDRESSES_OF["$3 $4"]} " == *" $address "* ]] && session_is_of "$1" "$2" "$3" "$user" "$application" &&
      return 0
  done < <(sessions_in tls)
  return 1
}

# usage: app_logged_in SETTINGS APP ENTRY    whether LOGINS has the app's last login from that address in TLS. A log has
# no application name, so apps that share address and user are told apart by sessions alone.
app_logged_in() {
  local -n _logged=$1
  local user key last_tls='' last_plain='' address
  user=${_logged["clients.$2.DATABASE_USER"]:-}
  [[ -z ${_logged["clients.$2.APPLICATION_NAME"]:-} || $(apps_behind "$1" postgres "$(head -n 1 <<<"${ADDRESSES_OF["$2 $3"]// /$'\n'}")" "$user" '') != *' or '* ]] || return
  for address in ${ADDRESSES_OF["$2 $3"]}; do
    for key in "${!LOGINS[@]}"; do
      [[ $key == *"$FIELD$address$FIELD$user" ]] || continue
      if [[ $key == tls* ]]; then
        [[ ! ${LOGINS[$key]} > $last_tls ]] || last_tls=${LOGINS[$key]}
      else
        [[ ! ${LOGINS[$key]} > $last_plain ]] || last_plain=${LOGINS[$key]}
      fi
    done
  done
  [[ -n $last_tls && $last_tls > $last_plain ]]
}

# usage: unseen_apps SETTINGS SERVER USE    adds a line to EVIDENCE for each address of a declared app that uses USE from
# which it was never seen in TLS
unseen_apps() {
  local -n _unseen=$1
  local app entry
  for app in $(clients_using "$1" "$3"); do
    for entry in $(words "${_unseen["clients.$app.ADDRESSES"]:-}"); do
      ! app_has_session "$1" "$2" "$app" "$entry" || continue
      [[ $2 == redis ]] || ! app_logged_in "$1" "$app" "$entry" || continue
      EVIDENCE+=("no proof of $app: it was not seen in TLS from $entry; start it, or let it connect once, or take it out of the configuration")
    done
  done
}

# usage: read_logins SERVER AWK_PROGRAM [SINCE]    LOGINS["tls|plain address user"] is the time of the last such login, from
# the container's log, oldest line in LOG_SINCE. The program prints tls|plain, address and user of a login, and nothing
# for another line. SINCE is a time as docker's logs have it.
read_logins() {
  local key time
  local -a since=()
  [[ -z ${3:-} ]] || since=(--since "${3}Z")
  declare -gA LOGINS=()
  LOG_SINCE=''
  while IFS=$'\t' read -r key time; do
    if [[ $key == first ]]; then LOG_SINCE=$time; else LOGINS[$key]=$time; fi
  done < <(call 60 docker logs --timestamps "${since[@]}" "${CONTAINER[$1]}" 2>&1 | awk -v OFS="$FIELD" "
    NR == 1 { print \"first\\t\" \$1 }
    $2
    END { for (key in last) print key \"\\t\" last[key] }")
}

# usage: last_plaintext    LAST_PLAIN is the time of the newest plaintext login of LOGINS, empty for none; LAST_WHO its key
last_plaintext() {
  local key
  LAST_PLAIN='' LAST_WHO=''
  for key in "${!LOGINS[@]}"; do
    [[ $key == plain* && ${LOGINS[$key]} > $LAST_PLAIN ]] || continue
    LAST_PLAIN=${LOGINS[$key]} LAST_WHO=$key
  done
}

# usage: utc SECONDS    prints the time so many seconds ago as docker's logs have it
utc() { date -u -d "-$1 seconds" +%Y-%m-%dT%H:%M:%S.%N; }

# usage: login_words SETTINGS SERVER    prints who LAST_WHO is, and when
login_words() {
  local address user
  IFS=$FIELD read -r _ address user <<<"$LAST_WHO"
  printf "the last plaintext login of %s's log was at %sZ, user %s from %s (%s)" "$2" "${LAST_PLAIN%%.*}" "$user" \
    "$address" "$(apps_behind "$1" postgres "$address" "$user" '' | grep . || printf 'no declared app')"
}

# usage: nobody_comes SETTINGS SERVER AWK_PROGRAM    after read_logins: adds to EVIDENCE who comes in plaintext again while
# the log is watched, and reads it anew. The end of an app's flip may be so near that its last plaintext login is no
# straggler's.
nobody_comes() {
  local begun deadline
  last_plaintext
  [[ -n $LAST_PLAIN && $LAST_PLAIN > $(utc "$WATCH_SECONDS") ]] || return 0
  say "somebody came to $2 in plaintext just now: watching its log for $WATCH_SECONDS s"
  begun=$(utc 0) deadline=$(($(milliseconds) + WATCH_SECONDS * 1000))
  while (($(milliseconds) < deadline)); do
    [[ -z $STOPPED ]] || problem "stopped by $STOPPED while watching the log of $2" || return
    sleep 0.5
    read_logins "$2" "$3" "$begun"
    last_plaintext
    if [[ -n $LAST_PLAIN ]]; then
      EVIDENCE+=("comes again and again: $(login_words "$1" "$2")")
      break
    fi
  done
  read_logins "$2" "$3"
}

# usage: quiet_enough SETTINGS SERVER    adds a line to EVIDENCE where the log has a plaintext login within QUIET_MINUTES,
# or does not reach that far back
quiet_enough() {
  local -n _quiet=$1
  local minutes=${_quiet[QUIET_MINUTES]:-0} since
  ((minutes > 0)) || return 0
  since=$(utc $((minutes * 60)))
  last_plaintext
  if [[ -n $LAST_PLAIN && $LAST_PLAIN > $since ]]; then
    EVIDENCE+=("not quiet: $(login_words "$1" "$2"), and QUIET_MINUTES=$minutes")
  elif [[ -z $LOG_SINCE || $LOG_SINCE > $since ]]; then
    EVIDENCE+=("no proof of quiet: $2's log begins at ${LOG_SINCE%%.*}Z and QUIET_MINUTES=$minutes asks for more; wait, or lower QUIET_MINUTES")
  fi
}

# usage: closing_evidence SETTINGS SERVER ASKED    refuses with every finding; ASKED is the setting
closing_evidence() {
  local finding
  EVIDENCE=()
  if [[ ${RECORDED:-yes} == no && $EMPTY_HOST == yes ]]; then
    say "$3: a new host, nobody was connected yet"
    return
  fi
  resolve_clients "$1"
  "$2_sessions" || problem "$WHY" || return
  end_stragglers "$1" "$2" || problem "$WHY" || return
  stragglers "$1" "$2"
  "$2_proofs" "$1" || return
  ((${#EVIDENCE[@]})) || return 0
  for finding in "${EVIDENCE[@]}"; do say "  $finding"; done
  problem "$3: ${#EVIDENCE[@]} findings stand against it, first: ${EVIDENCE[0]}; let these clients use TLS first (DRAIN_STRAGGLERS=on, or --drain, ends idle sessions); nothing was changed"
}
