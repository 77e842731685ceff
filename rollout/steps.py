"""The ordered table of steps: every rule about order and preconditions is a row here, not a branch elsewhere.

Two tracks advance independently, one move a deploy; rows 0 and 1 are shared. How to read a track, Postgres as example:

0. `PREPARED` off → on                          the deployment has the places that later steps need
1. `CERTIFICATE_GENERATION` 0 → 1               the three secrets exist, hosts hold the files
2. `POSTGRES_TLS_ENABLED` off → on              Postgres offers TLS, plaintext still works
3. `PGBOUNCER_SERVER_TLS_SSLMODE` → verify-ca   PgBouncer → Postgres is encrypted
4. `PGBOUNCER_CLIENT_TLS_SSLMODE` → allow       PgBouncer offers TLS, plaintext still works
5. `apps.<app>.DATABASE_SSL_MODE` → verify-full  one app after another
6. `PGBOUNCER_CLIENT_TLS_SSLMODE` → require     plaintext is refused
7. `POSTGRES_FORCE_SSL` → on (optional)         also at Postgres itself

* A **variable**'s values stand weakest first; a value's position is its rank.
* A **row** is done where its variable stands at `target` or above; one variable may have two rows.
* `<app>` stands for every declared app that uses the variable's server, in the order of the inventory.
* **Forward** (rank grows) takes the rows whose targets are reached, or begins the first; each needs every earlier row
  of its track done, optional ones left out, earlier apps of its own row included.
* **Back** (rank shrinks) needs that the resulting state is usable, and the `limits` of the rows that are taken back.
* A state is usable when every **Need** of every row holds: "from this rank on, that variable must be at least this".
  What follows from others is not stated again: who verifies needs a server that offers TLS, and that one a certificate.
* An **attribute** changes with its step, or alone while the step stands at its initial value; without one it is free.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

SSLMODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
OFF_ON = ("off", "on")
FALSE_TRUE = ("false", "true")
PREPARED = "PREPARED"
GENERATION = "CERTIFICATE_GENERATION"
CA_FILE = "/etc/ssl/internal/ca.crt"

SERVER_ROLES = ("postgres", "pgbouncer", "redis")
"""Roles of hosts that run a server and hold its key."""

ROLES = (*SERVER_ROLES, "otel")
"""Every role that is not the name of an app; `otel` is the collector that scrapes Redis."""

APP_ORDER = ("api", "web", "voice", "ops", "telpro")
"""The seed's apps in the order in which they are flipped; further apps follow in the order declared."""

APP = "apps.<app>."
"""How the key of a variable begins that each app has for itself."""

Turns = Literal["parallel", "rolling", "by role"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A step variable. `values` empty means a count (0, 1, 2, …).

    `roles` says whose settings carry it; empty means every host; for an app's variable it is the app's hosts.
    `uses` is the server that an app must use to have the variable. `turns` is how a move's hosts follow each other:
    all at once; one after another, the first as the canary; or role after role as in `roles`, for back in reverse.
    """

    key: str
    values: tuple[str, ...]
    roles: tuple[str, ...] = ()
    uses: str = ""
    turns: Turns = "parallel"

    @property
    def initial(self) -> str:
        """The value of a deployment that has not taken the step."""
        return self.values[0] if self.values else "0"

    def rank(self, value: str) -> int:
        """Position of `value` among the values, 0 the weakest; `ValueError` for a value that it has not."""
        return self.values.index(value) if self.values else int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A value beside the steps. `step` is the variable that it changes with; "" means that it is free.

    `text` is its name in a host's settings, where that differs. `roles` and `uses` as in `Variable`; the role `app`
    is any app's.
    """

    key: str
    initial: str
    step: str = ""
    text: str = ""
    roles: tuple[str, ...] = ()
    uses: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """From `at` on, the row's variable needs `key` to stand at `least` or above, `because` of the servers.

    A `key` of apps means every app. `{app}` in `because` is the app that it is about.
    """

    at: str
    key: str
    least: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The row is taken back only while `key` stands at `most` or below, `because` of the servers."""

    key: str
    most: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step: a variable, the value that completes it, and what must hold for it to stand there."""

    key: str
    target: str
    does: str
    needs: tuple[Need, ...] = ()
    limits: tuple[Limit, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A row for one variable of a real inventory. `lower` is the value to which taking it back leads."""

    track: str
    number: int
    row: Row
    key: str
    lower: str

    def done(self, settings: Mapping[str, str]) -> bool:
        """Whether the variable stands at the row's target or above."""
        return rank(self.key, settings[self.key]) >= rank(self.key, self.row.target)


VARIABLES = {
    variable.key: variable
    for variable in (
        Variable(key=PREPARED, values=OFF_ON, roles=SERVER_ROLES),
        Variable(key=GENERATION, values=()),
        Variable(key="POSTGRES_TLS_ENABLED", values=OFF_ON, roles=("postgres",)),
        Variable(key="PGBOUNCER_SERVER_TLS_SSLMODE", values=SSLMODES, roles=("pgbouncer",)),
        Variable(
            key="PGBOUNCER_CLIENT_TLS_SSLMODE", values=("disable", "allow", "prefer", "require"), roles=("pgbouncer",)
        ),
        Variable(key="apps.<app>.DATABASE_SSL_MODE", values=SSLMODES, uses="postgres", turns="rolling"),
        Variable(key="POSTGRES_FORCE_SSL", values=OFF_ON, roles=("postgres",)),
        Variable(key="REDIS_TLS_ENABLED", values=FALSE_TRUE, roles=("redis", "otel"), turns="by role"),
        Variable(key="apps.<app>.REDIS_TLS_ENABLED", values=FALSE_TRUE, uses="redis", turns="rolling"),
        Variable(key="REDIS_FORCE_TLS", values=FALSE_TRUE, roles=("redis",)),
    )
}

ATTRIBUTES = {
    attribute.key: attribute
    for attribute in (
        Attribute(key="REDIS_TLS_PORT", initial="6380", step="REDIS_TLS_ENABLED", roles=("redis", "otel", "app")),
        Attribute(
            key="apps.<app>.DATABASE_SSL_CA_FILE", initial=CA_FILE, step="apps.<app>.DATABASE_SSL_MODE", uses="postgres"
        ),
        Attribute(
            key="apps.<app>.REDIS_TLS_CA_FILE", initial=CA_FILE, step="apps.<app>.REDIS_TLS_ENABLED", uses="redis"
        ),
        Attribute(key="QUIET_MINUTES", initial="60", roles=SERVER_ROLES),
        Attribute(key="DRAIN_STRAGGLERS", initial="off", roles=SERVER_ROLES),
        Attribute(key="apps.<app>.acceptRestart", initial="false", text="apps.<app>.ACCEPT_RESTART"),
        Attribute(key="apps.<app>.drainSeconds", initial="30", text="apps.<app>.DRAIN_SECONDS"),
        Attribute(key="apps.<app>.healthCommand", initial="", text="apps.<app>.HEALTH_COMMAND"),
    )
}

ENTRIES: tuple[Variable | Attribute, ...] = (*VARIABLES.values(), *ATTRIBUTES.values())

_SHARED = (
    Row(
        key=PREPARED,
        target="on",
        does="gives the servers' containers the mounts, the user and the ports that later steps need",
        limits=(
            Limit(
                key=GENERATION,
                most="0",
                because="the containers would lose the place from which they read certificates",
            ),
        ),
    ),
    Row(
        key=GENERATION,
        target="1",
        does="issues the CA and the server certificate, writes the three secrets; hosts decode them",
    ),
)

POSTGRES = (
    *_SHARED,
    Row(
        key="POSTGRES_TLS_ENABLED",
        target="on",
        does="Postgres offers TLS by reload; plaintext still works",
        needs=(Need(at="on", key=GENERATION, least="1", because="Postgres would have no certificate to serve"),),
    ),
    Row(
        key="PGBOUNCER_SERVER_TLS_SSLMODE",
        target="verify-ca",
        does="PgBouncer → Postgres uses TLS and checks the certificate",
        needs=(
            Need(
                at="require",
                key="POSTGRES_TLS_ENABLED",
                least="on",
                because="PgBouncer would find no TLS at Postgres and every login would fail",
            ),
        ),
    ),
    Row(
        key="PGBOUNCER_CLIENT_TLS_SSLMODE",
        target="allow",
        does="PgBouncer offers TLS to clients; plaintext still works",
        needs=(Need(at="allow", key=GENERATION, least="1", because="PgBouncer would have no certificate to serve"),),
    ),
    Row(
        key="apps.<app>.DATABASE_SSL_MODE",
        target="verify-full",
        does="the app → PgBouncer uses TLS and checks certificate and name; one app a deploy",
        needs=(
            Need(
                at="require",
                key="PGBOUNCER_CLIENT_TLS_SSLMODE",
                least="allow",
                because="{app} would find no TLS at PgBouncer and every connection would fail",
            ),
        ),
    ),
    Row(
        key="PGBOUNCER_CLIENT_TLS_SSLMODE",
        target="require",
        does="PgBouncer refuses plaintext clients",
        needs=(
            Need(
                at="require",
                key="apps.<app>.DATABASE_SSL_MODE",
                least="prefer",
                because="PgBouncer would refuse {app}, which connects in plaintext",
            ),
        ),
    ),
    Row(
        key="POSTGRES_FORCE_SSL",
        target="on",
        does="pg_hba.conf becomes hostssl-only",
        needs=(
            Need(at="on", key="POSTGRES_TLS_ENABLED", least="on", because="Postgres would refuse every connection"),
            Need(
                at="on",
                key="PGBOUNCER_SERVER_TLS_SSLMODE",
                least="prefer",
                because="Postgres would refuse PgBouncer, which connects in plaintext",
            ),
        ),
        optional=True,
    ),
)

REDIS = (
    *_SHARED,
    Row(
        key="REDIS_TLS_ENABLED",
        target="true",
        does="Redis listens with TLS on REDIS_TLS_PORT too, the collector uses it; plaintext still works",
        needs=(Need(at="true", key=GENERATION, least="1", because="Redis would have no certificate to serve"),),
    ),
    Row(
        key="apps.<app>.REDIS_TLS_ENABLED",
        target="true",
        does="the app → Redis uses TLS and checks the certificate; one app a deploy",
        needs=(
            Need(
                at="true",
                key="REDIS_TLS_ENABLED",
                least="true",
                because="{app} would find no TLS listener at Redis and every connection would fail",
            ),
        ),
    ),
    Row(
        key="REDIS_FORCE_TLS",
        target="true",
        does="Redis closes its plaintext listener",
        needs=(
            Need(at="true", key="REDIS_TLS_ENABLED", least="true", because="Redis would have no listener left"),
            Need(
                at="true",
                key="apps.<app>.REDIS_TLS_ENABLED",
                least="true",
                because="{app} would find no plaintext listener at Redis and every connection would fail",
            ),
        ),
    ),
)

TRACKS: dict[str, tuple[Row, ...]] = {"postgres": POSTGRES, "redis": REDIS}

ROWS: tuple[Row, ...] = tuple(dict.fromkeys((*POSTGRES, *REDIS)))
"""Every row once, in the order in which the whole way is gone."""


def generic(key: str) -> str:
    """The table's key for a config key: `apps.web.REDIS_TLS_ENABLED` → `apps.<app>.REDIS_TLS_ENABLED`."""
    return APP + key.rsplit(".", 1)[1] if key.startswith("apps.") else key


def app_of(key: str) -> str:
    """The app whose variable or attribute it is, "" for any other."""
    return key.split(".")[1] if key.startswith("apps.") else ""


def for_app(key: str, app: str) -> str:
    """The inverse of `generic`; a key that is not an app's stays."""
    return key.replace("<app>", app)


def variable_of(key: str) -> Variable:
    """The variable behind a config key; `KeyError` for any other key."""
    return VARIABLES[generic(key)]


def attribute_of(key: str) -> Attribute:
    """The attribute behind a config key; `KeyError` for any other key."""
    return ATTRIBUTES[generic(key)]


def rank(key: str, value: str) -> int:
    """The rank of a config key's value, 0 the weakest."""
    return variable_of(key).rank(value)


def keys_of(key: str, settings: Iterable[str]) -> tuple[str, ...]:
    """The config keys that a table's key stands for among `settings`, in their order."""
    return tuple(k for k in settings if generic(k) == key) if key.startswith(APP) else (key,)


def initial_settings(apps: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Every variable at its initial value, in the table's order. `apps` maps each app to the servers that it uses."""
    return {key: variable_of(key).initial for key in _expanded(VARIABLES.values(), apps)}


def initial_attributes(apps: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Every attribute at its default, in the table's order."""
    return {key: attribute_of(key).initial for key in _expanded(ATTRIBUTES.values(), apps)}


def _expanded(entries: Iterable[Variable | Attribute], apps: Mapping[str, Collection[str]]) -> Iterable[str]:
    for entry in entries:
        if not entry.key.startswith(APP):
            yield entry.key
            continue
        for app, uses in apps.items():
            if not entry.uses or entry.uses in uses:
                yield for_app(entry.key, app)


def stages(track: str, settings: Mapping[str, str]) -> tuple[Stage, ...]:
    """The track's rows in order, those of apps once an app. `settings` tells the inventory by its keys."""
    found = []
    for number, row in enumerate(TRACKS[track]):
        lower = next(
            (r.target for r in reversed(TRACKS[track][:number]) if r.key == row.key), VARIABLES[row.key].initial
        )
        found += [
            Stage(track=track, number=number, row=row, key=key, lower=lower) for key in keys_of(row.key, settings)
        ]
    return tuple(found)


def length(track: str) -> int:
    """The number of the track's last row."""
    return len(TRACKS[track]) - 1
