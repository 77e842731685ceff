"""Who dials whom and how, by the settings that are in force, and which of them a server would leave without an answer.

A hop is what is declared: an app at its server, PgBouncer at Postgres, the collector at Redis. Whoever else connects is
known to no settings. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from operate.evidence import COLLECTOR, SERVER_LEG, hop_of
from operate.served import HostReport
from rollout.declared import Declared
from rollout.steps import app_of, rank, variable_of

Needs = Literal["plaintext", "tls", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """`name` is as in `operate status` (`web → pgbouncer`); `mode` the client's setting in its own words.

    `needs` is what it must be offered; `verifies` whether it checks the certificate, so that it fails on a bad one.
    """

    name: str
    app: str
    server: str
    mode: str
    needs: Needs
    verifies: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.mode})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a server takes: a TLS session, a plaintext one. None is not known."""

    tls: bool | None
    plaintext: bool | None


NOTHING = Offer(tls=False, plaintext=False)


def in_force(declared: Declared, reports: Mapping[str, HostReport]) -> dict[str, str]:
    """The step variables as hosts have verified them; as declared where no host says.

    An app's variable that its hosts have different values for is the weakest: some replica still dials so.
    """
    settings = dict(declared.settings)
    said: dict[str, list[str]] = {}
    for report in reports.values():
        for key, value in (report.record.settings if report.record else {}).items():
            if key in settings:
                said.setdefault(key, []).append(value)
    return settings | {key: min(values, key=lambda value: rank(key, value)) for key, values in said.items()}


def hops(declared: Declared, settings: Mapping[str, str]) -> tuple[Hop, ...]:
    """Every hop of this state, servers' own first."""
    return tuple(_hops(declared, settings))


def _hops(declared: Declared, settings: Mapping[str, str]) -> Iterator[Hop]:
    yield _database_hop(SERVER_LEG, "", "postgres", settings["PGBOUNCER_SERVER_TLS_SSLMODE"])
    for track in ("postgres", "redis"):
        for key in settings:
            if app_of(key) and variable_of(key).uses == track:
                yield app_hop(key, settings[key])
    if any("otel" in host.roles for host in declared.hosts.values()):
        yield _redis_hop(COLLECTOR, "", settings["REDIS_TLS_ENABLED"])


def app_hop(key: str, value: str) -> Hop:
    """An app's hop where its step variable has this value."""
    if variable_of(key).uses == "postgres":
        return _database_hop(hop_of(key), app_of(key), "pgbouncer", value)
    return _redis_hop(hop_of(key), app_of(key), value)


def _database_hop(name: str, app: str, server: str, mode: str) -> Hop:
    needs: Needs = "plaintext" if mode == "disable" else "any" if mode in ("allow", "prefer") else "tls"
    return Hop(name=name, app=app, server=server, mode=mode, needs=needs, verifies=mode.startswith("verify-"))


def _redis_hop(name: str, app: str, enabled: str) -> Hop:
    tls = enabled == "true"
    return Hop(
        name=name,
        app=app,
        server="redis",
        mode="TLS" if tls else "plaintext",
        needs="tls" if tls else "plaintext",
        verifies=tls,
    )


def broken(every: Iterable[Hop], server: str, offer: Offer) -> tuple[Hop, ...]:
    """The hops that this server would leave without an answer, and those behind them; what is not known breaks none."""
    every = tuple(every)
    without = {
        "tls": offer.tls is False,
        "plaintext": offer.plaintext is False,
        "any": offer.tls is False and offer.plaintext is False,
    }
    return behind(every, (hop for hop in every if hop.server == server and without[hop.needs]))


def verifying(every: Iterable[Hop], servers: Iterable[str]) -> tuple[Hop, ...]:
    """The hops that check the certificate of one of these servers, and those behind them."""
    every, servers = tuple(every), tuple(servers)
    return behind(every, (hop for hop in every if hop.server in servers and hop.verifies))


def behind(every: Iterable[Hop], lost: Iterable[Hop]) -> tuple[Hop, ...]:
    """`lost`, and where PgBouncer's own hop at Postgres is among them, every app's at PgBouncer."""
    every, lost = tuple(every), tuple(lost)
    if any(hop.name == SERVER_LEG for hop in lost):
        lost = (*lost, *(hop for hop in every if hop.server == "pgbouncer" and hop not in lost))
    return lost
