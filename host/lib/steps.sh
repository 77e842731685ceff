# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The step variables as the functions that act on them; applying, verifying and restoring whole settings.

# The variables that act on servers, without PREPARED itself.
SERVER_STEPS=(CERTIFICATE_GENERATION POSTGRES_TLS_ENABLED PGBOUNCER_SERVER_TLS_SSLMODE PGBOUNCER_CLIENT_TLS_SSLMODE
  POSTGRES_FORCE_SSL REDIS_TLS_ENABLED REDIS_FORCE_TLS)

# usage: step_function VARIABLE SETTINGS    STEP is the name that its functions end in: preflight_STEP NOW NEXT VARIABLE
# and apply_STEP SETTINGS VARIABLE. A server of a deployment that SETTINGS leave alone takes no step but PREPARED.
step_function() {
  kind_of "$1"
  if one_of "$KIND" "${SERVER_STEPS[@]}" && left_alone "$2"; then
    STEP=left_alone
    return
  fi
  case $KIND in
    PREPARED) STEP=prepared ;;
    CERTIFICATE_GENERATION) STEP=certificate ;;
    POSTGRES_TLS_ENABLED) STEP=postgres ;;
    PGBOUNCER_SERVER_TLS_SSLMODE) STEP=pgbouncer ;;
    PGBOUNCER_CLIENT_TLS_SSLMODE) STEP=client_leg ;;
    POSTGRES_FORCE_SSL) STEP=force_ssl ;;
    REDIS_TLS_ENABLED) STEP=redis_tls ;;
    REDIS_FORCE_TLS) STEP=force_redis ;;
    apps.DATABASE_SSL_MODE) STEP=app_database ;;
    apps.REDIS_TLS_ENABLED) STEP=app_redis ;;
    *) problem "there is no step for $1" ;;
  esac
}

# usage: in_safe_order TARGET VARIABLES...    prints VARIABLES in the order in which they may be applied to reach
# TARGET: first what stands at its initial value there, last step first, then the rest in the order of a rollout
in_safe_order() {
  local target=$1 variable forward='' backward=''
  shift
  for variable in $(step_variables "$target"); do
    one_of "$variable" "$@" || continue
    kind_of "$variable"
    if [[ $(variable_value "$target" "$variable") == "${INITIAL_VALUE[$KIND]}" ]]; then
      backward=$variable$'\n'$backward
    else
      forward+=$variable$'\n'
    fi
  done
  printf '%s' "$backward$forward"
}

# usage: serving SETTINGS    prints the servers of this host that use the certificate, each with the variable that says so
serving() {
  if has_role "$1" postgres && [[ $(variable_value "$1" POSTGRES_TLS_ENABLED) == on ]]; then
    printf 'postgres POSTGRES_TLS_ENABLED\n'
  fi
  if has_role "$1" pgbouncer && [[ $(client_leg_mode "$1") != disable ]]; then
    printf 'pgbouncer PGBOUNCER_CLIENT_TLS_SSLMODE\n'
  fi
  if has_role "$1" redis && [[ $(variable_value "$1" REDIS_TLS_ENABLED) == true ]]; then
    printf 'redis REDIS_TLS_ENABLED\n'
  fi
}

# usage: preflight_certificate NOW NEXT    the new pair was staged and checked before this
preflight_certificate() {
  local -n _before=$1 _after=$2
  local mode role variable
  apps_allow_certificate "$1" "$2" || return
  mode=$(variable_value "$1" PGBOUNCER_SERVER_TLS_SSLMODE)
  if [[ ${_after[CERTIFICATE_GENERATION]} == 0 ]]; then
    while read -r role variable; do
      problem "CERTIFICATE_GENERATION=0: voiceai-$role on this host serves TLS ($variable=$(variable_value "$1" "$variable")): take that back first; nothing was changed" || return
    done < <(serving "$1")
    [[ $mode != verify-* ]] ||
      problem "CERTIFICATE_GENERATION=0: PgBouncer on this host verifies Postgres (PGBOUNCER_SERVER_TLS_SSLMODE=$mode): set that to disable first; nothing was changed"
  elif [[ -n ${_before[CA_SHA256]} && ${_before[CA_SHA256]} != "${_after[CA_SHA256]}" ]]; then
    [[ $mode != verify-* ]] ||
      another_ca "$2" "PgBouncer on this host verifies Postgres by the present one" || return
    # Postgres's own clients are PgBouncer, whose mode was asked, and direct ones, who are not ours to know.
    while read -r role variable; do
      [[ $role == postgres ]] ||
        another_ca "$2" "clients may verify voiceai-$role on this host by the present one ($variable=$(variable_value "$1" "$variable"))" || return
    done < <(serving "$1")
  fi
}

# usage: another_ca SETTINGS WHY
another_ca() {
  problem "CERTIFICATE_GENERATION=$(variable_value "$1" CERTIFICATE_GENERATION): another CA, while $2: a reissue keeps the CA; nothing was changed"
}

# usage: apply_certificate SETTINGS
apply_certificate() {
  flip_generation "$1" && deliver_all && fault_point certificate-flipped || return
  local role
  while read -r role _; do "reload_$role" "$1" || return; done < <(serving "$1")
}

# usage: stage_certificate SETTINGS    the certificate to disk, and what the proofs need
stage_certificate() {
  make_dir "$VOICEAI_TLS" 0755 || return
  ensure_wrong_ca || return
  stage_generation "$1"
}

# usage: settings_hold SETTINGS ROLES...    accepted and refused twins of everything that these roles' servers should
# do, in one call
settings_hold() {
  local settings=$1 role
  shift
  DIALS=() CHECKS=()
  for role in "$@"; do
    one_of "$role" redis otel || "${role}_dials" "$settings"
  done
  if ((${#DIALS[@]})); then dial_all "$(prover "$settings")" "${DIALS[@]}"; fi
  for role in "$@"; do "${role}_holds" "$settings" || return; done
}

# usage: verify_settings SETTINGS [ROLES...]    on disk and on the wire, for all servers of the host or some; their logs
# are said where something does not hold
verify_settings() {
  local role roles=()
  for role in "${SERVER_ROLES[@]}" otel; do
    if has_role "$1" "$role" && { (($# == 1)) || one_of "$role" "${@:2}"; }; then roles+=("$role"); fi
  done
  certificate_holds "$1" || return
  if has_deployment "$1"; then
    deployment_holds "$1" || return
    # Its servers are not asked: they do as the site says.
    ! left_alone "$1" || mapfile -t roles < <(printf '%s\n' "${roles[@]}" | grep -x otel)
  fi
  if ((${#roles[@]})); then servers_hold "$1" "${roles[@]}" || return; fi
  if has_role "$1" app && { (($# == 1)) || one_of app "${@:2}"; }; then apps_hold "$1"; fi
}

# usage: apps_hold SETTINGS    every app of the host
apps_hold() {
  local app
  for app in $(apps_of "$1"); do
    wait_for "$RELOAD_SECONDS" "$app to do what the settings say" app_holds "$1" "$app" || return
  done
}

# usage: servers_hold SETTINGS ROLES...    of verify_settings
servers_hold() {
  local -n _verified=$1
  local role roles=("${@:2}")
  wait_for "$RELOAD_SECONDS" "the servers to do what revision ${_verified[REVISION]} says" settings_hold "$1" "${roles[@]}" || {
    for role in "${roles[@]}"; do last_log_lines "$role"; done
    return 1
  }
}

# usage: bring_up SETTINGS RECORDED    after inspect_servers: the servers run and have read what SETTINGS say. On a
# host without a record a running server keeps what steps change: nobody knows yet what it should be. Fails with
# EXIT_REFUSED where nothing was changed, with EXIT_STUCK where a server does not do as it should.
bring_up() {
  RENDERED=()
  if left_alone "$1"; then
    stand_alone "$1" || return
  elif has_servers "$1"; then
    bring_up_servers "$@" || return
  fi
  if has_role "$1" otel; then bring_up_otel "$@"; fi
}

# usage: bring_up_servers SETTINGS RECORDED    as bring_up
bring_up_servers() {
  local role keep
  for role in "${SERVER_ROLES[@]}"; do
    has_role "$1" "$role" || continue
    keep=''
    if [[ $2 == no && ${STATE_OF[$role]} == running ]]; then keep=keep; fi
    "render_$role" "$1" "$keep" || return "$EXIT_REFUSED"
    [[ ${STATE_OF[$role]} == running ]] || unset "RENDERED[$role]"
  done
  start_missing "$1" && deliver_all || return
  [[ -z ${RENDERED[postgres]:-} ]] || reload_postgres || return "$EXIT_STUCK"
  [[ -z ${RENDERED[pgbouncer]:-} ]] || reload_pgbouncer || return "$EXIT_STUCK"
  [[ -z ${RENDERED[redis]:-} ]] || say 'the configuration of voiceai-redis changed: it takes effect when Redis starts the next time'
}

# usage: restore SETTINGS CHANGES...    puts every one of CHANGES to what SETTINGS say and verifies the whole
restore() {
  local settings=$1 variable failed=0 RESTORING=yes
  local -a STEPPED=("${@:2}")
  shift
  # What ended the way forward may have ended the console's session too.
  admin_close
  stage_certificate "$settings" || return
  if has_servers "$settings"; then inspect_servers "$settings"; fi
  bring_up "$settings" no || return
  for variable in $(in_safe_order "$settings" "$@"); do
    step_function "$variable" "$settings" && "apply_$STEP" "$settings" "$variable" || failed=1
  done
  ((failed == 0)) && verify_settings "$settings"
}

# usage: reapply SETTINGS    makes the running servers read what the settings say, changed or not
reapply() {
  local variable
  # shellcheck disable=SC2046  # a list of words
  for variable in $(in_safe_order "$1" $(step_variables "$1")); do
    step_function "$variable" "$1" && "apply_$STEP" "$1" "$variable" || return
  done
}
