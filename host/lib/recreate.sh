# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# A container made anew by the site's own compose, once, where there is no gentler way: behind PAUSE where PgBouncer can
# hold its clients.

# usage: recreate_servers SETTINGS    what the survey decided, unless our mounts show that it was done. PgBouncer comes
# first: it is what holds the clients while Postgres is away.
recreate_servers() {
  local role done_any=no
  for role in pgbouncer postgres redis; do
    must_recreate "$role" || continue
    done_any=yes
    say "$(service_name "$role") is made anew, because ${DECIDED["recreate.$role"]}"
    case $role in
      postgres) recreate_postgres "$1" || return ;;
      pgbouncer) recreate_pgbouncer "$1" || return ;;
      redis) recreate "$1" redis || return ;;
    esac
  done
  [[ $done_any == yes ]] || return 0
  admin_close
  name_containers "$1" && inspect_servers "$1"
}

# usage: recreate SETTINGS ROLE [OPTION...]    makes one container anew and waits until its server answers
recreate() {
  local words
  words=$(site_compose "$START_SECONDS" --progress quiet up --detach --no-deps --force-recreate "${@:3}" "$(service_name "$2")" 2>&1) ||
    problem "docker compose could not make $(service_name "$2") anew: $(tail -n 3 <<<"$words" | tr '\n' ' ')" || return
  unset "OWNER_OF[$2]"
  wait_for "$WAIT_SECONDS" "$(service_name "$2") to answer" server_answers "$1" "$2" || {
    last_log_lines "$2"
    return 1
  }
}

# usage: interrupt ROLE    SIGINT to the server's process: Postgres's fast shutdown, PgBouncer's after the last transaction
interrupt() {
  # The end of a container ends this call as well, with any status.
  # shellcheck disable=SC2016  # expanded inside the container
  docker_exec "$1" sh -c 'kill -INT "$1"' interrupt "${ARGUMENT_OF[$1]%% *}" >/dev/null 2>&1 || true
}

# usage: is_gone ROLE    whether the process that find_deployment saw has ended
is_gone() {
  # shellcheck disable=SC2016  # expanded inside the container
  ! docker_exec "$1" sh -c 'kill -0 "$1"' is-gone "${ARGUMENT_OF[$1]%% *}" >/dev/null 2>&1
}

# usage: recreate_postgres SETTINGS    while PgBouncer, where it is on this host, holds its clients
recreate_postgres() {
  if [[ -z ${SERVICE_OF[pgbouncer]:-} ]]; then
    renew_postgres "$1"
    return
  fi
  open_console && login_retry_is_short && restart_postgres_paused renew_postgres "$1"
}

# usage: renew_postgres SETTINGS    an image without a stop signal of its own would wait for direct clients until it is killed
renew_postgres() {
  interrupt postgres && wait_for "$WAIT_SECONDS" "$(service_name postgres) to end" is_gone postgres && recreate "$1" postgres
}

# usage: recreate_pgbouncer SETTINGS    when no transaction is under way; who is connected is cut off. Its own end by
# SIGTERM would wait for the last client to leave.
recreate_pgbouncer() {
  if [[ -n ${SOCKET_OF[pgbouncer]:-} ]]; then
    pgbouncer_pause "$WAIT_SECONDS" || return
  else
    interrupt pgbouncer && wait_for "$WAIT_SECONDS" "the transactions of $(service_name pgbouncer) to end" is_gone pgbouncer || return
  fi
  admin_close
  recreate "$1" pgbouncer --timeout 0 || return
  # The new one is not paused; what says so goes.
  rm -f "$VOICEAI_STATE/paused"
}
