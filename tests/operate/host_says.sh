#!/usr/bin/env bash
# usage: host_says.sh telpro|exporter
#
# What a host answers to a step that no pull request can see through: the host's own preflight functions run, from
# host/lib. What they would ask Docker and Postgres is played here, and nothing else.
# shellcheck disable=SC2034,SC2329 # read and called by the libraries

set -Eeuo pipefail

BUNDLE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../host
# shellcheck source=/dev/null
. "$BUNDLE/lib/load.sh"

# usage: telpro    an image whose ndb_redis.so is linked without hiredis_ssl
telpro() {
  local -A settings=(["apps.telpro.REDIS_TLS_CA_FILE"]=/etc/ssl/internal/ca.crt)
  local -A REPLICA_TAG=(["telpro-1"]=kamailio:5.6)
  local REPLICAS=(telpro-1)
  in_replica() { printf 'libhiredis.so.0.14\nlibc.so.6\n'; }
  kamailio_can_tls settings telpro apps.telpro.REDIS_TLS_ENABLED=true
}

# usage: exporter    a plaintext session of Postgres, of a client that is nobody's app
exporter() {
  local -A settings=([CLIENTS]='')
  postgres_sessions() { SESSIONS=("plain${FIELD}10.0.1.50${FIELD}metrics${FIELD}postgres_exporter${FIELD}77${FIELD}busy"); }
  postgres_proofs() { return 0; }
  closing_evidence settings postgres POSTGRES_FORCE_SSL=on
}

"$1"
