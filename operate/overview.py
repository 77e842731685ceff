"""What `operate status` shows, as data: hops, their clients, and what there is to say of hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from operate.differences import Declaration
from operate.evidence import (
    CLIENT_LEG,
    COLLECTOR,
    FILES,
    NEVER,
    POSTGRES,
    REDIS,
    SERVER_LEG,
    Seen,
    collector_sessions,
    hop_of,
    hosts_of,
    not_seen,
)
from operate.served import Client, Handshake, HostReport, Server, Verdict
from rollout.steps import SERVER_ROLES, app_of

_ROLE = {POSTGRES: "postgres", CLIENT_LEG: "pgbouncer", REDIS: "redis"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A step variable of a hop: the file's value, the confirmed one ("" where that is not known), what was seen."""

    key: str
    declared: str
    confirmed: str
    seen: Seen

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data; what is not known is null."""
        return {
            "key": self.key,
            "declared": self.declared,
            "confirmed": self.confirmed or None,
            "served": self.seen.value or None,
            "by": self.seen.by,
            "why": self.seen.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One hop as one host has it. `tls` and `plaintext` count the sessions, None where nobody could count them.

    `accepts` is how a login in plaintext was answered, "" where the hop's own host is no server.
    """

    hop: str
    host: str
    variables: tuple[Variable, ...]
    accepts: Verdict | str = ""
    served: Handshake | None = None
    days_left: int | None = None
    tls: int | None = None
    plaintext: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {
            "hop": self.hop,
            "host": self.host,
            "variables": [one.to_plain() for one in self.variables],
            "plaintext": self.accepts or None,
            "sessions": None if self.tls is None else {"tls": self.tls, "plaintext": self.plaintext},
            "handshake": _handshake_plain(self.served, self.days_left) if self.served else None,
        }


def _handshake_plain(served: Handshake, days_left: int | None) -> dict[str, Any]:
    certificate = served.certificate
    return {
        "protocol": served.protocol,
        "cipher": served.cipher,
        "verify": served.verify,
        "serial": certificate.serial,
        "notAfter": certificate.not_after.isoformat() if certificate.not_after else None,
        "daysLeft": days_left,
        "sha256": certificate.sha256,
        "names": list(certificate.names),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Sessions of one server that look the same. `who` is an app, several of `apps` that can't be told apart, or what
    there is to say of a client of none."""

    server: str
    host: str
    who: str
    apps: tuple[str, ...]
    address: str
    user: str
    application: str
    tls: int
    plaintext: int

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {
            "server": self.server,
            "host": self.host,
            "who": self.who,
            "apps": list(self.apps),
            "address": self.address,
            "user": self.user,
            "application": self.application,
            "sessions": {"tls": self.tls, "plaintext": self.plaintext},
        }


def hops(
    declaration: Declaration,
    reports: Mapping[str, HostReport],
    readings: Iterable[Seen],
    hosts: Sequence[str],
    unasked: Mapping[str, str],
    now: datetime,
) -> tuple[Hop, ...]:
    """Every hop of these hosts as the file has them, server by server, each with its apps."""
    seen = {(one.host, one.hop, one.key): one for one in readings}
    confirmed = declaration.confirmed
    found = []
    for hop, keys in _hops(declaration):
        for host in dict.fromkeys(host for key in keys for host in _on(hop, key, declaration)):
            if host not in hosts:
                continue
            variables = tuple(
                Variable(
                    key=key,
                    declared=declaration.file.settings[key],
                    confirmed=confirmed.settings.get(key, "") if confirmed else "",
                    seen=seen.get((host, hop, key)) or not_seen(host, hop, key, unasked),
                )
                for key in keys
            )
            found.append(_hop(hop, host, variables, reports.get(host), now))
    return tuple(found)


def _hops(declaration: Declaration) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each hop with its variables: what all come through first, then each app's."""
    keys = [key for key in declaration.file.settings if hop_of(key) != FILES]
    for server, first in (("pgbouncer", (POSTGRES, SERVER_LEG, CLIENT_LEG)), ("redis", (REDIS, COLLECTOR))):
        own = tuple(hop_of(key) for key in keys if app_of(key) and hop_of(key).endswith(server))
        for hop in dict.fromkeys((*first, *own)):
            found = ("REDIS_TLS_ENABLED",) if hop == COLLECTOR else tuple(key for key in keys if hop_of(key) == hop)
            yield hop, found


def _on(hop: str, key: str, declaration: Declaration) -> Iterator[str]:
    """The hosts that have the hop: REDIS_TLS_ENABLED is Redis's and the collector's."""
    for host in hosts_of(key, declaration.file):
        roles = declaration.file.hosts[host].roles
        if not (hop == COLLECTOR and "otel" not in roles) and not (hop == REDIS and "redis" not in roles):
            yield host


def _hop(hop: str, host: str, variables: tuple[Variable, ...], report: HostReport | None, now: datetime) -> Hop:
    bare = Hop(hop=hop, host=host, variables=variables)
    if report is None:
        return bare
    if app_of(variables[0].key):
        tls, plaintext = _app_sessions(report, app_of(variables[0].key), hop)
        return replace(bare, tls=tls, plaintext=plaintext)
    redis, pgbouncer = report.servers.get("redis"), report.servers.get("pgbouncer")
    if hop == COLLECTOR:
        if report.collector is None or redis is None:
            return bare
        tls, plaintext = _count(collector_sessions(report.collector, redis))
        return replace(bare, tls=tls, plaintext=plaintext)
    if hop == SERVER_LEG:
        leg = pgbouncer.leg if pgbouncer else None
        return replace(bare, tls=leg.tls, plaintext=leg.plaintext) if leg else bare
    server = report.servers.get(_ROLE[hop])
    if server is None or not server.running:
        return bare
    tls, plaintext = (None, None) if server.error else _count(server.clients)
    return replace(
        bare,
        accepts=server.plaintext.verdict if server.plaintext else "unknown",
        served=server.served,
        days_left=server.served.certificate.days_left(now) if server.served else None,
        tls=tls,
        plaintext=plaintext,
    )


def _count(clients: Iterable[Client]) -> tuple[int, int]:
    ways = [(client.tls, client.sessions) for client in clients]
    return sum(count for tls, count in ways if tls), sum(count for tls, count in ways if not tls)


def _app_sessions(report: HostReport, app: str, hop: str) -> tuple[int | None, int | None]:
    track = "redis" if hop.endswith("redis") else "postgres"
    for one in report.apps:
        if one.name == app and track in one.sessions:
            return one.sessions[track].tls, one.sessions[track].plaintext
    return None, None


def clients(reports: Mapping[str, HostReport]) -> tuple[Clients, ...]:
    """Who is connected to each server; sessions that look the same are one line, in plaintext ones first."""
    found = []
    for role in SERVER_ROLES:
        for host, report in reports.items():
            if role in report.servers:
                found += _clients(host, report.servers[role], report)
    return tuple(found)


def _clients(host: str, server: Server, report: HostReport) -> list[Clients]:
    groups: dict[tuple[str, str, str, tuple[str, ...]], list[Client]] = {}
    for client in server.clients:
        groups.setdefault((client.address, client.user, client.application, client.apps), []).append(client)
    made = []
    for (address, user, application, apps), same in groups.items():
        tls, plaintext = _count(same)
        made.append(
            Clients(
                server=server.role,
                host=host,
                who=_who(same[0], server, report),
                apps=apps,
                address=address,
                user=user,
                application=application,
                tls=tls,
                plaintext=plaintext,
            )
        )
    return sorted(made, key=lambda one: (one.plaintext == 0, one.who, one.address, one.user, one.application))


def _who(client: Client, server: Server, report: HostReport) -> str:
    if client.apps:
        return " or ".join(client.apps) + (" (can't be told apart)" if len(client.apps) > 1 else "")
    if server.role == "redis" and report.collector and client.address == report.collector.address:
        return "the collector"
    # Its leg is among Postgres's clients, and Postgres knows it by no name of its own.
    return "PgBouncer, or no declared app" if server.role == "postgres" else "no declared app"


def notes(reports: Mapping[str, HostReport]) -> tuple[tuple[str, str], ...]:
    """What else there is to say of a host that did answer."""
    return tuple((host, text) for host, report in reports.items() for text in _notes(report))


def _notes(report: HostReport) -> Iterator[str]:
    if report.under_way:
        yield "an update is under way there: what is shown is between two states, and nothing of it is judged"
    if report.record is None:
        yield f"{NEVER}: it has not taken a step"
    for app in report.apps:
        if app.problem:
            yield f"{app.name}: {app.problem}"
        stopped = [f"{one.service} is {one.state}" for one in app.replicas if not one.running]
        if stopped:
            yield f"{app.name}: {', '.join(stopped)}"
