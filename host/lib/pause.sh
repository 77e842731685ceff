# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# PgBouncer's clients made to wait, instead of failing, while Postgres is away.
#
# Guarantees: PAUSE never holds anybody up for longer than PAUSE_SECONDS while it waits for somebody's transaction; a
# pause ends when this ends, by success, failure or a signal; after a kill -9 or a lost host it ends by itself after
# PAUSED_SECONDS, by a watch inside PgBouncer's container, and the next update ends it first.

# How long one attempt may let the others queue behind a long transaction.
PAUSE_SECONDS=3
# Longer than a restart takes, shorter than PgBouncer's query_wait_timeout (120 s), which would fail the waiting.
PAUSED_SECONDS=90

# usage: console COMMAND    one command in a session of its own, which `timeout` may end: a PAUSE that another session
# resumes is never answered. WHY has the answer.
console() {
  local CONSOLE
  console_words
  WHY=$(docker_exec pgbouncer timeout "$PAUSE_SECONDS" psql -X -A -t -w "${CONSOLE[@]}" -c "$1" 2>&1)
}

# usage: oldest_transaction [SECONDS]    prints who of PgBouncer's is longest in a transaction, for SECONDS at least (0); seen
# from its own container, so that its sessions are those from the same address
oldest_transaction() {
  local sql="SELECT usename || ' has been in a transaction for ' || extract(epoch FROM now() - xact_start)::int || ' s (pid ' || pid || ', ' || state || CASE WHEN application_name <> '' THEN ', application_name ' || application_name ELSE '' END || ')' FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND client_addr = inet_client_addr() AND xact_start < now() - interval '${1:-0} s' ORDER BY xact_start LIMIT 1"
  docker_exec pgbouncer psql -X -A -t -w -c "$sql" "$(postgres_conninfo prefer)" 2>&1
}

# usage: no_long_transaction    refuses where a server connection is held for longer than this update would wait
no_long_transaction() {
  local who
  who=$(oldest_transaction "$WAIT_SECONDS") || problem "Postgres does not answer PgBouncer's container: $who" || return
  [[ -z $who ]] ||
    problem "PgBouncer to Postgres: $who; a server connection changes only between transactions, and this update waits ${WAIT_SECONDS} s at most: end it (SELECT pg_terminate_backend(pid)), or run this again with a larger WAIT_SECONDS; nothing was changed"
}

# usage: pgbouncer_pause SECONDS    afterwards no transaction is under way and new ones queue; or, after SECONDS, nothing is
# paused and who was in the way is said. pgbouncer_resume must follow a success.
pgbouncer_pause() {
  local who
  pooling_is_supported && arm_resume || return
  wait_for "$1" 'a moment without a long transaction, to pause PgBouncer' try_pause || {
    who=$(oldest_transaction) || who=''
    pgbouncer_resume
    problem "PgBouncer could not be paused within $1 s${who:+: $who}; end that (SELECT pg_terminate_backend(pid)), or run this again with a larger WAIT_SECONDS; nobody waits any longer"
  }
}

# usage: try_pause    one attempt; while a transaction is old already, nobody is made to queue behind it
try_pause() {
  WHY=$(oldest_transaction 1) || return
  [[ -z $WHY ]] || return
  ! console PAUSE || return 0
  # Cut short, it is still in force.
  console RESUME || true
  WHY='a transaction did not end in time'
  return 1
}

# usage: arm_resume    before a PAUSE: what ends it without us. Its mark is in memory, which every container can write.
arm_resume() {
  local CALL_ARGUMENTS CONSOLE token=$$-$EPOCHSECONDS answer
  write_file "$VOICEAI_STATE/paused" 0644 0:0 "$token" || return
  console_words
  call_arguments pgbouncer
  # shellcheck disable=SC2016  # expanded inside the container
  answer=$(docker_exec pgbouncer touch "/dev/shm/.paused-$token" 2>&1 &&
    with_passwords call "$CALL_SECONDS" docker exec --detach "${CALL_ARGUMENTS[@]}" "${CONTAINER[pgbouncer]}" sh -c '
      token=$1
      sleep "$2"
      shift 2
      test -e "/dev/shm/.paused-$token" || exit 0
      rm -f "/dev/shm/.paused-$token"
      psql -X -w "$@" -c RESUME' resume "$token" "$PAUSED_SECONDS" "${CONSOLE[@]}" 2>&1) ||
    problem "PgBouncer's container takes no watch that would end a pause: $answer"
}

# usage: pgbouncer_resume    ends a pause, this update's or one that a killed one left; where there is none it does nothing
pgbouncer_resume() {
  local token
  [[ -e $VOICEAI_STATE/paused ]] || return 0
  token=$(<"$VOICEAI_STATE/paused")
  docker_exec pgbouncer rm -f "/dev/shm/.paused-$token" >/dev/null 2>&1 || true
  console RESUME || [[ $WHY == *'not paused'* ]] ||
    problem "PgBouncer may still be paused: $WHY; run RESUME in its console, or wait $PAUSED_SECONDS s" || return
  rm -f "$VOICEAI_STATE/paused"
}

# usage: end_left_pause    one that a killed update left; with Postgres up if that is a matter of seconds
end_left_pause() {
  [[ -e $VOICEAI_STATE/paused ]] || return 0
  say 'an update was killed while PgBouncer was paused: resuming it'
  wait_for "$RELOAD_SECONDS" "$(service_name postgres) to answer" postgres_answers || true
  pgbouncer_resume || true
}

# usage: restart_postgres_paused COMMAND...    COMMAND restarts or recreates Postgres while PgBouncer's clients wait. Who dials
# Postgres itself is cut off. Fails, with nobody waiting, where PgBouncer is not here or cannot be paused.
restart_postgres_paused() {
  local start failed=0
  [[ ${STATE_OF[pgbouncer]:-} == running ]] ||
    problem 'Postgres must restart, and PgBouncer does not run on this host, so nobody can be made to wait for it' || return
  no_long_transaction || return
  pgbouncer_pause "$WAIT_SECONDS" || return
  start=$(milliseconds)
  fault_point prepared-paused
  "$@" && fault_point prepared-restarted && wait_for "$WAIT_SECONDS" "$(service_name postgres) to answer" postgres_answers || failed=1
  pgbouncer_resume || failed=1
  say "PgBouncer's clients waited for $(($(milliseconds) - start)) ms"
  return "$failed"
}
