# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# One update, from the asked settings to the receipt: recover, compare, preflight, apply, verify, commit, or back.
# The arrays PREVIOUS (last verified), NEXT (asked) and NOW (where the host stands) are this file's.

declare -A PREVIOUS=() NEXT=() NOW=()

# usage: print_receipt    the last line of standard output
print_receipt() { printf '%s\n' "${NOW[REVISION]}" || true; }

# usage: recover    ends a transaction that a death interrupted: puts its change back and verifies that
recover() {
  local changes since author what
  local -a variables
  end_left_pause
  [[ -e $VOICEAI_STATE/intent ]] || return 0
  since=$(intent_value SINCE) author=$(intent_value WHO) changes=$(intent_value CHANGES)
  IFS=, read -ra variables <<<"$changes"
  what="the update that ${author:-someone} began at ${since:-an unknown time} (${changes:-nothing})"
  say "$what was interrupted: putting it back first"
  if read_verified PREVIOUS; then
    restore PREVIOUS "${variables[@]}" || {
      journal "could not put back $what: $REASON"
      say "what was interrupted could not be put back: $REASON"
      say "what stands is unverified; remove the cause and run this again, or see update.sh --status"
      exit "$EXIT_STUCK"
    }
    [[ $(intent_value SOURCE) == edit ]] || mirror_record || exit "$EXIT_STUCK"
    journal "put back and verified after an interruption: $what"
    say 'the interrupted update is put back and verified'
  else
    journal "no record to put back to: $what"
    say 'there is no record to put back to: going on from what stands'
  fi
  fault_point recovered
  end_transaction
}

# usage: change_list    prints CHANGES with commas
change_list() { (IFS=, && printf '%s' "${CHANGES[*]}"); }

# usage: describe_changes    prints every one of CHANGES with its values
describe_changes() {
  local variable text=''
  for variable in "${CHANGES[@]}"; do text+=", $(describe_change PREVIOUS NEXT "$variable")"; done
  printf '%s' "${text#, }"
}

# usage: is_taken_over SETTINGS    whether this host must run them already (rollout/ledger.py, TAKEN_OVER)
is_taken_over() {
  local -n _taken=$1
  [[ $BY_HAND == no && ${_taken[REVISION]} == 0 ]]
}

# usage: compare    fills PREVIOUS, CHANGES and RECORDED; refuses more than one changed step variable
compare() {
  if read_verified PREVIOUS; then
    RECORDED=yes
    mapfile -t CHANGES < <(changed_variables PREVIOUS NEXT)
    ((${#CHANGES[@]} == 0)) || ! is_taken_over NEXT ||
      problem "a first deployment is taken over where hosts run it already, and this host has verified something else (revision ${PREVIOUS[REVISION]}): $(describe_changes); declare what it runs, or the start; nothing was changed" || return
  else
    # A new, rebuilt or restored host converges, step by step, to what is asked.
    RECORDED=no
    initial_settings NEXT PREVIOUS
    mapfile -t CHANGES < <(step_variables NEXT)
    return
  fi
  one_change_at_most
}

# usage: one_change_at_most    of the step variables that this host had before: what a new app brings converges
one_change_at_most() {
  local variable known=0
  for variable in "${CHANGES[@]}"; do
    app_of "$variable"
    [[ -n $APP && ,${PREVIOUS[APPS]:-}, != *",$APP,"* ]] || known=$((known + 1))
  done
  ((known <= 1)) ||
    problem "more than one variable differs from what this host verified last (revision ${PREVIOUS[REVISION]}): $(describe_changes); an earlier step did not end here, or something was set by hand (update.sh --status): finish it or take it back first; nothing was changed"
}

# usage: look_around    what runs here; EMPTY_HOST is no where there is no record and something does: that was not in the
# state before any step just because nobody wrote down in which
look_around() {
  EMPTY_HOST=yes
  [[ $RECORDED == yes ]] || ! an_app_is_here NEXT || EMPTY_HOST=no
  has_servers NEXT || return 0
  inspect_servers NEXT
  if [[ ${STATE_OF[pgbouncer]:-} == running ]]; then admin_open; fi
  [[ $RECORDED == yes || "${STATE_OF[*]}" != *running* ]] || EMPTY_HOST=no
}

# usage: take_over    a host without a record that must run NEXT already: proved before anything is written. One on which
# nothing runs comes to them as a new host does.
take_over() {
  look_around
  [[ $EMPTY_HOST == no ]] || return 0
  verify_settings NEXT ||
    problem "a first deployment is taken over where hosts run it already, and this host does not: $REASON; declare what it runs, or the start; nothing was changed" || return
  say 'this host runs these settings already: they are taken over'
  CHANGES=()
}

# usage: prepare    everything before the first change: the certificate on disk, the servers running as verified
prepare() {
  local variable
  copy_settings NEXT NOW
  for variable in "${CHANGES[@]}"; do copy_variable PREVIOUS NOW "$variable"; done
  stage_certificate NEXT || return
  one_of CERTIFICATE_GENERATION "${CHANGES[@]}" || flip_generation NEXT || return
  look_around
}

# usage: step_forward VARIABLE    NOW gets NEXT's value, live and verified
step_forward() {
  local step
  say "$(describe_change PREVIOUS NEXT "$1")"
  STEPPED=("$1")
  copy_variable NEXT NOW "$1"
  # shellcheck disable=SC2153  # set by step_function
  step_function "$1" NOW && step=$STEP && not_stopped || return
  fault_point "$step-begun"
  "apply_$step" NOW "$1" || return
  fault_point "$step-applied"
  not_stopped && verify_step "$1" || return
  fault_point "$step-verified"
}

# usage: verify_step VARIABLE    all of NOW; but on the way of a host without a record, whose servers nobody knows
# yet, only the roles that have now got every one of their variables
verify_step() {
  local roles
  if [[ $RECORDED == yes || $1 == "${CHANGES[-1]}" ]]; then
    [[ $RECORDED == yes ]] || STEPPED=()
    verify_settings NOW
  else
    mapfile -t roles < <(roles_done_at "$1")
    verify_settings NOW none "${roles[@]}"
  fi
}

# usage: roles_done_at VARIABLE    prints the roles of a variable that no later one of CHANGES has
roles_done_at() {
  local role variable later=no
  local -A ahead=()
  for variable in "${CHANGES[@]}"; do
    kind_of "$variable"
    if [[ $later == yes ]]; then
      for role in ${ROLES_OF_VARIABLE[$KIND]:-}; do ahead[$role]=yes; done
    fi
    [[ $variable != "$1" ]] || later=yes
  done
  kind_of "$1"
  for role in ${ROLES_OF_VARIABLE[$KIND]:-}; do
    [[ -n ${ahead[$role]:-} ]] || printf '%s\n' "$role"
  done
}

# usage: preflight_step VARIABLE
preflight_step() {
  declare -gA AFTER=()
  copy_settings NOW AFTER
  copy_variable NEXT AFTER "$1"
  step_function "$1" AFTER && "preflight_$STEP" NOW AFTER "$1"
}

# usage: apply_changes    every change, in the safe order that run_change put them; the first one's preflight was passed before
apply_changes() {
  local variable first=yes
  for variable in "${CHANGES[@]}"; do
    [[ $first == yes ]] || preflight_step "$variable" || return
    step_forward "$variable" || return
    first=no
  done
  not_stopped && commit
}

# usage: put_back    the previous settings, verified, then exit EXIT_FAILED; or EXIT_STUCK and what stands
put_back() {
  local why=$REASON what
  # The way back is not interrupted.
  trap '' TERM INT
  STOPPED=''
  what=$(change_list)
  say "failed: $why"
  if [[ $RECORDED == no && $EMPTY_HOST == no ]]; then
    journal "failed: $what: $why; no record to put back to"
    say 'this host has no record of what was verified before, so nothing is put back: what stands is as far as this came; remove the cause and run this again'
    exit "$EXIT_STUCK"
  fi
  say 'putting the previous settings back'
  if restore PREVIOUS "${CHANGES[@]}" && restore_record; then
    end_transaction
    journal "failed and put back: $what: $why"
    say "the previous settings are back and verified; it failed because: $why"
    exit "$EXIT_FAILED"
  fi
  journal "failed and could not be put back: $what: $why; then: $REASON"
  say "the previous settings could not be put back: $REASON"
  say "what stands is unverified, see update.sh --status; remove the cause and run any update again: it puts this back first"
  exit "$EXIT_STUCK"
}

# usage: restore_record    the record says PREVIOUS again, where a commit got half-way
restore_record() {
  if [[ $RECORDED == no ]]; then
    rm -f "$VOICEAI_STATE/settings.verified"
  else
    write_file "$VOICEAI_STATE/settings.verified" 0644 0:0 "$(settings_text PREVIOUS)"
  fi
}

# usage: confirm_unchanged SOURCE    nothing to change: verify, record the revision
confirm_unchanged() {
  if [[ $1 == edit ]]; then
    reapply NOW || say "failed: $REASON"
  fi
  verify_settings NOW || {
    journal "does not hold: $REASON"
    say "these settings were verified before and do not hold now: $REASON"
    say 'nothing was changed; update.sh --status shows what stands, update.sh --restart-only makes the servers read the settings again'
    exit "$EXIT_STUCK"
  }
  write_file "$VOICEAI_STATE/settings.verified" 0644 0:0 "$(settings_text NOW)" || exit "$EXIT_REFUSED"
  if [[ $WROTE == yes ]]; then journal "revision ${NOW[REVISION]}: nothing to change, verified"; fi
  mirror_record || exit "$EXIT_REFUSED"
  note_hand_changes "$1" PREVIOUS NOW
  say "nothing to change: revision ${NOW[REVISION]} is verified"
}

# usage: say_lost_edit    an edit of the settings file that was never applied is about to be replaced
say_lost_edit() {
  local file=$VOICEAI_STATE/settings
  [[ ! -f $file || ! -f $file.verified || $(<"$file") == "$(<"$file.verified")" ]] ||
    say "$file was edited and never applied: the declared settings replace it"
}

# usage: run_change SOURCE    SOURCE says where NEXT came from: settings (the program), set or edit (by hand)
run_change() {
  BY_HAND=no
  [[ $1 == settings ]] || BY_HAND=yes
  preflight_needs NEXT || exit "$EXIT_REFUSED"
  name_containers NEXT || exit "$EXIT_REFUSED"
  recover
  [[ $1 != settings ]] || say_lost_edit
  compare || exit "$EXIT_REFUSED"
  [[ $RECORDED == yes ]] || ! is_taken_over NEXT || take_over || exit "$EXIT_REFUSED"
  prepare || exit "$EXIT_REFUSED"
  fault_point prepared
  bring_up NOW "$RECORDED" || exit
  if ((${#CHANGES[@]} == 0)); then
    confirm_unchanged "$1"
  else
    mapfile -t CHANGES < <(in_safe_order NEXT "${CHANGES[@]}")
    preflight_step "${CHANGES[0]}" || exit "$EXIT_REFUSED"
    fault_point preflight-passed
    not_stopped && write_intent "$1" "$(change_list)" NEXT || exit "$EXIT_REFUSED"
    fault_point intent-written
    apply_changes || put_back
    note_hand_changes "$1" PREVIOUS NEXT "${CHANGES[@]}"
    journal "verified: revision ${NOW[REVISION]} ($1): $(describe_changes)"
    fault_point journalled
    end_transaction
    say "revision ${NOW[REVISION]} is verified"
  fi
  admin_close
  print_receipt
}
