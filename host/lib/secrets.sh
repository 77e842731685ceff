# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Secrets Manager to files. A value goes through pipes only: never an argument, a variable or a message.

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

# usage: get_secret READER NAME    prints the SecretString; bounded to about half a minute
get_secret() {
  local endpoint region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
  endpoint=$(secrets_endpoint)
  if [[ $1 == aws ]]; then
    AWS_MAX_ATTEMPTS=2 AWS_RETRY_MODE=standard AWS_PAGER='' AWS_DEFAULT_REGION=$region timeout -k 2 40 aws \
      secretsmanager get-secret-value --secret-id "$2" --query SecretString --output text \
      --cli-connect-timeout 5 --cli-read-timeout 10 ${endpoint:+--endpoint-url "$endpoint"} </dev/null
  else
    AWS_DEFAULT_REGION=$region timeout -k 2 40 python3 "$BUNDLE/lib/get_secret.py" "$2" </dev/null
  fi
}

# usage: explain_get_failure NAME STATUS FILE    says why a secret could not be read, from the reader's own words
explain_get_failure() {
  local words where
  words=$(tr -s '\n\t ' ' ' <"$3" | tail -c 400)
  where=$(secrets_endpoint)
  where="Secrets Manager (${AWS_REGION:-no region}${where:+, $where})"
  case "$2 $words" in
    *ResourceNotFoundException*)
      problem "secret $1 is not in $where: run the program's \`pulumi up\` first, or correct its name; nothing was changed"
      ;;
    *AccessDenied* | *UnrecognizedClient* | *InvalidClientToken* | *Unable\ to\ locate\ credentials* | *ExpiredToken*)
      problem "secret $1: this host may not read it: ${words}; give the host's role secretsmanager:GetSecretValue on it; nothing was changed"
      ;;
    124\ * | 137\ * | *onnect* | *imeout* | *timed\ out* | *resolve*)
      problem "secret $1: $where does not answer: ${words:-no answer in time}; nothing was changed, run it again when it does"
      ;;
    *)
      problem "secret $1: $where refused: ${words:-no reason given}; nothing was changed"
      ;;
  esac
}

# usage: fetch_secret READER NAME FILE MODE OWNER    decodes one secret into FILE, which has its mode and owner
# before it has a byte
fetch_secret() {
  local file=$3 errors=$3.err
  # Created exclusively and empty; the mode is widened only for what is public, at the end.
  (umask 077 && set -C && : >"$file" && : >"$errors" && chown "$5" "$file") 2>/dev/null ||
    problem "cannot write $file: no permission, or the disk is full; nothing was changed" || return
  get_secret "$1" "$2" 2>"$errors" | base64 -d >"$file" 2>>"$errors"
  local status=("${PIPESTATUS[@]}")
  if ((status[0] != 0)) && grep -qs 'write error: No space' "$errors"; then
    status=(0 1)
  fi
  if ((status[0] != 0)); then
    explain_get_failure "$2" "${status[0]}" "$errors"
  elif ((status[1] != 0)) && grep -qs 'No space' "$errors"; then
    problem "cannot write $file: the disk is full; nothing was changed"
  elif ((status[1] != 0)) || [[ ! -s $file ]]; then
    problem "secret $2 is corrupt: it is not base64 of a PEM; put it right in Secrets Manager (or reissue by CERTIFICATE_GENERATION) and run this again; nothing was changed"
  else
    chmod "$4" "$file" && rm -f "$errors"
  fi
}
