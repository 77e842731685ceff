# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# PREPARED: a site's own deployment gets the places that later steps write to. With our own compose.yaml it has them.
#
#   Postgres   one line at the end of its postgresql.conf, which includes a file of its data directory
#   PgBouncer  a few lines at the end of [pgbouncer] in its ini, between two marks
#   Redis      nothing that runs; TLS is a CONFIG SET later
#   all        /etc/ssl/internal in the containers; a compose file of ours for containers that the site makes later
#
# Guarantees: nothing is made anew that can be changed live; what must be is said beforehand, with its reason, and is
# done once; PREPARED=off puts every file of the site's back byte for byte.

# usage: preflight_prepared NOW NEXT VARIABLE
preflight_prepared() {
  local -n _unprepared=$1
  has_deployment "$2" || {
    say 'PREPARED: this host runs our own compose.yaml, which is prepared as it is'
    return 0
  }
  if [[ $(variable_value "$2" PREPARED) == off ]]; then
    [[ ${_unprepared[CERTIFICATE_GENERATION]} == 0 ]] ||
      problem "PREPARED=off: this host has a certificate (CERTIFICATE_GENERATION=${_unprepared[CERTIFICATE_GENERATION]}): set that to 0 first; nothing was changed" || return
    ! is_begun || say_way_back
    return 0
  fi
  REDIS_PORT=${_unprepared[REDIS_TLS_PORT]:-6380}
  ! { is_registered && read_decisions; } || return 0
  survey "$2" && say_plan && recreation_is_possible
}

# usage: recreation_is_possible    what must be made anew, can be without an open end
recreation_is_possible() {
  ! { must_recreate postgres || must_recreate pgbouncer; } || [[ -z ${SERVICE_OF[pgbouncer]:-} ]] || no_long_transaction
}

# usage: say_plan    what PREPARED=on will do, and what it costs; measured: docs/runbook/00-prepare.md
say_plan() {
  local role
  say "PREPARED=on, the deployment in $SITE_DIRECTORY (${SITE_FILES[*]}): what will be done"
  for role in "${SERVER_ROLES[@]}"; do
    [[ -n ${SERVICE_OF[$role]:-} ]] || continue
    say_plan_of "$role"
  done
  if [[ -n ${DECIDED["forward"]:-} ]]; then
    say "  port $REDIS_PORT: not published by ${SERVICE_OF[redis]}, and a running container gains no port: a container $FORWARDER (image ${DECIDED["forward.image"]}) publishes it on ${DECIDED["forward"]} and passes it on. Redis then sees these clients under the forwarder's address"
  fi
  say "  $SITE_DIRECTORY/.env: COMPOSE_FILE gets $(override_file), which a container made later needs: never leave it out with -f"
  say_later
  say '  back: PREPARED=off puts every file back byte for byte, and makes nothing anew'
}

# usage: say_plan_of ROLE
say_plan_of() {
  local what="  ${SERVICE_OF[$1]} (${CONTAINER[$1]}, runs as ${OWNER_OF[$1]}): "
  if must_recreate "$1"; then
    case $1 in
      postgres)
        what+='is made anew ONCE'
        [[ -z ${SERVICE_OF[pgbouncer]:-} ]] || what+=', between PAUSE and RESUME of PgBouncer: its clients wait 1 to 4 s, none fails'
        what+='; clients that reach Postgres directly are cut off'
        ;;
      pgbouncer) what+='is made anew ONCE, between two transactions: its clients are cut off, and no new one is let in for about 1 s' ;;
      redis) what+='is made anew ONCE: its clients are cut off, and no new one is let in for about 1 s' ;;
    esac
    what+="; because ${DECIDED["recreate.$1"]}. "
  else
    what+='keeps running, no client notices. '
  fi
  case $1 in
    postgres) what+="One line is added to $CONFIG_FILE, and read by a reload; log_connections is set to on" ;;
    pgbouncer)
      what+="A few lines are added to $INI_FILE, and read by a RELOAD"
      [[ -n ${SOCKET_OF[$1]:-} ]] || what+='; it has no Unix socket, so voiceai becomes one of admin_users, by which its console is reached'
      ;;
    redis) what+='It is told of TLS by CONFIG SET, later' ;;
  esac
  [[ -z ${DECIDED["start.$1"]:-} ]] || what+="; a program ${DECIDED["start.$1"]}/$(server_command "$1") in its container adds our settings at its next start"
  say "$what"
}

# usage: say_later    what the site's next `up` will do by itself
say_later() {
  local role later=''
  for role in pgbouncer redis; do
    [[ -z ${SERVICE_OF[$role]:-} || ${MOUNTED_OF[$role]} == yes ]] || must_recreate "$role" || later+=" ${SERVICE_OF[$role]}"
  done
  [[ -z $later ]] ||
    say "  later: your own next \`docker compose up\` makes$later anew once, which cuts their clients off for 1 s each, and for 10 s where PgBouncer waits for its clients at SIGTERM: choose when, and do it one by one (docker compose up --detach --no-deps --timeout 1 SERVICE)${DRIFTED[*]:+ (your files have changes that are not applied yet, for ${DRIFTED[*]})}"
}

# usage: say_way_back    what PREPARED=off will do
say_way_back() {
  say "PREPARED=off: the files of the deployment in $SITE_DIRECTORY are put back byte for byte; Postgres and PgBouncer reload; nothing is made anew; $FORWARDER is removed where there is one"
}

# usage: apply_prepared SETTINGS VARIABLE
apply_prepared() {
  local -n _preparing=$1
  if ! has_deployment "$1"; then
    own_mounts_are_there
    return
  fi
  REDIS_PORT=${_preparing[REDIS_TLS_PORT]:-6380}
  if [[ $(variable_value "$1" PREPARED) == on ]]; then prepare_deployment "$1"; else unprepare_deployment "$1"; fi
}

# usage: own_mounts_are_there    of our own compose.yaml, in the containers that run
own_mounts_are_there() {
  local role where
  for role in "${SERVER_ROLES[@]}"; do
    [[ ${STATE_OF[$role]:-} == running ]] || continue
    where=$(call "$CALL_SECONDS" docker container inspect --format '{{range .Mounts}}{{.Destination}} {{end}}' "${CONTAINER[$role]}")
    [[ " $where" == *' /etc/ssl/internal '* ]] ||
      problem "container ${CONTAINER[$role]} has no /etc/ssl/internal mounted: it was not made from our compose.yaml: declare hosts.<host>.deployment, or make it anew" || return
  done
}

# usage: prepare_deployment SETTINGS    in an order in which a death at any point leaves servers that run and start
prepare_deployment() {
  # A host without a record, or one whose update was interrupted, was not surveyed in this run.
  ((${#DECIDED[@]})) || read_decisions || survey "$1" || return
  write_decisions && render_deployment "$1" && fault_point prepared-decided || return
  # What our compose file mounts is there before the file is.
  host_copies && write_override && register_override && fault_point prepared-registered || return
  recreate_servers "$1" && fault_point prepared-recreated || return
  open_console && deliver_all && add_start_programs && fault_point prepared-delivered || return
  read_delivered && fault_point prepared-read && start_forwarder
}

# usage: render_deployment SETTINGS    what steps change, to disk
render_deployment() {
  local role
  for role in "${SERVER_ROLES[@]}"; do
    if has_role "$1" "$role"; then "render_$role" "$1" || return; fi
  done
}

# usage: read_delivered    Postgres and PgBouncer read what was delivered
read_delivered() {
  if [[ -n ${SERVICE_OF[postgres]:-} ]]; then reload_postgres || return; fi
  if [[ -n ${SERVICE_OF[pgbouncer]:-} ]]; then
    reload_pgbouncer && admin_setting server_login_retry || problem "${REASON:-$WHY}" || return
    [[ ${ADMIN_VALUE%.*} == 1 ]] ||
      problem "PgBouncer does not take our lines of $INI_FILE (server_login_retry is $ADMIN_VALUE, they say 1): is something included after them that begins another section?" || return
  fi
  RENDERED=()
}

# usage: host_copies    of what each server gets
host_copies() {
  local role name
  for role in "${!SERVICE_OF[@]}"; do
    [[ $role != pgbouncer ]] || { find_ini && look_at_site_file pgbouncer "$INI_FILE"; } || return
    name=$(set_name "$role") && deliver_to_host "$role" "$name" || return
  done
}

# usage: open_console    of a PgBouncer without a Unix socket: the lines that let us in are read by a signal, which waits for
# no good moment and so may change nothing else
open_console() {
  local CONSOLE_ONLY=yes
  [[ -n ${SERVICE_OF[pgbouncer]:-} && -z ${SOCKET_OF[pgbouncer]:-} ]] || return 0
  ! admin_query 'SHOW VERSION' || return 0
  deliver pgbouncer && hang_up_pgbouncer && wait_for "$RELOAD_SECONDS" 'the console of PgBouncer' admin_query 'SHOW VERSION' && pooling_is_supported
}

# usage: hang_up_pgbouncer    RELOAD by signal
# shellcheck disable=SC2016  # expanded inside the container
hang_up_pgbouncer() { docker_exec pgbouncer sh -c 'kill -HUP "$1"' hang-up "${ARGUMENT_OF[pgbouncer]%% *}"; }

# usage: add_start_programs    into containers that were made before our mounts, for their restarts
add_start_programs() {
  local role path words
  for role in "${!SERVICE_OF[@]}"; do
    [[ -n ${DECIDED["start.$role"]:-} && ${MOUNTED_OF[$role]:-no} == no ]] || continue
    path=${DECIDED["start.$role"]}/$(server_command "$role")
    # The rename makes it whole or not at all; one that is there already is the same.
    # shellcheck disable=SC2016  # expanded inside the container
    words=$(call "$CALL_SECONDS" docker exec -i --user 0 "${CONTAINER[$role]}" sh -c \
      'umask 022 && mkdir -p "${1%/*}" && cat >"$1.new" && chmod 0755 "$1.new" && mv -f "$1.new" "$1"' start "$path" \
      <"$BUNDLE/templates/start" 2>&1) || problem "cannot write $path in $(service_name "$role"): $words" || return
  done
  # The seed's command for Redis names this path.
  [[ ${MOUNTED_OF[redis]:-yes} == yes ]] ||
    call "$CALL_SECONDS" docker exec --user 0 "${CONTAINER[redis]}" ln -sfn /etc/ssl/internal /tmp/redis-tls </dev/null
}

# usage: is_begun    whether there is something of ours in or beside the deployment
is_begun() { [[ -d $(before_home) || -d $(deployment_home) ]] || is_registered; }

# usage: unprepare_deployment SETTINGS    the way back, from wherever a way forward came to
unprepare_deployment() {
  local role
  is_begun || return 0
  read_decisions || true
  # A file of the site's may be changed only where its container can be asked.
  deployment_runs || return
  if [[ -n ${SERVICE_OF[pgbouncer]:-} ]]; then
    take_block_out || return
  fi
  if [[ -n ${SERVICE_OF[postgres]:-} ]]; then
    find_data && restore_site_file postgres "$CONFIG_FILE" without_include_line && reload_postgres || return
    docker_exec postgres rm -rf "$DATA_DIRECTORY/internal-tls" || problem 'cannot remove our files from the data directory' || return
  fi
  fault_point unprepared-servers
  unregister_override && rm -f "$(override_file)" "$(deployment_home)/forward" && stop_forwarder || return
  for role in "${!SERVICE_OF[@]}"; do take_out_of "$role" || return; done
  [[ " ${MOUNTED_OF[*]} " == *' yes '* ]] || rm -f "$(deployment_home)/start"
  rmdir "$(deployment_home)" 2>/dev/null || true
  rm -rf "$(before_home)"
}

# usage: take_block_out    our lines out of PgBouncer's ini, and of the one that a copy in memory was made from
take_block_out() {
  local original since
  since=${EPOCHREALTIME/,/.}
  find_ini && restore_site_file pgbouncer "$INI_FILE" without_block || return
  original=$(read_site_file pgbouncer "$INI_FILE" | sed -n '1s/^;;; internal-tls: copy of //p')
  [[ -z $original ]] || restore_site_file pgbouncer "$original" without_block || return
  # What the site had set comes back with this, its own server_login_retry as well.
  if admin_query 'SHOW VERSION'; then reload_at_the_gate; else hang_up_pgbouncer; fi && reload_was_taken "$since"
}

# usage: take_out_of ROLE    our files out of a container; what is mounted stays, without settings, until it is made anew
take_out_of() {
  local home
  home=$(deployment_home)/$1
  if [[ ${MOUNTED_OF[$1]:-no} == yes ]]; then
    say "$(service_name "$1") keeps our mounts, which do nothing now, until its container is made anew"
    # Their directory is known again by what is left.
    find "$home" -mindepth 1 ! -path "$home/sets" -delete 2>/dev/null || true
    return 0
  fi
  # shellcheck disable=SC2016  # expanded inside the container
  call "$CALL_SECONDS" docker exec --user 0 "${CONTAINER[$1]}" sh -c '
    rm -rf /etc/ssl/internal
    [ ! -L /tmp/redis-tls ] || rm -f /tmp/redis-tls
    for file in /usr/local/sbin/"$1" /usr/local/bin/"$1"; do
      ! grep -q "internal-tls: start" "$file" 2>/dev/null || rm -f "$file"
    done' out "$(server_command "$1")" </dev/null || problem "cannot remove our files from $(service_name "$1")" || return
  rm -rf "$home"
}

# usage: deployment_holds SETTINGS    what PREPARED says, of a deployment of the site's own
deployment_holds() {
  local role name
  deployment_runs || return
  ! left_alone "$1" || return 0
  is_registered ||
    problem "COMPOSE_FILE of $SITE_DIRECTORY/.env has lost $(override_file), which a container made later needs: update.sh --restart-only puts it back" || return
  for role in "${!SERVICE_OF[@]}"; do
    # Postgres has its files in its data; those in its container are for proofs, where PgBouncer's cannot give them.
    [[ $role != postgres || -z ${SERVICE_OF[pgbouncer]:-} ]] || continue
    name=$(readlink "$(deployment_home)/$role/current")
    [[ ${MOUNTED_OF[$role]} == yes || sets/${DELIVERED[$role]:-none} == "$name" ]] ||
      problem "$(service_name "$role") has not the files that it should have (${DELIVERED[$role]:-none}, not ${name#sets/}): update.sh --restart-only delivers them" || return
  done
  read_decisions && [[ -z ${DECIDED["forward"]:-} || -n $(forwarder_ids) ]] ||
    problem "$FORWARDER does not run, and Redis's TLS port is published by it: docker compose up -d $FORWARDER in $SITE_DIRECTORY"
}
