# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# PostgreSQL: TLS on and off by reload, and what proves it. Existing sessions go on as they are.

# One shell in a container dials every LABEL CONNINFO pair, side by side, and prints "LABEL<tab>answer": `t` or `f`
# for an encrypted or plaintext session, otherwise libpq's own error.
# shellcheck disable=SC2016  # expanded inside the container
DIAL_SCRIPT='
dial() {
  answer=$(timeout 8 psql -X -A -t -w -c "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()" "$2" 2>&1)
  printf "%s\t%s\n" "$1" "$(printf %s "$answer" | tr "\n\t" "  ")"
}
while [ $# -gt 1 ]; do dial "$1" "$2" & shift 2; done
wait'

# usage: prover SETTINGS    prints the role whose container dials Postgres: PgBouncer's own where it is here
prover() { if has_role "$1" pgbouncer; then printf pgbouncer; else printf postgres; fi; }

# usage: postgres_conninfo SSLMODE [CA_FILE]    the way that PgBouncer dials
postgres_conninfo() {
  printf 'host=%s port=%s user=voiceai dbname=voiceai connect_timeout=5 gssencmode=disable application_name=%s sslmode=%s%s' \
    "${POSTGRES_HOST:-voiceai-postgres}" "${POSTGRES_PORT:-5432}" "$PROBE" "$1" "${2:+ sslrootcert=/etc/ssl/internal/$2}"
}

# usage: through_pgbouncer [WORDS]    conninfo of a login through PgBouncer, from its own container
through_pgbouncer() {
  printf 'host=127.0.0.1 port=%s user=voiceai dbname=voiceai connect_timeout=5 gssencmode=disable application_name=%s %s' \
    "$(pgbouncer_port)" "$PROBE" "${1:-}"
}

# usage: dial_all ROLE LABEL CONNINFO...    dials from ROLE's container into DIAL[label]
dial_all() {
  local label answer
  declare -gA DIAL=()
  while IFS=$'\t' read -r label answer; do
    DIAL[$label]=$answer
  done < <(docker_exec "$1" sh -c "$DIAL_SCRIPT" dial "${@:2}" 2>&1)
}

# usage: dialed LABEL PATTERN MEANING    whether a dial's answer matches; WHY says what it was instead
dialed() {
  local answer=${DIAL[$1]:-}
  # shellcheck disable=SC2053  # a pattern on purpose
  [[ $answer == $2 ]] || checked FAILED "$3" "$answer" || return
  checked ok "$3"
}

# usage: postgres_sql SQL    over the container's Unix socket, as superuser; prints unaligned rows
postgres_sql() {
  local CALL_ARGUMENTS
  call_arguments postgres
  call "$CALL_SECONDS" docker exec -e PGHOST= -e PGOPTIONS='-c statement_timeout=10s' "${CALL_ARGUMENTS[@]}" \
    "${CONTAINER[postgres]}" psql -X -q -A -t -w -v ON_ERROR_STOP=1 -U voiceai -d voiceai -c "$1" </dev/null
}

# usage: postgres_answers    over TCP: while a new cluster is being made, only the Unix socket is open
postgres_answers() {
  dial_all postgres tcp "$(postgres_conninfo prefer)"
  dialed tcp '[tf]' 'Postgres does not answer a query'
}

# usage: wire_fingerprint ROLE PORT [PROTOCOL]    prints the SHA-256 of the certificate that a server serves, as seen
# from this host; PROTOCOL is openssl's name for what asks for TLS first
wire_fingerprint() {
  local pem text
  pem=$(tls_client "${ADDRESS_OF[$1]}" "$2" '' '' "${3:-}") || true
  text=$(openssl x509 -noout -fingerprint -sha256 <<<"$pem" 2>/dev/null) && hex_of "$text"
}

# usage: serves_declared SETTINGS ROLE PORT [PROTOCOL]    whether a server serves the declared certificate; WHY says what
# it serves
serves_declared() {
  local -n _serving=$1
  local seen
  seen=$(wire_fingerprint "${@:2}") || {
    WHY="no certificate is seen at ${ADDRESS_OF[$2]:-no address}:$3 from this host"
    return 1
  }
  [[ $seen == "${_serving[CERTIFICATE_SHA256]}" ]] || {
    WHY="$(service_name "$2") serves the certificate $seen, the settings want ${_serving[CERTIFICATE_SHA256]}"
    return 1
  }
}

# usage: at_dialed_name SETTINGS    prints more of a conninfo, where the certificate does not cover the name by which Postgres is
# reached in a deployment of the site's own: the name that clients dial, at its address
at_dialed_name() {
  local -n _at=$1
  [[ $DEPLOYMENT == yes && " $(certificate_names "$VOICEAI_TLS/server.crt") " != *" $POSTGRES_HOST "* ]] || return 0
  printf ' host=%s hostaddr=%s' "${_at[DIALED_NAMES]%%,*}" "${ADDRESS_OF[postgres]}"
}

# usage: postgres_dials SETTINGS    adds to DIALS what postgres_holds judges: accepted and refused twins
postgres_dials() {
  DIALS+=(plain "$(postgres_conninfo disable)")
  if [[ $(variable_value "$1" POSTGRES_TLS_ENABLED) == off ]]; then
    DIALS+=(tls "$(postgres_conninfo require)")
  else
    DIALS+=(verified "$(postgres_conninfo verify-full ca.crt)$(at_dialed_name "$1")" wrong "$(postgres_conninfo verify-ca wrong-ca.crt)")
  fi
}

# usage: postgres_holds SETTINGS    after the dials; WHY says what does not hold
postgres_holds() {
  if [[ $(variable_value "$1" POSTGRES_FORCE_SSL) == on ]]; then
    dialed plain '*no encryption*' 'Postgres should refuse plaintext' && no_plaintext_session postgres || return
  else
    dialed plain f 'Postgres should accept plaintext' || return
  fi
  if [[ $(variable_value "$1" POSTGRES_TLS_ENABLED) == off ]]; then
    dialed tls '*does not support SSL*' 'Postgres should not offer TLS'
    return
  fi
  dialed verified t 'a verified TLS session to Postgres should be accepted' &&
    dialed wrong '*certificate verify failed*' 'a client that trusts another CA should refuse Postgres'\''s certificate' &&
    serves_declared "$1" postgres 5432 postgres
}

# usage: reload_postgres    unless the server cannot read what is on disk, which it says by itself
reload_postgres() {
  local answer
  answer=$(postgres_sql "SELECT CASE WHEN count(*) = 0 THEN pg_reload_conf()::text ELSE string_agg(concat_ws(' ', sourcefile, 'line', sourceline, name, error), '; ') END FROM pg_file_settings WHERE error IS NOT NULL AND error <> 'setting could not be applied'" 2>&1) ||
    problem "Postgres does not answer: $answer" || return
  [[ $answer == true ]] || problem "Postgres cannot take its configuration: $answer"
}

# usage: postgres_facts FILES    one call: with FILES=yes whether the server's own user can use the certificate's
# files, as it will at its next start; and what sets `ssl` over our heads. Prints a line a finding, none where all
# is well.
postgres_facts() {
  local sql="SELECT 'command line' FROM pg_settings WHERE name IN ('ssl', 'ssl_cert_file', 'ssl_key_file') AND source = 'command line' UNION SELECT 'ALTER SYSTEM' FROM pg_file_settings WHERE name IN ('ssl', 'ssl_cert_file', 'ssl_key_file') AND sourcefile LIKE '%postgresql.auto.conf' LIMIT 1"
  # shellcheck disable=SC2016  # expanded inside the container
  docker_exec postgres sh -c '
    cd /etc/ssl/internal || exit
    for file in server.crt server.key ca.crt; do
      test "$2" = no || test -r "$file" || echo "/etc/ssl/internal/$file is not readable by uid $(id -u)"
    done
    facts=$(stat -L -c "%a %u" server.key 2>&1)
    test "$2" = no || test "$facts" = "600 $(id -u)" ||
      echo "server.key has mode and owner $facts, Postgres wants 600 $(id -u)"
    PGHOST= psql -X -q -A -t -w -v ON_ERROR_STOP=1 -U voiceai -d voiceai -c "$1"' facts "$sql" "$1" 2>&1
}

# usage: preflight_postgres NOW NEXT
preflight_postgres() {
  local mode facts files=no
  if [[ $(variable_value "$2" POSTGRES_TLS_ENABLED) == on ]]; then
    [[ $(variable_value "$2" CERTIFICATE_GENERATION) != 0 ]] ||
      problem "POSTGRES_TLS_ENABLED=on: this host has no certificate (CERTIFICATE_GENERATION=0): raise CERTIFICATE_GENERATION first; nothing was changed" || return
    files=yes
  else
    mode=$(variable_value "$2" PGBOUNCER_SERVER_TLS_SSLMODE)
    ! one_of "$mode" require verify-ca verify-full ||
      problem "POSTGRES_TLS_ENABLED=off: PgBouncer on this host needs TLS to Postgres (PGBOUNCER_SERVER_TLS_SSLMODE=$mode): set that to disable first; nothing was changed" || return
  fi
  facts=$(postgres_facts "$files") || problem "voiceai-postgres does not answer: $facts; nothing was changed" || return
  case $facts in
    '') ;;
    'command line')
      problem "POSTGRES_TLS_ENABLED: ssl or one of its files is set on the command line of voiceai-postgres, which no reload overrides: remove it from the compose override and recreate the container in a maintenance window; nothing was changed"
      ;;
    'ALTER SYSTEM')
      problem "POSTGRES_TLS_ENABLED: ssl or one of its files was set by ALTER SYSTEM, which overrides this setting: run ALTER SYSTEM RESET for ssl, ssl_cert_file and ssl_key_file, then this again; nothing was changed"
      ;;
    *) problem "voiceai-postgres cannot use the certificate: ${facts//$'\n'/; }; nothing was changed" ;;
  esac
}

# usage: apply_postgres SETTINGS    writes the configuration and reloads
apply_postgres() {
  render_postgres "$1" && deliver postgres && fault_point postgres-rendered && reload_postgres && unset 'RENDERED[postgres]'
}
