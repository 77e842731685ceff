# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# POSTGRES_FORCE_SSL: in the existing pg_hba.conf the words `host` and `hostnogssenc` become `hostssl`, every other byte
# stays. The file before is kept on the host, in /var/lib/voiceai/pg_hba: `before` as it was found, `forced` as it was
# written.
#
# Guarantees: Postgres itself reads the new file without an error, and without a line that would still take plaintext,
# before it is told to reload; the way back restores the file to the byte, and where somebody edited it meanwhile, it
# takes back our word alone and keeps the edit.

HBA_STATE=$VOICEAI_STATE/pg_hba

# `host` at the beginning of a record. A line that ends in a backslash is continued, so the next one begins none.
HBA_TO_SSL='
:record
s/^([[:blank:]]*)host(nogssenc)?([[:blank:]])/\1hostssl\3/
:more
/\\\r?$/ { n; b more }'

# usage: hba_path    prints where pg_hba.conf is, inside the container
hba_path() { postgres_sql 'SHOW hba_file'; }

# usage: read_hba FILE    Postgres's pg_hba.conf to FILE, byte for byte
read_hba() {
  local path
  path=$(hba_path) || problem "Postgres does not say where its pg_hba.conf is: $path" || return
  docker_exec postgres cat "$path" >"$1" 2>/dev/null ||
    problem "$path in voiceai-postgres cannot be read, or the disk under ${1%/*} is full; nothing was changed"
}

# usage: write_hba FILE    FILE becomes Postgres's pg_hba.conf, with the owner and mode that it has
write_hba() {
  local path words
  path=$(hba_path) || problem "Postgres does not say where its pg_hba.conf is: $path" || return
  # A file that is a mount of its own can't be renamed over: then it is written in place.
  # shellcheck disable=SC2016  # expanded inside the container
  words=$(call "$CALL_SECONDS" docker exec -i "${CONTAINER[postgres]}" sh -c '
    set -e
    file=$(readlink -f "$1") new=$(readlink -f "$1").internal-tls
    cp -p "$file" "$new"
    cat >"$new"
    sync
    mv "$new" "$file" 2>/dev/null || { cat "$new" >"$file"; rm -f "$new"; }' hba "$path" <"$1" 2>&1) ||
    problem "$path in voiceai-postgres cannot be written: $words"
}

# usage: keep_hba NAME FILE    FILE becomes NAME of HBA_STATE, whole
keep_hba() {
  make_dir "$HBA_STATE" 0700 && cp "$2" "$HBA_STATE/.$1.new" 2>/dev/null && sync "$HBA_STATE/.$1.new" &&
    mv -fT "$HBA_STATE/.$1.new" "$HBA_STATE/$1" ||
    problem "cannot write $HBA_STATE/$1: no permission, or the disk is full"
}

# usage: unforce FILE    prints FILE with every line that we wrote as it was before; other lines as they are
unforce() {
  local LC_ALL=C
  awk -v RS='\n' -v before="$HBA_STATE/before" -v forced="$HBA_STATE/forced" '
    BEGIN {
      while ((getline new <forced) > 0) { getline old <before; if (new != old && !(new in was)) was[new] = old }
    }
    { printf "%s%s", (NR > 1 ? "\n" : ""), ($0 in was ? was[$0] : $0) }' "$1"
  [[ -z $(tail -c 1 "$1") ]] && printf '\n'
  return 0
}

# usage: bad_hba    prints what Postgres has against the file as it stands, or would still take plaintext
bad_hba() {
  postgres_sql "SELECT concat_ws(' ', 'line', line_number, CASE WHEN error IS NOT NULL THEN error WHEN type IS NULL THEN 'cannot be read' ELSE 'still takes plaintext (' || type || ')' END) FROM pg_hba_file_rules WHERE error IS NOT NULL OR type IS NULL OR (${1:-false} AND type IN ('host', 'hostnossl', 'hostnogssenc') AND auth_method <> 'reject') ORDER BY line_number LIMIT 3" 2>&1
}

# usage: take_hba FILE FORCED    FILE is written, judged by Postgres, and read by it; what was there is put back where it
# is not good
take_hba() {
  local was=$HBA_STATE/.was words
  read_hba "$was" || return
  if ! cmp -s "$was" "$1"; then write_hba "$1" || return; fi
  fault_point force_ssl-written
  words=$(bad_hba "$2")
  if [[ -n $words ]]; then
    write_hba "$was" || return
    problem "Postgres would not take the new pg_hba.conf: ${words//$'\n'/; }; what was there is back"
    return
  fi
  reload_postgres
}

# usage: apply_force_ssl SETTINGS VARIABLE
apply_force_ssl() {
  local now=$HBA_STATE/.now
  if [[ $(variable_value "$1" POSTGRES_FORCE_SSL) == off ]]; then
    unforce_postgres "$now"
    return
  fi
  make_dir "$HBA_STATE" 0700 && read_hba "$now" || return
  if [[ -e $HBA_STATE/forced ]] && cmp -s "$now" "$HBA_STATE/forced"; then
    reload_postgres
    return
  fi
  if [[ -e $HBA_STATE/forced ]]; then unforce "$now" >"$now.unforced" && mv -f "$now.unforced" "$now" || return; fi
  sed -E "$HBA_TO_SSL" "$now" >"$now.forced" || problem "cannot write $now.forced: the disk is full" || return
  rm -f "$HBA_STATE/forced"
  keep_hba before "$now" && keep_hba forced "$now.forced" && fault_point force_ssl-kept || return
  take_hba "$HBA_STATE/forced" true
}

# usage: unforce_postgres FILE    the way back, FILE is a place for the file as it stands; nothing to do where we wrote none
unforce_postgres() {
  [[ -e $HBA_STATE/forced && -e $HBA_STATE/before ]] || return 0
  read_hba "$1" || return
  if cmp -s "$1" "$HBA_STATE/before"; then
    reload_postgres || return
  elif cmp -s "$1" "$HBA_STATE/forced"; then
    take_hba "$HBA_STATE/before" false || return
  else
    say 'pg_hba.conf was edited since POSTGRES_FORCE_SSL was set: the edit stays, hostssl becomes host where it was'
    unforce "$1" >"$1.unforced" && take_hba "$1.unforced" false || return
  fi
  fault_point force_ssl-restored
  rm -f "$HBA_STATE/forced" "$HBA_STATE/before"
}

# usage: postgres_sessions    fills SESSIONS with those that came over the network, replication included; our own probes
# are left out
postgres_sessions() {
  local rows row
  SESSIONS=()
  rows=$(postgres_sql "SELECT concat_ws(E'\\x1f', CASE WHEN s.ssl THEN 'tls' ELSE 'plain' END, host(a.client_addr), a.usename, a.application_name || CASE WHEN a.backend_type = 'walsender' THEN ' (replication)' ELSE '' END, a.pid, CASE WHEN a.state = 'idle' AND a.state_change < now() - interval '1 s' THEN 'idle' ELSE 'busy' END) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.client_addr IS NOT NULL AND a.pid <> pg_backend_pid() AND a.application_name <> '$PROBE'" 2>&1) || {
    WHY="Postgres does not list its sessions: $rows"
    return 1
  }
  while IFS= read -r row; do [[ -z $row ]] || SESSIONS+=("$row"); done <<<"$rows"
}

# usage: postgres_end_session ID
postgres_end_session() { postgres_sql "SELECT pg_terminate_backend($1)" >/dev/null; }

# Postgres logs each authorized connection, an encrypted one with the words `SSL enabled`; the address stands in the line
# before, which the same process wrote.
# shellcheck disable=SC2016  # awk's
POSTGRES_LOGINS='
  / connection received: host=/ {
    pid = $0; sub(/[^[]*\[/, "", pid); sub(/\].*/, "", pid)
    host = $0; sub(/^.* host=/, "", host); sub(/ .*$/, "", host); from[pid] = host
  }
  / (replication )?connection authorized: user=/ {
    pid = $0; sub(/[^[]*\[/, "", pid); sub(/\].*/, "", pid)
    user = $0; sub(/^.* user=/, "", user); sub(/ .*$/, "", user)
    if (!(pid in from) || from[pid] ~ /^(\[local\]|127[.]|::1)/ || $0 ~ / application_name='"$PROBE"'/) next
    last[($0 ~ / SSL enabled/ ? "tls" : "plain") OFS from[pid] OFS user] = $1
    delete from[pid]
  }'

# usage: postgres_proofs SETTINGS    adds to EVIDENCE, see closing_evidence. Apps come through PgBouncer, whose leg is the
# proof
postgres_proofs() {
  if has_role "$1" pgbouncer; then
    [[ $(server_leg_mode "$1") == tls ]] ||
      EVIDENCE+=("PgBouncer's leg to Postgres may be in plaintext: set PGBOUNCER_SERVER_TLS_SSLMODE to verify-ca first")
  fi
  read_logins postgres "$POSTGRES_LOGINS"
  nobody_comes "$1" postgres "$POSTGRES_LOGINS" || return
  quiet_enough "$1" postgres
}

# usage: preflight_force_ssl NOW NEXT VARIABLE
preflight_force_ssl() {
  local words
  [[ $(variable_value "$2" POSTGRES_FORCE_SSL) == on ]] || return 0
  [[ $(variable_value "$2" POSTGRES_TLS_ENABLED) == on ]] ||
    problem "$3=on: Postgres would refuse everybody (POSTGRES_TLS_ENABLED=off): set that to on first; nothing was changed" || return
  words=$(bad_hba false) || problem "Postgres does not answer: $words; nothing was changed" || return
  [[ -z $words ]] ||
    problem "$3=on: pg_hba.conf has errors already, and Postgres runs on an older one: ${words//$'\n'/; }; mend it and reload first; nothing was changed" || return
  closing_evidence "$2" postgres "$3=on"
}
