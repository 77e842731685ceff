# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# A host's change as a transaction. On disk, in /var/lib/voiceai:
#
#   settings.verified  what was last verified: the truth, written by this alone
#   settings           the same, for people: an edit of it is a change that --restart-only applies
#   intent             while a transaction is under way; whoever finds one puts the change back first
#   HAND_CHANGE        what was set by hand and is not declared yet
#   journal            a line for everything: UTC time, who, what
#
# Guarantees: `intent` is on disk before anything that a server could read changes; `settings.verified` changes only
# after the wire has shown what it says; on any failure the previous settings are put back and verified, or the
# exit says that they are not; a death at any point leaves old or new, and the next run ends in one of them, verified.

# usage: who    prints who is at work: the user behind sudo, and where from
who() {
  local from=${SSH_CONNECTION:-}
  printf '%s%s' "${SUDO_USER:-$(id -un)}" "${from:+@${from%% *}}"
}

# usage: journal WORDS...    appends a line. A full disk must not stop a way back, so failing is only said.
journal() {
  printf '%s %s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(who)" "$*" 2>/dev/null >>"$VOICEAI_STATE/journal" ||
    say "cannot write $VOICEAI_STATE/journal: no permission, or the disk is full"
}

# usage: take_lock    or exit with EXIT_BUSY
take_lock() {
  make_dir "$VOICEAI_STATE" 0755 || exit "$EXIT_REFUSED"
  if ! { exec 9>>"$VOICEAI_STATE/lock"; } 2>/dev/null; then
    problem "cannot open $VOICEAI_STATE/lock: no permission, or the disk is full; nothing was changed" || exit "$EXIT_REFUSED"
  fi
  flock -n 9 || {
    say "another update of this host holds $VOICEAI_STATE/lock: wait for it to end and run this again; nothing was changed"
    exit "$EXIT_BUSY"
  }
}

# usage: watch_signals    a signal ends what is waited for, and then the way back is taken
watch_signals() {
  trap 'STOPPED=TERM' TERM
  trap 'STOPPED=INT' INT
  # A lost connection is no reason to stop half-way: the change is finished, or put back, without a reader.
  trap '' HUP PIPE
}

# usage: not_stopped    between two steps
not_stopped() { [[ -z $STOPPED ]] || problem "stopped by $STOPPED"; }

# usage: read_verified SETTINGS    fails where nothing was ever verified
read_verified() {
  [[ -f $VOICEAI_STATE/settings.verified ]] || return 1
  parse_settings "$(<"$VOICEAI_STATE/settings.verified")" "$1" record || {
    say "$VOICEAI_STATE/settings.verified cannot be read, so this host counts as one without a record"
    return 1
  }
}

# usage: write_intent SOURCE CHANGES NEXT    the last thing before a server could notice. Also writes the files that
# the commit only renames, so that a disk that is full is found out here.
write_intent() {
  local text
  text=$(settings_text "$3")
  {
    write_file "$VOICEAI_STATE/settings.next" 0644 0:0 "$text" &&
      write_file "$VOICEAI_STATE/settings.verified.next" 0644 0:0 "$text" &&
      write_file "$VOICEAI_STATE/intent" 0644 0:0 \
        "$(printf '%s\n' "SINCE=$(date -u +%Y-%m-%dT%H:%M:%SZ)" "WHO=$(who)" "SOURCE=$1" "CHANGES=$2")"
  } || {
    rm -f "$VOICEAI_STATE/settings.next" "$VOICEAI_STATE/settings.verified.next" "$VOICEAI_STATE/intent"
    return 1
  }
}

# usage: intent_value KEY    prints one line of the intent
intent_value() { sed -n "s/^$1=//p" "$VOICEAI_STATE/intent" 2>/dev/null; }

# usage: commit    what was verified becomes the record; renames only
commit() {
  mv -fT "$VOICEAI_STATE/settings.verified.next" "$VOICEAI_STATE/settings.verified" &&
    fault_point record-renamed &&
    mv -fT "$VOICEAI_STATE/settings.next" "$VOICEAI_STATE/settings" &&
    sync "$VOICEAI_STATE" &&
    fault_point settings-renamed ||
    problem "cannot rename the settings in $VOICEAI_STATE"
}

# usage: end_transaction    nothing is under way any more
end_transaction() {
  forget_undo
  rm -f "$VOICEAI_STATE/intent" "$VOICEAI_STATE/settings.next" "$VOICEAI_STATE/settings.verified.next"
}

# usage: mirror_record    `settings` says again what was verified
mirror_record() {
  write_file "$VOICEAI_STATE/settings" 0644 0:0 "$(<"$VOICEAI_STATE/settings.verified")"
}

# usage: note_hand_changes SOURCE PREVIOUS NEXT CHANGES...    keeps HAND_CHANGE: a line per variable that stands
# otherwise than declared, "KEY DECLARED NOW WHO SINCE". Applying declared settings ends all of them.
note_hand_changes() {
  local file=$VOICEAI_STATE/HAND_CHANGE source=$1 previous=$2 next=$3 key declared now text=''
  local -A was=()
  shift 3
  if [[ $source == settings ]]; then
    [[ ! -e $file ]] || journal "hand changes are reconciled: the declared settings stand"
    rm -f "$file"
    return
  fi
  while read -r key declared now; do was[$key]="$declared $now"; done < <(cat "$file" 2>/dev/null)
  for key in "$@"; do
    now=$(variable_value "$next" "$key") declared=${was[$key]:-}
    declared=${declared%% *}
    declared=${declared:-$(variable_value "$previous" "$key")}
    was[$key]="$declared $now $(who) $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    [[ $declared != "$now" ]] || unset "was[$key]"
  done
  for key in $(step_variables "$next"); do [[ -z ${was[$key]:-} ]] || text+="$key ${was[$key]}"$'\n'; done
  if [[ -n $text ]]; then write_file "$file" 0644 0:0 "${text%$'\n'}" || true; else rm -f "$file"; fi
}
