"""What a step does to live traffic, beside the table of steps: one source for `operate check` and the documents.

A row of `steps.ROWS` has one entry here (a test holds it so), by its key and target. `Unseen` is what no config shows:
the hosts look for it in their preflight and refuse before anything is changed, so that a pull request can only tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollout.declared import Declared
from rollout.moves import Move, changed_attributes, describe, inventory_changes, site_changes, taken_rows
from rollout.steps import GENERATION, ROWS, TRACKS, Row, generic


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What must be so on the hosts before the row is taken, and how to look. `kind` is an app's; "" for any."""

    wants: str
    look: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What clients notice, forward and back; `page` is the row's page in docs/runbook/."""

    forward: str
    back: str
    page: str
    unseen: tuple[Unseen, ...] = ()


_KAMAILIO = Unseen(
    kind="kamailio",
    wants="the image that runs has Kamailio's ndb_redis built with hiredis_ssl; without, `tls=1` is ignored in silence",
    look="`docker exec CONTAINER sh -c 'ldd /usr/lib/*/kamailio/modules/ndb_redis.so | grep hiredis_ssl'` prints a "
    "line; else ship the SSL build first, as a deploy of its own (docs/runbook/00-telpro.md)",
)
_REPLICAS = Unseen(
    wants="each replica is healthy now, and there are two, or apps.<app>.acceptRestart is true",
    look="`/opt/voiceai/update.sh --status` on the app's host",
)
_POSTGRES_CLIENTS = Unseen(
    wants="nobody talks to Postgres directly in plaintext: no exporter, pg_dump, console or replica, now or within "
    "QUIET_MINUTES",
    look="`SELECT usename, application_name, client_addr FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT "
    "ssl` on Postgres; give whoever it names sslmode=verify-full first",
)
_PGBOUNCER_CLIENTS = Unseen(
    wants="nobody talks to PgBouncer in plaintext, now or within QUIET_MINUTES, and every app was seen in TLS",
    look="`SHOW CLIENTS` on PgBouncer's console, column tls; DRAIN_STRAGGLERS=on ends idle leftovers",
)
_REDIS_CLIENTS = Unseen(
    wants="no client of Redis is in plaintext while the list is sampled (Redis keeps no log: a nightly job is unseen), "
    "and every app was seen on the TLS port",
    look="`CLIENT LIST` on Redis: laddr ends in the port that a client uses",
)

_ROLLED_FORWARD = (
    "The app's replicas are recreated one after another, each drained first and healthy before the next; the app's "
    "first host is the canary. With one replica (acceptRestart) its requests fail while it starts."
)
_ROLLED_BACK = "The app's replicas are recreated one after another, as on the way forward; no other app notices."

_TRAFFIC: dict[tuple[str, str], Traffic] = {
    ("PREPARED", "on"): Traffic(
        forward="Nothing where servers run by our own compose.yaml. In a deployment of your own, the host first says "
        "what must be made anew once: Postgres then restarts while PgBouncer holds clients back, for a bounded time.",
        back="Nothing: files are put back, no container is made anew.",
        page="01-0-prepare.md",
        unseen=(
            Unseen(
                wants="a deployment of your own can be prepared",
                look="`/opt/voiceai/update.sh --plan FILE` on its host says what will be done and at what cost",
            ),
        ),
    ),
    ("CERTIFICATE_GENERATION", "1"): Traffic(
        forward="Nothing: files arrive on hosts, no server reloads and no connection is touched.",
        back="Nothing: files stay on hosts, unused.",
        page="01-certificates.md",
    ),
    ("POSTGRES_TLS_ENABLED", "on"): Traffic(
        forward="Postgres reloads; no session ends. New direct sessions with libpq's default sslmode (prefer) encrypt "
        "by themselves.",
        back="Postgres reloads; TLS sessions go on, new ones are in plaintext.",
        page="02-postgres-tls.md",
    ),
    ("PGBOUNCER_SERVER_TLS_SSLMODE", "verify-ca"): Traffic(
        forward="PgBouncer replaces its connections to Postgres as transactions end; clients keep theirs. A long "
        "transaction makes the step wait, bounded.",
        back="PgBouncer replaces its connections to Postgres as transactions end; clients keep theirs.",
        page="03-pgbouncer-server-leg.md",
    ),
    ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow"): Traffic(
        forward="PgBouncer reloads; no connection is closed, plaintext still works. Clients with sslmode prefer "
        "encrypt from their next connection on.",
        back="PgBouncer reloads; no connection is closed, new ones are in plaintext.",
        page="04-pgbouncer-client-leg.md",
    ),
    ("apps.<app>.DATABASE_SSL_MODE", "verify-full"): Traffic(
        forward=_ROLLED_FORWARD,
        back=_ROLLED_BACK,
        page="05-apps-database.md",
        unseen=(_REPLICAS,),
    ),
    ("PGBOUNCER_CLIENT_TLS_SSLMODE", "require"): Traffic(
        forward="PgBouncer refuses every new plaintext client from then on; TLS clients notice nothing.",
        back="PgBouncer takes plaintext clients again at once; nobody is disconnected.",
        page="06-pgbouncer-require.md",
        unseen=(_PGBOUNCER_CLIENTS,),
    ),
    ("POSTGRES_FORCE_SSL", "on"): Traffic(
        forward="Postgres refuses every new plaintext session, direct clients (exporter, pg_dump, consoles) included; "
        "PgBouncer's clients notice nothing.",
        back="Postgres takes plaintext sessions again at once; nobody is disconnected.",
        page="07-postgres-force-ssl.md",
        unseen=(_POSTGRES_CLIENTS,),
    ),
    ("REDIS_TLS_ENABLED", "true"): Traffic(
        forward="Redis opens a second listener without a restart; no client is touched. The collector alone is "
        "recreated and scrapes by TLS.",
        back="The collector is recreated, then the TLS listener closes; refused on the host while anybody uses it.",
        page="08-redis-tls.md",
    ),
    ("apps.<app>.REDIS_TLS_ENABLED", "true"): Traffic(
        forward=_ROLLED_FORWARD,
        back=_ROLLED_BACK,
        page="09-apps-redis.md",
        unseen=(_REPLICAS, _KAMAILIO),
    ),
    ("REDIS_FORCE_TLS", "true"): Traffic(
        forward="Redis closes its plaintext listener: every plaintext client fails from then on (scripts with "
        "redis-cli too); TLS clients notice nothing.",
        back="Redis opens its plaintext listener again at once; nobody is disconnected.",
        page="10-redis-force-tls.md",
        unseen=(_REDIS_CLIENTS,),
    ),
}

REISSUE = "The server certificate is issued anew under the same CA; Postgres reloads it, no session ends."
INVENTORY = (
    "What runs is not restarted where nothing changes for it; a new or rebuilt host comes to the confirmed settings."
)
FREE = "Nothing: hosts keep the new value for their next step."
REACHED_ANEW = "A host that stands right changes nothing; a rebuilt one comes to the confirmed settings."


def traffic_of(row: Row) -> Traffic:
    """What the row does to traffic; `KeyError` for a row that the table has not."""
    return _TRAFFIC[row.key, row.target]


def rows_taken(move: Move) -> tuple[Row, ...]:
    """The rows that the move takes or takes back, each once; none for a reissue, whose row is done, and where no single
    step variable changes."""
    if move.key is None or is_reissue(move):
        return ()
    key = move.key
    taken = (TRACKS[track][number] for track in TRACKS for number in taken_rows(key, move.before, move.after, track))
    beyond = (row for row in reversed(ROWS) if row.key == generic(key))
    return tuple(dict.fromkeys(taken)) or tuple(beyond)[:1]


def told(previous: Declared, following: Declared) -> tuple[str, ...]:
    """What the move does to live traffic, a sentence a step; () where nothing differs."""
    move = describe(previous, following)
    said = [(row.back if move.direction == "back" else row.forward) for row in map(traffic_of, rows_taken(move))]
    if move.reissue or is_reissue(move):
        said.append(REISSUE)
    if inventory_changes(previous, following) or site_changes(previous, following):
        said.append(INVENTORY)
    elif not said and changed_attributes(previous, following):
        said.append(FREE)
    return tuple(said)


def unseen(move: Move, kind: str) -> tuple[Unseen, ...]:
    """What the hosts must find so before the move, which no config shows. `kind` is that of the app that it flips.

    Back asks for nothing but a usable state.
    """
    if move.direction != "forward":
        return ()
    asked = (one for row in rows_taken(move) for one in traffic_of(row).unseen)
    return tuple(one for one in asked if one.kind in ("", kind))


def is_reissue(move: Move) -> bool:
    """Whether it goes from one issued certificate to another."""
    return move.key == GENERATION and "0" not in (move.before, move.after)
