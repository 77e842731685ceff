#!/usr/bin/env bash
# usage: docker-entrypoint.sh [postgres [ARGUMENT...] | COMMAND [ARGUMENT...]]
#
# Starts PostgreSQL, creating the cluster on the first start. Any other command is run as it is, so that the
# same image serves PgBouncer and Redis.
#
# Read from the environment, as the published image does:
#   POSTGRES_USER           superuser to create (default: postgres)
#   POSTGRES_DB             database to create (default: the user's name)
#   POSTGRES_PASSWORD_FILE  file whose first line is that user's password (POSTGRES_PASSWORD is accepted too)
#   PGDATA                  the cluster's directory (default: /var/lib/postgresql/data)
#
# Guarantees: a cluster is created in a directory of its own and renamed into place when it is complete, so
# that one killed half-way is never started and the next start begins anew. A cluster that exists is not touched.

set -Eeuo pipefail

note() { printf 'entrypoint: %s\n' "$*" >&2; }

die() {
  note "$*"
  exit 1
}

# The password, from its file or the environment. Never an argument of a process.
password() {
  if [[ -n ${POSTGRES_PASSWORD_FILE:-} ]]; then
    [[ -r $POSTGRES_PASSWORD_FILE ]] || die "POSTGRES_PASSWORD_FILE=$POSTGRES_PASSWORD_FILE: not readable by uid $(id -u)"
    head -n 1 "$POSTGRES_PASSWORD_FILE"
  else
    printf '%s\n' "${POSTGRES_PASSWORD:-}"
  fi
}

# usage: build_cluster DIRECTORY
build_cluster() {
  local dir=$1 user=${POSTGRES_USER:-postgres} secret
  local database=${POSTGRES_DB:-$user}
  secret=$(password)
  [[ -n $secret ]] || die 'no password for the superuser: set POSTGRES_PASSWORD_FILE to a file that holds one'

  # Host connections by password, the Unix socket by trust: whoever is in the container is the server's account.
  initdb --pgdata="$dir" --username="$user" --pwfile=<(printf '%s\n' "$secret") \
    --auth-host=scram-sha-256 --auth-local=trust --encoding=UTF8 --locale=C.UTF-8 >&2
  # initdb allows 127.0.0.1 and ::1 only; the published image adds this line as well.
  printf '\nhost all all all scram-sha-256\n' >>"$dir/pg_hba.conf"
  printf "\nlisten_addresses = '*'\n" >>"$dir/postgresql.conf"

  if [[ $database != postgres ]]; then
    # Single-user mode: no listener exists while the cluster is half made.
    printf 'CREATE DATABASE "%s" OWNER "%s"\n' "${database//\"/\"\"}" "${user//\"/\"\"}" |
      postgres --single -D "$dir" postgres >/dev/null
  fi
}

# usage: ensure_cluster PGDATA
ensure_cluster() {
  local data=$1 building=$1/.building
  [[ ! -s $data/PG_VERSION ]] || return 0
  mkdir -p "$data"
  rm -rf "$building"
  if [[ -n $(find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name .placing -print -quit) ]] &&
    [[ ! -e $data/.placing ]]; then
    die "PGDATA=$data is not empty and holds no cluster: move its content away, or point PGDATA elsewhere"
  fi
  # A start that was killed while placing its files left this mark: what it placed is not a cluster.
  find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +
  build_cluster "$building"
  # PGDATA is a mount point and can't be renamed over, so the content moves in with PG_VERSION, which says that
  # a cluster is complete, as the last.
  : >"$data/.placing"
  find "$building" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$data" {} +
  sync
  mv "$building/PG_VERSION" "$data/"
  rmdir "$building"
  rm -f "$data/.placing"
  chmod 0700 "$data"
  note "created a cluster in $data"
}

_main() {
  if (($# == 0)) || [[ $1 == -* ]]; then
    set -- postgres "$@"
  fi
  if [[ $1 == postgres ]]; then
    export PGDATA=${PGDATA:-/var/lib/postgresql/data}
    ensure_cluster "$PGDATA"
    unset POSTGRES_PASSWORD
  fi
  exec "$@"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  _main "$@"
fi
