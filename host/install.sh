#!/bin/sh
# usage: sh -c "$(cat install.sh)" install DIGEST   (standard input: base64 of the bundle's tar.gz)
#
# Puts the bundle DIGEST (the SHA-256 of the tar.gz) into /opt/voiceai-bundles/DIGEST and points /opt/voiceai at
# it. The last line of standard output is the digest that the host has now.
#
# Guarantees: /opt/voiceai points at a complete bundle at every moment; a broken stream, a wrong digest or a full
# disk leaves the one that was there; a host whose bundle is current is not touched. The bundle before this one is
# kept, older ones are removed.
#
# Plain POSIX sh in one piece: this text travels as a command, before any bundle is on the host.

set -eu

opt=${VOICEAI_OPT:-/opt}
etc=${VOICEAI_ETC:-/etc/voiceai}
bundles=$opt/voiceai-bundles
link=$opt/voiceai
staging=

say() { printf 'install: %s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# usage: check_place    refuses a /opt/voiceai that something else put there
check_place() {
  if [ ! -L "$link" ] && [ -e "$link" ]; then
    die "$link is not a symbolic link, so something else put it there: move it away (its own files are not needed here) and run this again"
  fi
}

# usage: target_of LINK    prints the last part of where LINK points, or nothing
target_of() {
  [ -L "$1" ] || return 0
  basename "$(readlink "$1")"
}

# usage: unpack DIGEST    decodes standard input into a verified bundle directory
unpack() {
  staging=$bundles/.$1.tmp
  rm -rf "$staging"
  mkdir -p "$staging/bundle" || die "cannot write to $bundles: nothing was changed"
  base64 -d >"$staging/bundle.tar.gz" ||
    die "the bundle did not arrive whole, or the disk under $bundles is full: nothing was changed, run it again"
  sum=$(sha256sum "$staging/bundle.tar.gz")
  [ "${sum%% *}" = "$1" ] ||
    die "the bundle that arrived has digest ${sum%% *}, asked for was $1 (a broken stream?): nothing was changed, run it again"
  tar -xzf "$staging/bundle.tar.gz" -C "$staging/bundle" --no-same-owner ||
    die "cannot unpack the bundle into $bundles (is the disk full?): nothing was changed"
  [ -x "$staging/bundle/update.sh" ] || die "the bundle $1 has no executable update.sh: nothing was changed"
  ln -s "$etc/compose.env" "$staging/bundle/.env"
  # One flush, so that a power cut after the rename does not leave a name with empty files.
  sync
  mv "$staging/bundle" "$bundles/$1"
}

# usage: flip DIGEST    points /opt/voiceai at the bundle, in one rename
flip() {
  ln -sfn "voiceai-bundles/$1" "$opt/.voiceai.new"
  mv -T "$opt/.voiceai.new" "$link"
}

# usage: prune CURRENT PREVIOUS    removes every other bundle, and what a killed run left
prune() {
  for dir in "$bundles"/* "$bundles"/.*.tmp; do
    case ${dir##*/} in
      "$1" | "$2" | '*' | '.*.tmp') ;;
      *) rm -rf "$dir" ;;
    esac
  done
}

main() {
  digest=${1:-}
  case $digest in
    '' | *[!0-9a-f]*) die "usage: install DIGEST, 64 hex digits (got '$digest')" ;;
  esac
  [ "${#digest}" -eq 64 ] || die "usage: install DIGEST, 64 hex digits (got ${#digest})"
  check_place
  previous=$(target_of "$link")
  if [ "$previous" = "$digest" ] && [ -x "$bundles/$digest/update.sh" ]; then
    cat >/dev/null
    say "the bundle is current"
  else
    trap 'if [ -n "$staging" ]; then rm -rf "$staging"; fi' EXIT
    trap 'exit 1' HUP INT TERM
    if [ -x "$bundles/$digest/update.sh" ]; then cat >/dev/null; else unpack "$digest"; fi
    flip "$digest"
    prune "$digest" "$previous"
    say "the bundle is now $digest"
  fi
  printf '%s\n' "$digest"
}

main "$@"
