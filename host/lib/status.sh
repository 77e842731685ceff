# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# What an operator reads: settings, certificate, live facts, hand changes, an interrupted update.

# usage: show_certificate
show_certificate() {
  local file=$VOICEAI_TLS/server.crt
  [[ -r $file ]] || file=$VOICEAI_TLS/ca.crt
  if [[ ! -r $file ]]; then
    printf 'certificate  none on disk\n'
    return
  fi
  printf 'certificate  %s: %s, valid until %s\n' "$(current_generation)" "${file##*/}" \
    "$(openssl x509 -in "$file" -noout -enddate | cut -d = -f 2)"
  printf '             sha256 %s\n' "$(certificate_sha256 "$file")"
  [[ $file != */server.crt ]] || printf '             names  %s\n' "$(certificate_names "$file")"
}

# usage: show_postgres
show_postgres() {
  local facts
  facts=$(postgres_sql "SELECT 'ssl ' || current_setting('ssl') || ', sessions: ' || count(*) FILTER (WHERE s.ssl) || ' TLS, ' || count(*) FILTER (WHERE NOT s.ssl) || ' plaintext' FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.backend_type = 'client backend' AND pid <> pg_backend_pid()" 2>&1) ||
    facts="does not answer: $facts"
  printf 'postgres     %s\n' "$facts"
}

# usage: show_pgbouncer
show_pgbouncer() {
  if admin_setting server_tls_sslmode && count_server_connections; then
    printf 'pgbouncer    server_tls_sslmode %s, server connections: %s TLS, %s plaintext\n' \
      "$ADMIN_VALUE" "$CONNECTIONS_TLS" "$CONNECTIONS_PLAIN"
  else
    printf 'pgbouncer    does not answer: %s\n' "$WHY"
  fi
  admin_close
}

# usage: show_redis
show_redis() {
  local tls plain
  if redis_sessions; then
    mapfile -t tls < <(sessions_in tls)
    mapfile -t plain < <(sessions_in plain)
    printf 'redis        answers, clients: %s TLS, %s plaintext\n' "${#tls[@]}" "${#plain[@]}"
  else
    printf 'redis        does not answer: %s\n' "$WHY"
  fi
}

# usage: show_otel
show_otel() {
  local scrapes=' and it scrapes'
  inspect_otel
  otel_scrapes || scrapes=", $WHY"
  printf 'otel         %s, endpoint %s%s\n' "$OTEL_STATE" "$(sed -n 's/^REDIS_ENDPOINT=//p' "$VOICEAI_ETC/otel/env" 2>/dev/null)" "$scrapes"
}

# usage: show_status    prints all of it
show_status() {
  local -A RECORD=()
  local variable key declared now author since
  if ! read_verified RECORD; then
    printf 'settings     nothing was verified on this host yet\n'
  else
    printf 'settings     revision %s, environment %s, roles %s\n' \
      "${RECORD[REVISION]}" "${RECORD[ENVIRONMENT]}" "${RECORD[ROLES]}"
    for variable in $(step_variables RECORD); do
      printf '             %s=%s\n' "$variable" "$(variable_value RECORD "$variable")"
    done
    if [[ $(<"$VOICEAI_STATE/settings.verified") != "$(cat "$VOICEAI_STATE/settings" 2>/dev/null)" ]]; then
      printf 'edited       %s differs from what was verified: update.sh --restart-only applies it\n' "$VOICEAI_STATE/settings"
    fi
    show_certificate
    name_containers RECORD || printf 'deployment   %s\n' "$REASON"
    if has_servers RECORD; then inspect_servers RECORD; fi
    know_redis RECORD
    for variable in "${SERVER_ROLES[@]}" otel; do ! has_role RECORD "$variable" || "show_$variable"; done
    for variable in $(apps_of RECORD); do show_app RECORD "$variable"; done
  fi
  while read -r key declared now author since; do
    printf 'hand change  %s=%s, declared %s; by %s at %s\n' "$key" "$now" "$declared" "$author" "$since"
  done < <(cat "$VOICEAI_STATE/HAND_CHANGE" 2>/dev/null)
  if [[ -e $VOICEAI_STATE/intent ]]; then
    printf 'interrupted  an update of %s, begun %s by %s: the next update puts it back first\n' \
      "$(intent_value CHANGES)" "$(intent_value SINCE)" "$(intent_value WHO)"
  fi
}
