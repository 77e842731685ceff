# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Files that are the site's: changed in place, so that a mounted file keeps its inode and any file its owner and mode,
# and put back byte for byte. What a file was before stands in /var/lib/voiceai/deployment until it is put back.

# usage: before_home    prints where the files are kept as they were
before_home() { printf '%s/deployment' "$VOICEAI_STATE"; }

# usage: host_path ROLE PATH    prints the path on this host of a file that is mounted into a container, or nothing
host_path() {
  local name type source target best='' found=''
  while IFS=$'\t' read -r name type source target; do
    [[ $name == "/${CONTAINER[$1]}" ]] || continue
    [[ $2 == "$target" || $2 == "$target"/* ]] && ((${#target} >= ${#best})) || continue
    best=$target found=''
    [[ $type != bind ]] || found=$source${2#"$target"}
  done <<<"$MOUNTS"
  # A path of the engine's machine that is not seen from here is as good as none.
  [[ ! -f $found ]] || printf '%s' "$found"
}

# usage: is_mounted ROLE PATH    whether a file in a container lies on a mount, so that a later container has it too
is_mounted() {
  local name target
  while IFS=$'\t' read -r name _ _ target; do
    [[ $name != "/${CONTAINER[$1]}" || ($2 != "$target" && $2 != "$target"/*) ]] || return 0
  done <<<"$MOUNTS"
  return 1
}

# usage: read_site_file ROLE PATH    prints it
read_site_file() {
  local path
  path=$(host_path "$1" "$2")
  if [[ -n $path ]]; then
    cat "$path"
  else
    call "$CALL_SECONDS" docker exec --user 0 "${CONTAINER[$1]}" cat "$2" </dev/null
  fi
}

# usage: write_site_file ROLE PATH    standard input into the file that is there
write_site_file() {
  local path
  path=$(host_path "$1" "$2")
  if [[ -n $path ]]; then
    cat >"$path"
  else
    # As root, which a read-only file does not stop.
    # shellcheck disable=SC2016  # expanded inside the container
    call "$CALL_SECONDS" docker exec -i --user 0 "${CONTAINER[$1]}" sh -c 'cat >"$1"' write "$2"
  fi
}

# usage: site_copy ROLE    prints the path of a copy of a server's configuration as it stands now, as look_at_site_file
# took it
site_copy() { printf '%s/%s.now' "$(before_home)" "$1"; }

# usage: look_at_site_file ROLE PATH    takes the copy
look_at_site_file() {
  local home
  home=$(before_home)
  make_dir "$home" 0700 || return
  (umask 077 && read_site_file "$1" "$2" >"$home/$1.now") ||
    problem "cannot read $2 of $(service_name "$1")"
}

# usage: change_site_file ROLE PATH FUNCTION    PATH becomes what FUNCTION prints of a copy of it, which look_at_site_file
# took. As it was before the first change is kept; a change that was not written whole is taken back at once.
change_site_file() {
  local home copy
  home=$(before_home)
  copy=$(site_copy "$1")
  (umask 077 && "$3" "$copy" >"$home/$1.next") || return
  ! cmp -s "$copy" "$home/$1.next" || return 0
  if [[ ! -e $home/$1.before ]]; then
    cp "$copy" "$home/.$1.before.new" && sync "$home/.$1.before.new" && mv -f "$home/.$1.before.new" "$home/$1.before" ||
      problem "cannot keep $2 in $home: is the disk full?" || return
  fi
  if write_site_file "$1" "$2" <"$home/$1.next" 2>/dev/null && read_site_file "$1" "$2" | cmp -s - "$home/$1.next"; then
    cp "$home/$1.next" "$copy"
    return 0
  fi
  write_site_file "$1" "$2" <"$copy" 2>/dev/null || true
  problem "cannot write $2 of $(service_name "$1"): no permission, or the disk is full"
}

# usage: restore_site_file ROLE PATH FUNCTION    without what we changed, which FUNCTION leaves out: byte for byte as it
# was, or, where the site has changed it since, as the site has it
restore_site_file() {
  local home
  home=$(before_home)
  look_at_site_file "$1" "$2" || return
  (umask 077 && "$3" "$home/$1.now" >"$home/$1.next") || return
  # Only the end of a last line may differ: a line of ours gave it one, or the program that looked for ours.
  if [[ $(<"$home/$1.next") == "$(<"$home/$1.now")" ]]; then cp "$home/$1.now" "$home/$1.next"; fi
  if [[ -e $home/$1.before && $(<"$home/$1.next") == "$(<"$home/$1.before")" ]]; then
    cp "$home/$1.before" "$home/$1.next"
  fi
  cmp -s "$home/$1.now" "$home/$1.next" || {
    write_site_file "$1" "$2" <"$home/$1.next" && read_site_file "$1" "$2" | cmp -s - "$home/$1.next" ||
      problem "cannot write $2 of $(service_name "$1"): no permission, or the disk is full" || return
  }
  rm -f "$home/$1.before" "$home/$1.next" "$home/$1.now"
}
