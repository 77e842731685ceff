# Sourced by the wrappers in bin/, which the engine finds on PATH and gives its address.
# They set `self` and `root`.
# shellcheck shell=sh disable=SC2154

# take_offer PROVIDER ENGINE_ADDRESS: where the engine's language host has this provider ready (offers.py), say its port
# and stay until the engine is done with it; otherwise return. Removing the file is taking it, so it is taken once.
take_offer() {
  offer=$root/.tools/run/${2##*:}.$1
  [ -e "$offer" ] || return 0
  read -r port pid <"$offer" && rm "$offer" 2>/dev/null && kill -0 "$pid" 2>/dev/null || return 0
  echo "$port"
  exec cat >/dev/null # until the engine closes stdin or ends the group
}

# stand_in MODULE ARGUMENTS…: -I, so that neither PYTHONPATH nor the current directory decides what is imported.
stand_in() {
  python=$root/.venv/bin/python
  if [ ! -x "$python" ]; then
    echo "${self##*/} (stand-in): $python is missing; create the project's virtual environment first (make setup)" >&2
    exit 1
  fi
  exec "$python" -I "$root/offline" "$@"
}
