# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Where things are, how this speaks, and the two things that everything else here stands on: bounded waits and
# files that are replaced whole or not at all.

VOICEAI_ETC=${VOICEAI_ETC:-/etc/voiceai}
VOICEAI_TLS=${VOICEAI_TLS:-/etc/ssl/internal}
VOICEAI_STATE=${VOICEAI_STATE:-/var/lib/voiceai}

# All three servers run as this user, so that one 0600 key serves them.
SERVER_OWNER=70:70

EXIT_FAILED=1
EXIT_BAD_INPUT=2
EXIT_REFUSED=3
EXIT_STUCK=4
EXIT_BUSY=5

# Set by a signal; every wait and every step looks at it. See `stop_requested` in transaction.sh.
STOPPED=''
# The last problem that was said: what a refusal, the journal and the end of a failed update repeat.
REASON=''

# usage: say WORDS...    one line of progress. Its reader may be gone (a lost SSH connection): that stops nothing.
say() { printf '%s\n' "$*" >&2 || true; }

# usage: problem WORDS...    says what is wrong, remembers it, and fails
problem() {
  REASON=$*
  say "$*"
  return 1
}

# What was checked on the wire, a line a check: what --verify-only prints.
CHECKS=()

# usage: checked ok|FAILED WHAT [ANSWER]    keeps the line; a failed one leaves WHY, and fails
checked() {
  CHECKS+=("$(printf '%-6s  %s' "$1" "$2${3:+: $3}")")
  [[ $1 == ok ]] || {
    WHY="$2; the answer was: ${3:-none}"
    return 1
  }
}

# usage: read_environment    exports the site's KEY=VALUE lines (endpoint, credentials); what is set already wins
read_environment() {
  local line key value file=$VOICEAI_ETC/environment
  [[ -r $file ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] || continue
    key=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
    if [[ $value == \"*\" || $value == \'*\' ]]; then value=${value:1:${#value}-2}; fi
    [[ -n ${!key+set} ]] || export "$key=$value"
  done <"$file"
}

# usage: read_bounds    the waits' bounds in seconds, after read_environment
read_bounds() {
  # For what depends on others, such as the end of a transaction.
  WAIT_SECONDS=${WAIT_SECONDS:-60}
  # For what a server does by itself after a reload.
  RELOAD_SECONDS=${RELOAD_SECONDS:-10}
  # For one call of docker that waits for nobody.
  CALL_SECONDS=${CALL_SECONDS:-20}
  # For images that may have to be pulled.
  START_SECONDS=${START_SECONDS:-300}
  local name
  for name in WAIT_SECONDS RELOAD_SECONDS CALL_SECONDS START_SECONDS; do
    [[ ${!name} =~ ^[1-9][0-9]{0,4}$ ]] || problem "$name=${!name}: a whole number of seconds, 1 to 99999" || return
  done
}

# usage: milliseconds    prints a clock in milliseconds; only differences mean anything
milliseconds() {
  local now=${EPOCHREALTIME/[.,]/}
  printf '%s' "${now%???}"
}

# usage: wait_for SECONDS WHAT COMMAND...    runs COMMAND until it succeeds. Says what it waits for after two
# seconds. COMMAND leaves in WHY what is so meanwhile; a bound that is over repeats it.
wait_for() {
  local bound=$1 what=$2 start said=no
  shift 2
  start=$(milliseconds)
  WHY=''
  until "$@"; do
    [[ -z $STOPPED ]] || problem "stopped by $STOPPED while waiting for $what" || return
    local waited=$(($(milliseconds) - start))
    ((waited < bound * 1000)) || problem "waited ${bound} s for $what${WHY:+: $WHY}" || return
    if ((waited >= 2000)) && [[ $said == no ]]; then
      say "waiting for $what (up to ${bound} s)${WHY:+: $WHY}"
      said=yes
    fi
    sleep 0.1
  done
}

# usage: make_dir PATH MODE    makes a directory, or gives an existing one that mode
make_dir() {
  [[ -d $1 && $(stat -c %a "$1") == "${2#0}" ]] && return 0
  mkdir -p "$1" 2>/dev/null && chmod "$2" "$1" || problem "cannot make $1: no permission, or the disk is full"
}

# usage: write_file PATH MODE OWNER CONTENT [END]    replaces PATH by rename, only when something differs; WROTE=yes then.
# END is a line's end where it is not given.
# The new file has its owner and is unreadable to others from its first byte. A full disk leaves the old file.
write_file() {
  local path=$1 mode=$2 owner=$3 content=$4 end=${5-$'\n'} new
  WROTE=no
  if [[ -f $path && ! -L $path && $(<"$path") == "$content" &&
  $(stat -c '%a %u:%g' "$path") == "${mode#0} $owner" ]]; then
    return 0
  fi
  new=${path%/*}/.${path##*/}.new
  rm -f "$new"
  if (umask 077 && : >"$new" && chown "$owner" "$new" && printf '%s%s' "$content" "$end" >"$new" &&
    chmod "$mode" "$new" && sync "$new" && mv -fT "$new" "$path") 2>/dev/null; then
    WROTE=yes
    return 0
  fi
  rm -f "$new"
  problem "cannot write $path: no permission, or the disk is full; what was there is unchanged"
}

# usage: fault_point NAME    for tests of the journal: dies here as by a power cut when VOICEAI_FAULT is NAME
fault_point() {
  [[ ${VOICEAI_FAULT:-} != "$1" ]] || kill -KILL $$
}
