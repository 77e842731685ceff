# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The settings of a host: KEY=VALUE text, parsed once into an associative array and trusted afterwards.
# A function that takes settings takes the array's name: upper case, so that no function's local hides it.

# Keys: a word (POSTGRES_TLS_ENABLED), or one of an app's or a client's (apps.api.DATABASE_SSL_MODE). The second sort is
# described once for all apps, under its kind: apps.DATABASE_SSL_MODE.

# CERTIFICATE_GENERATION stands for the certificate's four keys.
CERTIFICATE_KEYS=(CERTIFICATE_GENERATION CERTIFICATE_REQUEST CERTIFICATE_SHA256 CA_SHA256)
# Every key in the order in which it is written to disk; kinds come after, app by app.
SETTINGS_KEYS=(REVISION ENVIRONMENT ROLES "${CERTIFICATE_KEYS[@]}" DIALED_NAMES PREPARED POSTGRES_TLS_ENABLED
  PGBOUNCER_SERVER_TLS_SSLMODE PGBOUNCER_CLIENT_TLS_SSLMODE POSTGRES_FORCE_SSL REDIS_TLS_ENABLED REDIS_FORCE_TLS
  REDIS_TLS_PORT QUIET_MINUTES DRAIN_STRAGGLERS DATABASE_USERS DEPLOYMENT_DIRECTORY DEPLOYMENT_FILES SERVICE_POSTGRES
  SERVICE_PGBOUNCER SERVICE_REDIS SECRET_CA SECRET_CERT SECRET_KEY AWS_REGION CLIENTS APPS)
CLIENT_KEYS=(ADDRESSES USES DATABASE_USER APPLICATION_NAME REDIS_CLIENT_NAME)
APP_KEYS=(DATABASE_SSL_MODE DATABASE_SSL_CA_FILE REDIS_TLS_ENABLED REDIS_TLS_CA_FILE USES KIND DIRECTORY ENV_FILE SERVICES
  HEALTH_COMMAND DRAIN_SECONDS ACCEPT_RESTART DATABASE_USER APPLICATION_NAME REDIS_CLIENT_NAME)
ROLE_NAMES=(postgres pgbouncer redis otel app)
SERVER_ROLES=(postgres pgbouncer redis)

# What a value may be, and what it is before any step. Keys that are not here take any permitted character.
declare -A VALUE_PATTERN=(
  [REVISION]='0|[1-9][0-9]{0,14}'
  [ENVIRONMENT]='[A-Za-z0-9_.-]+'
  [ROLES]='[a-z]+(,[a-z]+)*'
  [CERTIFICATE_GENERATION]='0|[1-9][0-9]{0,8}'
  [CERTIFICATE_REQUEST]='([0-9a-f]{16})?'
  [CERTIFICATE_SHA256]='([0-9a-f]{64})?'
  [CA_SHA256]='([0-9a-f]{64})?'
  [PREPARED]='off|on'
  [POSTGRES_TLS_ENABLED]='off|on'
  [PGBOUNCER_SERVER_TLS_SSLMODE]='disable|prefer|require|verify-ca|verify-full'
  [PGBOUNCER_CLIENT_TLS_SSLMODE]='disable|allow|prefer|require'
  [POSTGRES_FORCE_SSL]='off|on'
  [REDIS_TLS_ENABLED]='false|true'
  [REDIS_FORCE_TLS]='false|true'
  [REDIS_TLS_PORT]='[1-9][0-9]{0,4}'
  [QUIET_MINUTES]='0|[1-9][0-9]{0,4}'
  [DRAIN_STRAGGLERS]='off|on'
  [APPS]='[a-z0-9-]+(,[a-z0-9-]+)*'
  [CLIENTS]='([a-z0-9-]+(,[a-z0-9-]+)*)?'
  ['apps.DATABASE_SSL_MODE']='disable|prefer|require|verify-ca|verify-full'
  ['apps.DATABASE_SSL_CA_FILE']='/.+'
  ['apps.REDIS_TLS_ENABLED']='false|true'
  ['apps.REDIS_TLS_CA_FILE']='/.+'
  ['apps.USES']='postgres|redis|postgres,redis'
  ['apps.KIND']='service|kamailio'
  ['apps.DIRECTORY']='/.+'
  ['apps.ENV_FILE']='/.+'
  ['apps.DRAIN_SECONDS']='[1-9][0-9]{0,3}'
  ['apps.ACCEPT_RESTART']='false|true'
)
declare -A VALUE_MEANING=(
  [REVISION]='a whole number'
  [ENVIRONMENT]='a name'
  [ROLES]='a comma-separated list of postgres, pgbouncer, redis, otel, app'
  [CERTIFICATE_GENERATION]='a whole number, 0 for none'
  [CERTIFICATE_REQUEST]='16 hex digits'
  [CERTIFICATE_SHA256]='64 hex digits'
  [CA_SHA256]='64 hex digits'
  [REDIS_TLS_PORT]='a port'
  [QUIET_MINUTES]='a whole number of minutes'
  [APPS]='a comma-separated list of apps'
  [CLIENTS]='a comma-separated list of apps'
  ['apps.DATABASE_SSL_CA_FILE']='an absolute path'
  ['apps.REDIS_TLS_CA_FILE']='an absolute path'
  ['apps.DIRECTORY']='an absolute path'
  ['apps.ENV_FILE']='an absolute path'
  ['apps.DRAIN_SECONDS']='seconds, 1 to 9999'
)
declare -A INITIAL_VALUE=(
  [CERTIFICATE_GENERATION]=0 [CERTIFICATE_REQUEST]='' [CERTIFICATE_SHA256]='' [CA_SHA256]=''
  [PREPARED]=off [POSTGRES_TLS_ENABLED]=off [POSTGRES_FORCE_SSL]=off
  [PGBOUNCER_SERVER_TLS_SSLMODE]=disable [PGBOUNCER_CLIENT_TLS_SSLMODE]=disable
  [REDIS_TLS_ENABLED]=false [REDIS_FORCE_TLS]=false
  ['apps.DATABASE_SSL_MODE']=disable ['apps.REDIS_TLS_ENABLED']=false
)
# Which roles have a step variable, by its kind.
declare -A ROLES_OF_VARIABLE=(
  [PREPARED]='postgres pgbouncer redis'
  [POSTGRES_TLS_ENABLED]=postgres [POSTGRES_FORCE_SSL]=postgres
  [PGBOUNCER_SERVER_TLS_SSLMODE]=pgbouncer [PGBOUNCER_CLIENT_TLS_SSLMODE]=pgbouncer
  [REDIS_TLS_ENABLED]='redis otel' [REDIS_FORCE_TLS]=redis
)
# Which of an app's variables it has depends on what it uses.
declare -A USE_OF_VARIABLE=(['apps.DATABASE_SSL_MODE']=postgres ['apps.REDIS_TLS_ENABLED']=redis)

# usage: kind_of KEY    KIND is what KEY is described under: apps.api.USES is of the kind apps.USES
kind_of() {
  KIND=$1
  [[ $1 != *.*.* ]] || KIND=${1%%.*}.${1##*.}
}

# usage: app_of KEY    APP is whose key it is, empty where it is nobody's
app_of() {
  APP=''
  [[ $1 != *.*.* ]] || {
    APP=${1#*.}
    APP=${APP%.*}
  }
}

# usage: one_of NEEDLE WORDS...
one_of() {
  local needle=$1 word
  shift
  for word in "$@"; do [[ $word != "$needle" ]] || return 0; done
  return 1
}

# usage: words LIST    prints the parts of a comma-separated list, which may be empty
words() { printf '%s' "${1//,/ }"; }

# usage: has_role SETTINGS ROLE
has_role() {
  local -n _settings=$1
  [[ ,${_settings[ROLES]:-}, == *,$2,* ]]
}

# usage: has_any_role SETTINGS ROLES...
has_any_role() {
  local role
  for role in "${@:2}"; do ! has_role "$1" "$role" || return 0; done
  return 1
}

# usage: apps_of SETTINGS    prints the host's apps, one a line
apps_of() {
  local -n _housed=$1
  local app
  for app in $(words "${_housed[APPS]:-}"); do printf '%s\n' "$app"; done
}

# usage: app_uses SETTINGS APP postgres|redis
app_uses() {
  local -n _user=$1
  [[ ,${_user["apps.$2.USES"]:-}, == *,$3,* ]]
}

# usage: step_variables SETTINGS    prints the step variables that this host has, one a line, in rollout order. The
# client leg closes after the apps and opens before them.
step_variables() {
  local -n _stepped=$1
  local variable app opens='' closes='' database='' redis=''
  if [[ ${_stepped[PGBOUNCER_CLIENT_TLS_SSLMODE]:-} == require ]]; then
    closes=PGBOUNCER_CLIENT_TLS_SSLMODE
  else
    opens=PGBOUNCER_CLIENT_TLS_SSLMODE
  fi
  for app in $(words "${_stepped[APPS]:-}"); do
    ! app_uses "$1" "$app" postgres || database+=" apps.$app.DATABASE_SSL_MODE"
    ! app_uses "$1" "$app" redis || redis+=" apps.$app.REDIS_TLS_ENABLED"
  done
  for variable in PREPARED CERTIFICATE_GENERATION POSTGRES_TLS_ENABLED PGBOUNCER_SERVER_TLS_SSLMODE $opens $database \
    $closes POSTGRES_FORCE_SSL REDIS_TLS_ENABLED $redis REDIS_FORCE_TLS; do
    # shellcheck disable=SC2086  # a list of words
    [[ $variable == apps.* || $variable == CERTIFICATE_GENERATION ]] ||
      has_any_role "$1" ${ROLES_OF_VARIABLE[$variable]} || continue
    printf '%s\n' "$variable"
  done
}

# usage: has_servers SETTINGS    whether the host runs any of the three servers
has_servers() { has_role "$1" postgres || has_role "$1" pgbouncer || has_role "$1" redis; }

# usage: parse_settings TEXT SETTINGS [record]    fills SETTINGS; says every problem, each with its key, and fails if any.
# A record may lack keys: an older bundle wrote it, before they existed.
parse_settings() {
  local -n _parsed=$2
  local line key value number=0 failed=0
  _parsed=()
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    [[ -n $line && $line != \#* ]] || continue
    if [[ ! $line =~ ^([A-Za-z_][A-Za-z0-9_]*|(apps|clients)\.[a-z0-9-]+\.[A-Z_]+)=(.*)$ ]]; then
      problem "settings, line $number: not KEY=VALUE" || failed=1
      continue
    fi
    key=${BASH_REMATCH[1]} value=${BASH_REMATCH[3]}
    if ! known_key "$key"; then
      problem "settings: unknown key $key: this host's bundle knows ${SETTINGS_KEYS[*]}, apps.<app>. with ${APP_KEYS[*]}, clients.<app>. with ${CLIENT_KEYS[*]}" || failed=1
    elif [[ -n ${_parsed[$key]+set} ]]; then
      problem "settings: $key is there twice: keep one" || failed=1
    elif [[ $key == apps.*.HEALTH_COMMAND ]]; then
      # Run by a shell as it stands; it is the operator's own text.
      [[ $value =~ ^[[:print:]]*$ ]] && _parsed[$key]=$value ||
        problem "settings: the value of $key has a character that does not print" || failed=1
    elif [[ ! $value =~ ^[A-Za-z0-9_./:,@-]*$ ]]; then
      problem "settings: the value of $key has a character other than A-Z a-z 0-9 _ . / : , @ -" || failed=1
    else
      _parsed[$key]=$value
    fi
  done <<<"$1"
  ((failed == 0)) || return 1
  normalize_settings "$2"
  check_settings "$2" "${3:-}"
}

# usage: known_key KEY
known_key() {
  kind_of "$1"
  case $KIND in
    apps.*) one_of "${KIND#apps.}" "${APP_KEYS[@]}" ;;
    clients.*) one_of "${KIND#clients.}" "${CLIENT_KEYS[@]}" ;;
    *) one_of "$KIND" "${SETTINGS_KEYS[@]}" ;;
  esac
}

# usage: normalize_settings SETTINGS    at generation 0 there is no certificate to describe
normalize_settings() {
  local -n _normal=$1
  local key
  for key in "${CERTIFICATE_KEYS[@]}"; do
    [[ ${_normal[CERTIFICATE_GENERATION]:-} == 0 || -z ${_normal[$key]+set} ]] || continue
    _normal[$key]=${INITIAL_VALUE[$key]}
  done
}

# usage: check_settings SETTINGS [record]    whether every value is one that its key may have and, unless it is a
# record, nothing needed is missing
check_settings() {
  local -n _checked=$1
  local key role app value failed=0
  local -a needed=(REVISION ENVIRONMENT ROLES CERTIFICATE_GENERATION)
  for key in "${!_checked[@]}"; do
    kind_of "$key" && app_of "$key"
    value=${VALUE_PATTERN[$KIND]:-.*}
    [[ ${_checked[$key]} =~ ^($value)$ ]] ||
      problem "settings: $key=${_checked[$key]}: must be ${VALUE_MEANING[$KIND]:-one of ${value//|/, }}" || failed=1
    # shellcheck disable=SC2046  # a list of words
    [[ $key != apps.* ]] || one_of "$APP" $(words "${_checked[APPS]:-}") ||
      problem "settings: $key: no app of this host is called $APP (APPS=${_checked[APPS]:-})" || failed=1
  done
  for role in $(words "${_checked[ROLES]:-}"); do
    one_of "$role" "${ROLE_NAMES[@]}" ||
      problem "settings: ROLES: no role is called $role; there are ${ROLE_NAMES[*]}" || failed=1
  done
  for key in "${!ROLES_OF_VARIABLE[@]}"; do
    # shellcheck disable=SC2086  # a list of words
    if has_any_role "$1" ${ROLES_OF_VARIABLE[$key]}; then
      needed+=("$key")
    elif [[ -n ${_checked[$key]+set} ]]; then
      problem "settings: $key is for hosts with role ${ROLES_OF_VARIABLE[$key]// / or }; this one has ${_checked[ROLES]:-none}" || failed=1
    fi
  done
  [[ ${2:-} != record ]] || return "$failed"
  needed_by_roles "$1" && needed_by_apps "$1"
  for key in "${needed[@]}"; do
    value=${_checked[$key]:-}
    [[ -n $value ]] || problem "settings: $key is missing" || failed=1
  done
  return "$failed"
}

# usage: needed_by_roles SETTINGS    adds to `needed` of check_settings
needed_by_roles() {
  local -n _roled=$1
  if [[ ${_roled[CERTIFICATE_GENERATION]:-0} != 0 ]]; then
    needed+=(CA_SHA256 SECRET_CA AWS_REGION)
    if has_servers "$1"; then needed+=(CERTIFICATE_SHA256 DIALED_NAMES SECRET_CERT SECRET_KEY); fi
  fi
  if has_servers "$1"; then needed+=(QUIET_MINUTES DRAIN_STRAGGLERS); fi
  if has_any_role "$1" redis otel; then needed+=(REDIS_TLS_PORT); fi
}

# usage: needed_by_apps SETTINGS    adds to `needed` of check_settings
needed_by_apps() {
  local app key
  has_role "$1" app || return 0
  needed+=(APPS)
  for app in $(apps_of "$1"); do
    for key in USES KIND DIRECTORY ENV_FILE SERVICES DRAIN_SECONDS ACCEPT_RESTART; do needed+=("apps.$app.$key"); done
    if app_uses "$1" "$app" postgres; then needed+=("apps.$app.DATABASE_SSL_MODE" "apps.$app.DATABASE_SSL_CA_FILE"); fi
    if app_uses "$1" "$app" redis; then
      needed+=("apps.$app.REDIS_TLS_ENABLED" "apps.$app.REDIS_TLS_CA_FILE" REDIS_TLS_PORT)
    fi
  done
}

# usage: settings_text SETTINGS    prints the settings in their one order: what is written to disk
settings_text() {
  local -n _printed=$1
  local key name
  for key in "${SETTINGS_KEYS[@]}"; do
    [[ -z ${_printed[$key]+set} ]] || printf '%s=%s\n' "$key" "${_printed[$key]}"
  done
  for name in $(words "${_printed[CLIENTS]:-}"); do
    for key in "${CLIENT_KEYS[@]}"; do
      [[ -z ${_printed["clients.$name.$key"]+set} ]] || printf '%s=%s\n' "clients.$name.$key" "${_printed["clients.$name.$key"]}"
    done
  done
  for name in $(words "${_printed[APPS]:-}"); do
    for key in "${APP_KEYS[@]}"; do
      [[ -z ${_printed["apps.$name.$key"]+set} ]] || printf '%s=%s\n' "apps.$name.$key" "${_printed["apps.$name.$key"]}"
    done
  done
}

# usage: copy_settings FROM TO
copy_settings() {
  local -n _from=$1 _to=$2
  local key
  _to=()
  for key in "${!_from[@]}"; do _to[$key]=${_from[$key]}; done
}

# usage: keys_of VARIABLE    KEYS are the keys that a step variable stands for: its attribute moves with it
keys_of() {
  KEYS=("$1")
  case $1 in
    CERTIFICATE_GENERATION) KEYS=("${CERTIFICATE_KEYS[@]}") ;;
    REDIS_TLS_ENABLED) KEYS+=(REDIS_TLS_PORT) ;;
    apps.*.DATABASE_SSL_MODE) KEYS+=("${1%.*}.DATABASE_SSL_CA_FILE") ;;
    apps.*.REDIS_TLS_ENABLED) KEYS+=("${1%.*}.REDIS_TLS_CA_FILE") ;;
  esac
}

# usage: copy_variable FROM TO VARIABLE    copies one step variable, the initial value where FROM has none; its
# attributes as far as FROM has them
copy_variable() {
  local -n _source=$1 _target=$2
  local key
  keys_of "$3"
  for key in "${KEYS[@]}"; do
    kind_of "$key"
    if [[ -n ${_source[$key]+set} ]]; then
      _target[$key]=${_source[$key]}
    elif [[ -n ${INITIAL_VALUE[$KIND]+set} ]]; then
      _target[$key]=${INITIAL_VALUE[$KIND]}
    fi
  done
}

# usage: initial_settings OF TO    TO becomes the settings of host OF before any step
initial_settings() {
  local key
  copy_settings "$1" "$2"
  local -n _initial=$2
  _initial[REVISION]=0
  for key in "${!_initial[@]}"; do
    kind_of "$key"
    [[ -z ${INITIAL_VALUE[$KIND]+set} ]] || _initial[$key]=${INITIAL_VALUE[$KIND]}
  done
}

# usage: variable_value SETTINGS VARIABLE    prints a step variable's value, the initial one where it is absent
variable_value() {
  local -n _valued=$1
  kind_of "$2"
  printf '%s' "${_valued[$2]:-${INITIAL_VALUE[$KIND]}}"
}

# usage: same_variable ONE OTHER VARIABLE
same_variable() {
  local key
  if [[ $3 != CERTIFICATE_GENERATION ]]; then
    [[ $(variable_value "$1" "$3") == "$(variable_value "$2" "$3")" ]]
    return
  fi
  local -n _one=$1 _other=$2
  for key in "${CERTIFICATE_KEYS[@]}"; do
    [[ ${_one[$key]:-} == "${_other[$key]:-}" ]] || return 1
  done
}

# usage: changed_variables PREVIOUS NEXT    prints the step variables that differ, one a line, in rollout order
changed_variables() {
  local variable
  for variable in $(step_variables "$2"); do
    same_variable "$1" "$2" "$variable" || printf '%s\n' "$variable"
  done
}

# usage: describe_change PREVIOUS NEXT VARIABLE    prints "POSTGRES_TLS_ENABLED off → on", or "… off" where it is that
# already (the first update of a host)
describe_change() {
  local before after
  before=$(variable_value "$1" "$3") after=$(variable_value "$2" "$3")
  if [[ $before != "$after" ]]; then
    printf '%s %s → %s' "$3" "$before" "$after"
  elif same_variable "$1" "$2" "$3"; then
    printf '%s %s' "$3" "$after"
  else
    printf '%s %s with another certificate' "$3" "$after"
  fi
}
