# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Secrets Manager to files. A value goes from process to file: never an argument, a variable or a message.

# usage: secrets_endpoint    prints where Secrets Manager is asked
secrets_endpoint() {
  printf '%s' "${AWS_ENDPOINT_URL_SECRETS_MANAGER:-${AWS_ENDPOINT_URL:-}}"
}

# usage: secret_reader    prints which of the two ways this host has, or fails
secret_reader() {
  if command -v aws >/dev/null; then
    printf aws
  elif command -v python3 >/dev/null &&
    python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("boto3") is None)'; then
    printf boto3
  else
    return 1
  fi
}

# usage: reader_environment COMMAND...    runs a reader with the region and bounds that both understand
reader_environment() {
  AWS_MAX_ATTEMPTS=2 AWS_RETRY_MODE=standard AWS_PAGER='' AWS_DEFAULT_REGION=${AWS_REGION:-${AWS_DEFAULT_REGION:-}} \
    timeout -k 2 60 "$@" </dev/null 9>&-
}

# usage: get_secret_by_cli NAME FILE    one SecretString into FILE, the CLI's words into FILE.err
get_secret_by_cli() {
  local endpoint
  endpoint=$(secrets_endpoint)
  reader_environment aws secretsmanager get-secret-value --secret-id "$1" --query SecretString --output text \
    --cli-connect-timeout 5 --cli-read-timeout 10 ${endpoint:+--endpoint-url "$endpoint"} >"$2" 2>"$2.err" ||
    printf 'status %s\n' "$?" >>"$2.err"
}

# usage: get_secrets READER NAME FILE [NAME FILE...]    every secret into its file, which has its mode and owner
# already. FILE.err is not empty where that failed.
get_secrets() {
  local reader=$1 child children=() status=0
  shift
  if [[ $reader == boto3 ]]; then
    reader_environment python3 "$BUNDLE/lib/get_secrets.py" "$@" 2>"$2.python.err" || status=$?
    # Status 1 explains itself in each secret's own file.
    ((status < 2)) || printf 'status %s %s\n' "$status" "$(tail -n 1 "$2.python.err")" >"$2.err"
    return 0
  fi
  while (($#)); do
    get_secret_by_cli "$1" "$2" &
    children+=("$!")
    shift 2
  done
  for child in "${children[@]}"; do wait "$child" || true; done
}

# usage: explain_get_failure NAME FILE    says why a secret could not be read, from the reader's own words in FILE
explain_get_failure() {
  local words where
  words=$(tr -s '\n\t ' ' ' <"$2" | tail -c 400)
  where=$(secrets_endpoint)
  where="Secrets Manager (${AWS_REGION:-no region}${where:+, $where})"
  case $words in
    *ResourceNotFoundException*)
      problem "secret $1 is not in $where: run the program's \`pulumi up\` first, or correct its name; nothing was changed"
      ;;
    *AccessDenied* | *UnrecognizedClient* | *InvalidClientToken* | *Unable\ to\ locate\ credentials* | *ExpiredToken*)
      problem "secret $1: this host may not read it: ${words}; give the host's role secretsmanager:GetSecretValue on it; nothing was changed"
      ;;
    *status\ 124* | *status\ 137* | *onnect* | *imeout* | *timed\ out* | *resolve*)
      problem "secret $1: $where does not answer: ${words:-no answer in time}; nothing was changed, run it again when it does"
      ;;
    *)
      problem "secret $1: $where refused: ${words:-no reason given}; nothing was changed"
      ;;
  esac
}

# usage: place_empty FILE OWNER    a new empty file that nobody but its owner can read, from its first byte on
place_empty() {
  (umask 077 && set -C && : >"$1" && chown "$2" "$1") 2>/dev/null ||
    problem "cannot write $1: no permission, or the disk is full; nothing was changed"
}

# usage: has_room DIRECTORY    whether a few more bytes fit: a reader whose disk is full often cannot even say so
has_room() {
  local probe=$1/.probe status=0
  head -c 8192 /dev/zero 2>/dev/null >"$probe" || status=1
  rm -f "$probe"
  return "$status"
}

# usage: decode_secret NAME FILE MODE OWNER    FILE from the base64 in FILE.b64, which is removed
decode_secret() {
  has_room "${2%/*}" || problem "cannot write $2: the disk is full; nothing was changed" || return
  [[ ! -s $2.b64.err ]] || explain_get_failure "$1" "$2.b64.err" || return
  place_empty "$2" "$4" || return
  if base64 -d <"$2.b64" >"$2" 2>/dev/null && [[ -s $2 ]]; then
    rm -f "$2.b64" "$2.b64.err" && chmod "$3" "$2"
  elif ! has_room "${2%/*}"; then
    problem "cannot write $2: the disk is full; nothing was changed"
  else
    problem "secret $1 is corrupt: it is not base64 of a PEM; put it right in Secrets Manager (or reissue by CERTIFICATE_GENERATION) and run this again; nothing was changed"
  fi
}
