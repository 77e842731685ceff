# shellcheck shell=bash
# What the scripts of the workflows share. It only defines.

# usage: summary_of TITLE STATUS FILE    adds a command's output to the job summary, its end where it is long
summary_of() {
  local sign=✅
  (($2 == 0)) || sign=⛔
  {
    printf '## %s %s\n\n```\n' "$sign" "$1"
    # Three backticks in the output would end the block.
    tail -n 200 "$3" | sed "s/\`\`\`/'''/g"
    printf '```\n\n'
  } >>"$GITHUB_STEP_SUMMARY"
}

# usage: shown_and_summed TITLE COMMAND…    runs it, its output here and in the job summary, also when it fails; ends as
# the command does
shown_and_summed() {
  local title=$1 status=0 log
  shift
  log=$(mktemp)
  "$@" 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
  summary_of "$title" "$status" "$log"
  rm -f "$log"
  return "$status"
}

# usage: start_agent    an SSH agent with the key of SSH_PRIVATE_KEY, which no later process sees; nothing where it is unset
start_agent() {
  [[ -n ${SSH_PRIVATE_KEY:-} ]] || return 0
  eval "$(ssh-agent -s)" >/dev/null
  trap 'ssh-agent -k >/dev/null' EXIT
  ssh-add -q - <<<"$SSH_PRIVATE_KEY"
  unset SSH_PRIVATE_KEY
}

# usage: environment_named NAME    whether it is the name of an environment with a file here
environment_named() {
  [[ $1 =~ ^[a-z0-9][a-z0-9-]*$ && -f Pulumi.$1.yaml ]] && return 0
  printf 'there is no environment %q here: its file would be Pulumi.%s.yaml\n' "$1" "$1" >&2
  return 2
}
