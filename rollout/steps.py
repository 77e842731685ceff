"""The ordered table of steps: every rule about order and preconditions is a row here, not a branch elsewhere.

How to read it, with the sequence of the Postgres track as the example:

1. `CERTIFICATE_GENERATION` 0 → 1            the three secrets exist, hosts hold the files
2. `POSTGRES_TLS_ENABLED` off → on           Postgres offers TLS, plaintext still works
3. `PGBOUNCER_SERVER_TLS_SSLMODE` → verify-ca  PgBouncer → Postgres is encrypted
4. … 7. the client leg, the apps, the closing steps

* A step's **values** stand weakest first; a value's position is its rank. A step is *done* at its `target` or above.
* **Forward** (rank grows) needs every earlier step of the track to be done, optional ones left out.
* **Back** (rank shrinks) needs only that the resulting state is usable.
* A state is usable when every **Need** of every step holds: "from this rank on, that variable must be at least this".

A step with `offered=False` is known by name and place, so that numbering and help tell the whole way, and is refused
by the config parser until this version can apply it.
"""

from __future__ import annotations

from dataclasses import dataclass

SSLMODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
SWITCH = ("off", "on")
GENERATION = "CERTIFICATE_GENERATION"

SERVER_ROLES = ("postgres", "pgbouncer", "redis")
"""Roles of hosts that run a server and hold its key. Every other role is the name of an app."""

APP_ORDER = ("api", "web", "voice", "ops", "telpro")
"""The seed's apps in the order in which they are flipped; further apps follow in the order declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """From `at` on, the step's variable needs `key` to stand at `least` or above, `because` of the servers."""

    at: str
    key: str
    least: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row: a variable, its values weakest first, and what must hold before it may stand where it stands.

    `values` empty means a count (0, 1, 2, …). `roles` says whose settings carry the variable; empty means every host.
    `key` with `<app>` in it stands for one variable an app.
    """

    key: str
    values: tuple[str, ...]
    target: str
    roles: frozenset[str]
    does: str
    needs: tuple[Need, ...] = ()
    optional: bool = False
    offered: bool = True

    @property
    def initial(self) -> str:
        """The value of a deployment that has not taken the step."""
        return self.values[0] if self.values else "0"

    def rank(self, value: str) -> int:
        """Position of `value` among the step's values, 0 the weakest; `ValueError` for a value that it has not."""
        return self.values.index(value) if self.values else int(value)

    def done(self, value: str) -> bool:
        """Whether `value` is the step's target or stronger."""
        return self.rank(value) >= self.rank(self.target)


POSTGRES = (
    Step(
        key=GENERATION,
        values=(),
        target="1",
        roles=frozenset(),
        does="issues the CA and the server certificate, writes the three secrets; hosts decode them",
    ),
    Step(
        key="POSTGRES_TLS_ENABLED",
        values=SWITCH,
        target="on",
        roles=frozenset({"postgres"}),
        does="Postgres offers TLS by reload; plaintext still works",
        needs=(Need(at="on", key=GENERATION, least="1", because="Postgres would have no certificate to serve"),),
    ),
    Step(
        key="PGBOUNCER_SERVER_TLS_SSLMODE",
        values=SSLMODES,
        target="verify-ca",
        roles=frozenset({"pgbouncer"}),
        does="PgBouncer → Postgres uses TLS and checks the certificate",
        needs=(
            Need(
                at="require",
                key="POSTGRES_TLS_ENABLED",
                least="on",
                because="PgBouncer would find no TLS at Postgres and every login would fail",
            ),
            Need(at="verify-ca", key=GENERATION, least="1", because="PgBouncer would have no CA to check with"),
        ),
    ),
    Step(
        key="PGBOUNCER_CLIENT_TLS_SSLMODE",
        values=("disable", "allow", "prefer", "require"),
        target="allow",
        roles=frozenset({"pgbouncer"}),
        does="PgBouncer offers TLS to clients; plaintext still works",
        offered=False,
    ),
    Step(
        key="apps.<app>.DATABASE_SSL_MODE",
        values=SSLMODES,
        target="verify-full",
        roles=frozenset({"<app>"}),
        does="the app → PgBouncer leg, one app a deploy",
        offered=False,
    ),
    Step(
        key="PGBOUNCER_CLIENT_TLS_SSLMODE",
        values=("disable", "allow", "prefer", "require"),
        target="require",
        roles=frozenset({"pgbouncer"}),
        does="PgBouncer refuses plaintext clients",
        offered=False,
    ),
    Step(
        key="POSTGRES_FORCE_SSL",
        values=SWITCH,
        target="on",
        roles=frozenset({"postgres"}),
        does="pg_hba.conf becomes hostssl-only",
        optional=True,
        offered=False,
    ),
)

TRACKS: dict[str, tuple[Step, ...]] = {"postgres": POSTGRES}


def offered_steps() -> tuple[Step, ...]:
    """The steps that this version can apply, in order; each key once."""
    return tuple(step for steps in TRACKS.values() for step in steps if step.offered)


def initial_settings() -> dict[str, str]:
    """Every offered variable at its initial value: the deployment before its first step."""
    return {step.key: step.initial for step in offered_steps()}


def step_of(key: str) -> Step:
    """The row of an offered variable; `KeyError` for any other key."""
    for step in offered_steps():
        if step.key == key:
            return step
    raise KeyError(key)


def place_of(key: str) -> tuple[str, int, int]:
    """Track, number and length of the way for a variable: `("postgres", 2, 7)`; `KeyError` for an unknown key."""
    for track, steps in TRACKS.items():
        for number, step in enumerate(steps, start=1):
            if step.key == key:
                return track, number, len(steps)
    raise KeyError(key)
