#!/usr/bin/env bash
# usage: setup.sh python|deploy
#
# python: has the pinned Python packages, and puts them on PATH for the steps that follow.
# deploy: has the Pulumi engine with the vendor's own parts as well. A deploy never runs on the stand-ins of offline/: where
# only those could be had it ends here, with a sentence.

set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PYTHON=${PYTHON:-python3}

# usage: refuse_stand_ins    reads the doctor's table
refuse_stand_ins() {
  local found
  found=$(grep -E '(language host|command provider|aws provider).*stand-in') || return 0
  printf 'setup.sh: these parts are stand-ins, with which nothing may be deployed; let the runner reach get.pulumi.com:\n%s\n' "$found" >&2
  return 1
}

_main() {
  case ${1:-} in
    python)
      "$PYTHON" -m toolchain setup --for lint
      printf '%s\n' "$PWD/.venv/bin" >>"$GITHUB_PATH"
      ;;
    deploy) with_engine ;;
    *)
      printf 'usage: setup.sh python|deploy\n' >&2
      return 2
      ;;
  esac
}

with_engine() {
  "$PYTHON" -m toolchain setup --for deploy
  # It ends with 1 for what is missing of Docker and the lab, which no deploy needs.
  { "$PYTHON" -m toolchain doctor || true; } | refuse_stand_ins
  "$PYTHON" -c 'from toolchain import engine, env; print(*reversed(env.front_of_path(engine.recorded())), sep="\n")' >>"$GITHUB_PATH"
  "$PYTHON" -m toolchain env | sed -n '/^export PATH=/d; s/^export //p' >>"$GITHUB_ENV"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  _main "$@"
fi
