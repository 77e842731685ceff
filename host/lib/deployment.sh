# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# A deployment that is the site's own (DEPLOYMENT_DIRECTORY): its compose files, its service names, its user ids.
#
# Guarantees: while PREPARED is off nothing of it is touched, its servers are only looked at; nothing is ever started
# in a compose project of ours; its compose is asked with the site's variables, not with those of this update.

DEPLOYMENT=no
# By role: the compose service; `uid:gid` of the server's process; a PgBouncer's socket. Empty with our own compose.yaml.
declare -A SERVICE_OF=() OWNER_OF=() SOCKET_OF=() DELIVERED=()

# By role, as well: whether our mounts are in its container (yes, no, or `site` where /etc/ssl/internal is the site's own);
# the directory on its PATH that comes before the server's program; the process's number with the last word of its
# command line, which is PgBouncer's ini, and its first; the port that it listens on.
declare -A MOUNTED_OF=() START_DIRECTORY_OF=() ARGUMENT_OF=() PROGRAM_OF=() PORT_OF=()

# What finds a server in its container, as root: the process with the lowest number of that name, whose numbers may be
# anything; a Unix socket; which set of files was delivered; where a program of ours would be found before the server's.
# shellcheck disable=SC2016  # expanded inside the container
FIND_SCRIPT='
best=
for dir in /proc/[0-9]*; do
  read -r name <"$dir/comm" || continue
  [ "$name" = "$1" ] || continue
  pid=${dir#/proc/}
  if [ -z "$best" ] || [ "$pid" -lt "$best" ]; then best=$pid; fi
done 2>/dev/null
[ -n "$best" ] || exit 1
while read -r key _ effective _; do
  case $key in Uid:) uid=$effective ;; Gid:) gid=$effective ;; esac
done <"/proc/$best/status"
echo "owner $uid:$gid"
echo "argument $best $(tr "\0" "\n" <"/proc/$best/cmdline" | tail -n 1)"
echo "program $(tr "\0" "\n" <"/proc/$best/cmdline" | head -n 1)"
while read -r _ _ _ _ _ _ _ path; do
  case $path in */.s.PGSQL.*) if [ -S "$path" ]; then echo "socket $path"; fi ;; esac
done </proc/net/unix
while read -r _ local _ state _ _ _ by _; do
  case $state$local in 0A0B00007F:*) ;; 0A*) if [ "$by" = "$uid" ]; then echo "port $((0x${local#*:}))"; fi ;; esac
done </proc/net/tcp
if grep -q " /etc/ssl/internal " /proc/self/mountinfo; then mounted=yes; else mounted=no; fi
[ ! -e /etc/ssl/internal ] || [ -d /etc/ssl/internal/sets ] || mounted=site
echo "mounted $mounted"
echo "set $(readlink /etc/ssl/internal/current 2>/dev/null)"
IFS=:
for dir in $PATH; do
  case $dir in /usr/local/sbin | /usr/local/bin) : "${first:=$dir}" ;; esac
  if [ -x "$dir/$1" ] && ! grep -q "internal-tls: start" "$dir/$1" 2>/dev/null; then break; fi
done
[ "$first" = "$dir" ] || echo "start $first"'

# usage: has_deployment SETTINGS    whether this host has a deployment of the site's own
has_deployment() {
  local -n _deployed=$1
  [[ -n ${_deployed[DEPLOYMENT_DIRECTORY]:-} ]] && has_servers "$1"
}

# usage: left_alone SETTINGS    a deployment of the site's own that these settings do not touch
left_alone() { has_deployment "$1" && [[ $(variable_value "$1" PREPARED) == off ]]; }

# usage: server_command ROLE    prints the name of a server's process
server_command() { if [[ $1 == redis ]]; then printf redis-server; else printf '%s' "$1"; fi; }

# usage: deployment_words SETTINGS    DEPLOYMENT_* as the other functions here use them; says every key that is missing
deployment_words() {
  local -n _words=$1
  local role key failed=0
  SERVICE_OF=() OWNER_OF=() SOCKET_OF=() DELIVERED=() MOUNTED_OF=() START_DIRECTORY_OF=() ARGUMENT_OF=() PROGRAM_OF=()
  PORT_OF=()
  # Compose names a container's directory as it was entered; here a link to it counts as the directory.
  SITE_DIRECTORY=$(readlink -f "${_words[DEPLOYMENT_DIRECTORY]}") && [[ -d $SITE_DIRECTORY ]] ||
    problem "DEPLOYMENT_DIRECTORY=${_words[DEPLOYMENT_DIRECTORY]}: there is no such directory on this host: correct hosts.<host>.deployment.directory; nothing was changed" || failed=1
  mapfile -t SITE_FILES < <(printf '%s\n' "${_words[DEPLOYMENT_FILES]:-}" | tr , '\n')
  [[ -n ${SITE_FILES[0]} ]] ||
    problem 'DEPLOYMENT_FILES is missing: declare hosts.<host>.deployment.files; nothing was changed' || failed=1
  for key in "${SITE_FILES[@]}"; do
    [[ -z $key || -r $SITE_DIRECTORY/$key ]] ||
      problem "DEPLOYMENT_FILES: $SITE_DIRECTORY has no $key: correct hosts.<host>.deployment.files; nothing was changed" || failed=1
  done
  for role in "${SERVER_ROLES[@]}"; do
    has_role "$1" "$role" || continue
    key=SERVICE_${role^^}
    SERVICE_OF[$role]=${_words[$key]:-}
    [[ -n ${SERVICE_OF[$role]} ]] ||
      problem "$key is missing: declare hosts.<host>.deployment.services.$role; nothing was changed" || failed=1
  done
  return "$failed"
}

# usage: find_deployment SETTINGS    fills CONTAINER, PROJECT and what read_server knows of each that runs
find_deployment() {
  local role one
  local -a looking=()
  DEPLOYMENT=yes
  deployment_words "$1" && find_containers || return
  # Every container's mounts: name, type, source, target.
  # shellcheck disable=SC2016  # Docker's template
  MOUNTS=$(call "$CALL_SECONDS" docker container inspect --format \
    '{{$name := .Name}}{{range .Mounts}}{{$name}}{{"\t"}}{{.Type}}{{"\t"}}{{.Source}}{{"\t"}}{{.Destination}}{{"\n"}}{{end}}' \
    "${CONTAINER[@]}" 2>/dev/null) || true
  # Side by side: a call into a container takes a tenth of a second.
  for role in "${!SERVICE_OF[@]}"; do
    exec {one}< <(look_into "$role")
    looking+=("$role $one")
  done
  for one in "${looking[@]}"; do
    read_server "${one% *}" <&"${one#* }"
    one=${one#* }
    exec {one}<&-
  done
  if [[ -n ${SERVICE_OF[postgres]:-} ]]; then POSTGRES_HOST=${POSTGRES_HOST:-${SERVICE_OF[postgres]}}; fi
}

# usage: find_containers    by compose's own labels: the directory and the service
find_containers() {
  local role name service directory project oneoff
  local -A count=()
  PROJECT=''
  for role in "${!SERVICE_OF[@]}"; do CONTAINER[$role]="no container of service ${SERVICE_OF[$role]}"; done
  while IFS=$'\t' read -r name service directory project oneoff; do
    [[ $(readlink -f "$directory") == "$SITE_DIRECTORY" && $oneoff != True ]] || continue
    for role in "${!SERVICE_OF[@]}"; do
      [[ $service == "${SERVICE_OF[$role]}" ]] || continue
      CONTAINER[$role]=$name PROJECT=$project
      count[$role]=$((${count[$role]:-0} + 1))
    done
  done < <(call "$CALL_SECONDS" docker ps --all --filter label=com.docker.compose.service --format \
    '{{.Names}}\t{{.Label "com.docker.compose.service"}}\t{{.Label "com.docker.compose.project.working_dir"}}\t{{.Label "com.docker.compose.project"}}\t{{.Label "com.docker.compose.oneoff"}}')
  for role in "${!count[@]}"; do
    ((${count[$role]} == 1)) ||
      problem "service ${SERVICE_OF[$role]} has ${count[$role]} containers: several servers behind one name are not supported, a change would reach one of them: run one (docker compose up -d --scale ${SERVICE_OF[$role]}=1); nothing was changed" || return
  done
}

# usage: look_into ROLE    prints what is found in a container that runs
look_into() {
  call "$CALL_SECONDS" docker exec --user 0 "${CONTAINER[$1]}" sh -c "$FIND_SCRIPT" find "$(server_command "$1")" \
    2>/dev/null </dev/null
}

# usage: read_server ROLE    fills OWNER_OF and the others with what look_into prints; an empty OWNER_OF where
# nothing runs, or no such process is in there
read_server() {
  local key value
  while read -r key value; do
    case $key in
      owner) OWNER_OF[$1]=$value ;;
      socket) [[ $1 != pgbouncer ]] || SOCKET_OF[$1]=$value ;;
      set) DELIVERED[$1]=${value#sets/} ;;
      mounted) MOUNTED_OF[$1]=$value ;;
      start) START_DIRECTORY_OF[$1]=$value ;;
      port) PORT_OF[$1]=${PORT_OF[$1]:-$value} ;;
      program) PROGRAM_OF[$1]=$value ;;
      argument) ARGUMENT_OF[$1]=$value ;;
    esac
  done
}

# usage: site_compose SECONDS ARGUMENTS...    in the site's directory with the site's files, and ours where it is
# registered; with nothing of this update's environment, which would win over the site's .env
site_compose() {
  local seconds=$1 file files=()
  shift
  for file in "${SITE_FILES[@]}"; do files+=(--file "$file"); done
  if [[ -e $(override_file) ]]; then files+=(--file "$(override_file)"); fi
  if [[ -n $PROJECT ]]; then files+=(--project-name "$PROJECT"); fi
  (cd "$SITE_DIRECTORY" && call "$seconds" env -i PATH="$PATH" HOME="${HOME:-/root}" ${DOCKER_HOST:+DOCKER_HOST="$DOCKER_HOST"} \
    docker compose "${files[@]}" "$@" </dev/null)
}

# usage: call_arguments ROLE    CALL_ARGUMENTS are docker exec's for a server's container. In a deployment of the
# site's own a command runs as the server's process does, and gets the password by its environment: there is no file
# of ours with it in there.
call_arguments() {
  CALL_ARGUMENTS=()
  [[ -n ${OWNER_OF[$1]:-} ]] || return 0
  CALL_ARGUMENTS=(--user "${OWNER_OF[$1]}" --env PGPASSWORD --env REDISCLI_AUTH)
}

# usage: with_passwords COMMAND...    COMMAND with the passwords in its environment, in a deployment of the site's own
with_passwords() {
  [[ $DEPLOYMENT == yes ]] || {
    "$@"
    return
  }
  PGPASSWORD=$(read_password "$VOICEAI_ETC/postgres_password" 2>/dev/null) \
  REDISCLI_AUTH=$(read_password "$VOICEAI_ETC/redis_password" 2>/dev/null) "$@"
}

# usage: deployment_runs    whether every server of it runs; says which does not
deployment_runs() {
  local role services
  for role in "${!SERVICE_OF[@]}"; do
    [[ ${STATE_OF[$role]:-absent} != running ]] || continue
    services=$(site_compose "$CALL_SECONDS" config --services 2>/dev/null | sort | tr '\n' ' ') || services=''
    [[ -z $services || " $services" == *" ${SERVICE_OF[$role]} "* ]] ||
      problem "SERVICE_${role^^}=${SERVICE_OF[$role]}: the deployment in $SITE_DIRECTORY has no such service, it has ${services% }: correct hosts.<host>.deployment.services.$role; nothing was changed" || return
    problem "service ${SERVICE_OF[$role]} in $SITE_DIRECTORY does not run (${STATE_OF[$role]:-absent}): start it as you always do (docker compose up -d ${SERVICE_OF[$role]}); nothing was changed" || return
  done
}

# usage: stand_alone SETTINGS    of a deployment that is left alone every server runs, as the site started it. On a way back
# what we stopped is started again, without what we had added.
stand_alone() {
  if [[ -n ${RESTORING:-} ]] && ! deployment_runs 2>/dev/null; then
    unregister_override && rm -f "$(override_file)" && start_missing "$1"
    return
  fi
  deployment_runs || return "$EXIT_REFUSED"
}

# usage: plan_deployment SETTINGS    says what PREPARED=on would do here; exits with EXIT_REFUSED where it cannot
plan_deployment() {
  local -A UNPREPARED=() PLANNED=()
  preflight_needs "$1" && name_containers "$1" || exit "$EXIT_REFUSED"
  copy_settings "$1" UNPREPARED
  UNPREPARED[PREPARED]=off
  has_deployment "$1" || {
    say 'this host declares no deployment of its own: PREPARED changes nothing here'
    return 0
  }
  inspect_servers "$1"
  stand_alone "$1" || exit "$EXIT_REFUSED"
  if is_registered && read_decisions; then
    say "the deployment in $SITE_DIRECTORY is prepared already: PREPARED=on changes nothing here"
    return 0
  fi
  copy_settings "$1" PLANNED
  PLANNED[PREPARED]=on
  preflight_prepared UNPREPARED PLANNED PREPARED || exit "$EXIT_REFUSED"
  admin_close
  say 'nothing was changed'
}

# The step of a variable that left-alone servers do not take: see step_function.
# usage: preflight_left_alone NOW NEXT VARIABLE
preflight_left_alone() {
  kind_of "$3"
  [[ $(variable_value "$2" "$3") == "${INITIAL_VALUE[$KIND]}" ]] ||
    problem "$3=$(variable_value "$2" "$3"): this host's deployment is not prepared (PREPARED=off): set PREPARED to on first; nothing was changed"
}

# usage: apply_left_alone SETTINGS VARIABLE
apply_left_alone() { :; }
