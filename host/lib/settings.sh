# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The settings of a host: KEY=VALUE text, parsed once into an associative array and trusted afterwards.
# A function that takes settings takes the array's name: upper case, so that no function's local hides it.

# In the order in which a rollout goes forward. CERTIFICATE_GENERATION stands for the certificate's four keys.
STEP_VARIABLES=(CERTIFICATE_GENERATION POSTGRES_TLS_ENABLED PGBOUNCER_SERVER_TLS_SSLMODE)
CERTIFICATE_KEYS=(CERTIFICATE_GENERATION CERTIFICATE_REQUEST CERTIFICATE_SHA256 CA_SHA256)
SETTINGS_KEYS=(REVISION ENVIRONMENT ROLES "${CERTIFICATE_KEYS[@]}" DIALED_NAMES POSTGRES_TLS_ENABLED
  PGBOUNCER_SERVER_TLS_SSLMODE SECRET_CA SECRET_CERT SECRET_KEY AWS_REGION)
ROLE_NAMES=(postgres pgbouncer redis app)
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
  [POSTGRES_TLS_ENABLED]='off|on'
  [PGBOUNCER_SERVER_TLS_SSLMODE]='disable|prefer|require|verify-ca|verify-full'
)
declare -A VALUE_MEANING=(
  [REVISION]='a whole number'
  [ENVIRONMENT]='a name'
  [ROLES]='a comma-separated list of postgres, pgbouncer, redis, app'
  [CERTIFICATE_GENERATION]='a whole number, 0 for none'
  [CERTIFICATE_REQUEST]='16 hex digits'
  [CERTIFICATE_SHA256]='64 hex digits'
  [CA_SHA256]='64 hex digits'
  [POSTGRES_TLS_ENABLED]='off or on'
  [PGBOUNCER_SERVER_TLS_SSLMODE]='disable, prefer, require, verify-ca or verify-full'
)
declare -A INITIAL_VALUE=(
  [CERTIFICATE_GENERATION]=0 [CERTIFICATE_REQUEST]='' [CERTIFICATE_SHA256]='' [CA_SHA256]=''
  [POSTGRES_TLS_ENABLED]=off [PGBOUNCER_SERVER_TLS_SSLMODE]=disable
)
declare -A ROLE_OF_VARIABLE=([POSTGRES_TLS_ENABLED]=postgres [PGBOUNCER_SERVER_TLS_SSLMODE]=pgbouncer)

# usage: one_of NEEDLE WORDS...
one_of() {
  local needle=$1 word
  shift
  for word in "$@"; do [[ $word != "$needle" ]] || return 0; done
  return 1
}

# usage: has_role SETTINGS ROLE
has_role() {
  local -n _settings=$1
  [[ ,${_settings[ROLES]:-}, == *,$2,* ]]
}

# usage: has_servers SETTINGS    whether the host runs any of the three servers
has_servers() { has_role "$1" postgres || has_role "$1" pgbouncer || has_role "$1" redis; }

# usage: parse_settings TEXT SETTINGS    fills SETTINGS; says every problem, each with its key, and fails if any
parse_settings() {
  local -n _parsed=$2
  local line key value number=0 failed=0
  _parsed=()
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    [[ -n $line && $line != \#* ]] || continue
    if [[ ! $line =~ ^([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]]; then
      problem "settings, line $number: not KEY=VALUE" || failed=1
      continue
    fi
    key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    if ! one_of "$key" "${SETTINGS_KEYS[@]}"; then
      problem "settings: unknown key $key: this host's bundle knows ${SETTINGS_KEYS[*]}" || failed=1
    elif [[ -n ${_parsed[$key]+set} ]]; then
      problem "settings: $key is there twice: keep one" || failed=1
    elif [[ ! $value =~ ^[A-Za-z0-9_./:,@-]*$ ]]; then
      problem "settings: the value of $key has a character other than A-Z a-z 0-9 _ . / : , @ -" || failed=1
    else
      _parsed[$key]=$value
    fi
  done <<<"$1"
  ((failed == 0)) || return 1
  normalize_settings "$2"
  check_settings "$2"
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

# usage: check_settings SETTINGS    whether every value is one that its key may have and nothing needed is missing
check_settings() {
  local -n _checked=$1
  local key role value failed=0 needed=(REVISION ENVIRONMENT ROLES CERTIFICATE_GENERATION)
  for key in "${!VALUE_PATTERN[@]}"; do
    [[ -n ${_checked[$key]+set} ]] || continue
    [[ ${_checked[$key]} =~ ^(${VALUE_PATTERN[$key]})$ ]] ||
      problem "settings: $key=${_checked[$key]}: must be ${VALUE_MEANING[$key]}" || failed=1
  done
  for role in ${_checked[ROLES]//,/ }; do
    one_of "$role" "${ROLE_NAMES[@]}" ||
      problem "settings: ROLES: no role is called $role; there are ${ROLE_NAMES[*]}" || failed=1
  done
  for key in "${!ROLE_OF_VARIABLE[@]}"; do
    role=${ROLE_OF_VARIABLE[$key]}
    if has_role "$1" "$role"; then
      needed+=("$key")
    elif [[ -n ${_checked[$key]+set} ]]; then
      problem "settings: $key is for hosts with role $role; this one has ${_checked[ROLES]:-none}" || failed=1
    fi
  done
  if [[ ${_checked[CERTIFICATE_GENERATION]:-0} != 0 ]]; then
    needed+=(CA_SHA256 SECRET_CA AWS_REGION)
    if has_servers "$1"; then needed+=(CERTIFICATE_SHA256 DIALED_NAMES SECRET_CERT SECRET_KEY); fi
  fi
  for key in "${needed[@]}"; do
    value=${_checked[$key]:-}
    [[ -n $value ]] || problem "settings: $key is missing" || failed=1
  done
  return "$failed"
}

# usage: settings_text SETTINGS    prints the settings in their one order: what is written to disk
settings_text() {
  local -n _printed=$1
  local key
  for key in "${SETTINGS_KEYS[@]}"; do
    [[ -z ${_printed[$key]+set} ]] || printf '%s=%s\n' "$key" "${_printed[$key]}"
  done
}

# usage: copy_settings FROM TO
copy_settings() {
  local -n _from=$1 _to=$2
  local key
  _to=()
  for key in "${!_from[@]}"; do _to[$key]=${_from[$key]}; done
}

# usage: copy_variable FROM TO VARIABLE    copies one step variable, the initial value where FROM has none
copy_variable() {
  local -n _source=$1 _target=$2
  local key keys=("$3")
  [[ $3 != CERTIFICATE_GENERATION ]] || keys=("${CERTIFICATE_KEYS[@]}")
  for key in "${keys[@]}"; do _target[$key]=${_source[$key]:-${INITIAL_VALUE[$key]}}; done
}

# usage: initial_settings OF TO    TO becomes the settings of host OF before any step
initial_settings() {
  local key
  copy_settings "$1" "$2"
  local -n _initial=$2
  _initial[REVISION]=0
  for key in "${!INITIAL_VALUE[@]}"; do
    [[ -z ${_initial[$key]+set} ]] || _initial[$key]=${INITIAL_VALUE[$key]}
  done
}

# usage: variable_value SETTINGS VARIABLE    prints a step variable's value, the initial one where it is absent
variable_value() {
  local -n _valued=$1
  printf '%s' "${_valued[$2]:-${INITIAL_VALUE[$2]}}"
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
  for variable in "${STEP_VARIABLES[@]}"; do
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
