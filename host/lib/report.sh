# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# What the operator's command reads of a host: one JSON object, `update.sh --report`. What is served is asked on the wire;
# what only a file or a server says stands beside it under its own key. Judged elsewhere.
#
# Guarantees: nothing is changed and no lock is taken, so that asking never holds up a change; a server that does not answer
# is said so and the rest is still told; a password is in no value. With --restart scratch processes run beside the servers,
# on ports of their own on loopback, and are gone with the answer: see report_start.sh.

REPORT_FORMAT=1

# usage: update_is_under_way    whether a process has the lock's file open, as take_lock opens it. Trying the lock would make
# an update that begins now fail.
update_is_under_way() {
  local open
  for open in /proc/[0-9]*/fd/9; do
    [[ ! $open -ef $VOICEAI_STATE/lock ]] || return 0
  done
  return 1
}

# usage: settings_are_edited    whether the settings that people see are not those that were verified
settings_are_edited() {
  [[ -r $VOICEAI_STATE/settings && $(<"$VOICEAI_STATE/settings") != "$(<"$VOICEAI_STATE/settings.verified")" ]]
}

# usage: report_record SETTINGS    adds to REPORT what was last verified
report_record() {
  local -n _recorded=$1
  local record='' variable
  local -A values=()
  put record revision "${_recorded[REVISION]}"
  put record environment "${_recorded[ENVIRONMENT]}"
  # shellcheck disable=SC2046  # a list of words
  list_of $(words "${_recorded[ROLES]}")
  put_raw record roles "$JSON"
  for variable in $(step_variables "$1"); do
    kind_of "$variable"
    values[$variable]=${_recorded[$variable]:-${INITIAL_VALUE[$KIND]}}
  done
  put_map record settings values
  put record certificateSha256 "${_recorded[CERTIFICATE_SHA256]:-}"
  put record caSha256 "${_recorded[CA_SHA256]:-}"
  put record redisTlsPort "${_recorded[REDIS_TLS_PORT]:-}"
  put_truth record edited settings_are_edited
  put_raw REPORT record "{${record%,}}"
}

# usage: report_hand_changes    adds to REPORT what was set by hand and is not declared
report_hand_changes() {
  local key declared now author since one list=''
  while read -r key declared now author since; do
    one=''
    put one key "$key"
    put one declared "$declared"
    put one now "$now"
    put one who "$author"
    put one since "$since"
    add_to list "{${one%,}}"
  done < <(cat "$VOICEAI_STATE/HAND_CHANGE" 2>/dev/null)
  put_raw REPORT handChanges "[${list%,}]"
}

# usage: report_interrupted    adds to REPORT the change that has begun and not ended
report_interrupted() {
  local key value one=''
  local -A intent=()
  [[ -e $VOICEAI_STATE/intent ]] || return 0
  while IFS='=' read -r key value; do
    case $key in CHANGES | SINCE | WHO) put one "${key,,}" "$value" ;; esac
  done < <(cat "$VOICEAI_STATE/intent" 2>/dev/null)
  put_raw REPORT interrupted "{${one%,}}"
}

# usage: report_certificate_files    adds to REPORT what lies on disk, which nobody need serve
report_certificate_files() {
  local one='' text file key=ca
  put one generation "$(current_generation)"
  for file in ca.crt server.crt; do
    [[ -r $VOICEAI_TLS/$file ]] || continue
    [[ $file == ca.crt ]] || key=server
    text=$(openssl x509 -in "$VOICEAI_TLS/$file" -noout -serial -enddate -fingerprint -sha256 -ext subjectAltName 2>/dev/null) || continue
    certificate_object "$text"
    put_raw one "$key" "$JSON"
  done
  put_raw REPORT files "{${one%,}}"
}

# usage: certificate_object TEXT    JSON is a certificate of openssl's description
certificate_object() {
  local certificate='' line
  local -a names
  while IFS= read -r line; do
    case $line in
      serial=*) put certificate serial "${line#*=}" ;;
      notAfter=*) put certificate notAfter "${line#*=}" ;;
      *Fingerprint=*) put certificate sha256 "$(hex_of "$line")" ;;
    esac
  done <<<"$1"
  read -ra names <<<"$(names_in "$1")"
  list_of "${names[@]}"
  put_raw certificate names "$JSON"
  JSON="{${certificate%,}}"
}

# usage: clients_object SETTINGS SERVER    JSON is the list of clients: standard input has a line a session, way, address,
# user and application between FIELDs. Sessions that look the same are counted; several apps that each may be stay several.
clients_object() {
  local row way address user application one list=''
  local -A count=()
  while IFS= read -r row; do
    # A name may hold what no name should: it must not be the end of this.
    [[ -z $row ]] || count[$row]=$((${count[$row]:-0} + 1))
  done
  for row in "${!count[@]}"; do
    IFS=$FIELD read -r way address user application <<<"$row"
    ! is_own_loopback "$2" "$address" && [[ $application != "$PROBE"* ]] || continue
    one=''
    put one way "$way"
    put one address "$address"
    put one user "$user"
    put one application "$application"
    put_number one sessions "${count[$row]}"
    find_apps "$1" "$2" "$address" "$user" "$application"
    list_of "${FOUND_APPS[@]}"
    put_raw one apps "$JSON"
    add_to list "{${one%,}}"
  done
  JSON="[${list%,}]"
}

# usage: report_record_parts SETTINGS RESTART    adds to REPORT what the host runs
report_record_parts() {
  local app list=''
  report_record "$1"
  report_certificate_files
  if ! name_containers "$1" 2>/dev/null; then put REPORT problem "$REASON"; fi
  if has_servers "$1" || has_role "$1" otel; then report_servers "$@"; fi
  for app in $(apps_of "$1"); do
    report_app "$@" "$app"
    add_to list "$JSON"
  done
  put_raw REPORT apps "[${list%,}]"
}

# usage: show_report yes|no    prints the object; yes: with what a start of each container would do
show_report() {
  local -A RECORD=()
  local REPORT='' now
  put_number REPORT format "$REPORT_FORMAT"
  TZ=UTC printf -v now '%(%Y-%m-%dT%H:%M:%SZ)T' -1
  put REPORT time "$now"
  put_truth REPORT underWay update_is_under_way
  report_hand_changes
  report_interrupted
  if read_verified RECORD 2>/dev/null; then report_record_parts RECORD "$1"; fi
  printf '{%s}\n' "${REPORT%,}"
}
