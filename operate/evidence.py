"""What hosts' reports show of each step variable, and where the rollout stands by that. Pure.

A value is what the wire shows: a handshake, a login in plaintext that was answered, sessions as the server counts them.
Where the wire shows nothing (an idle pool, an app's sslmode, which no server can see) it is the program's own word, and
says so (`by`). Where not even that is to be had, it is unknown, with the reason: nothing is guessed, and what is not
known counts as neither done nor undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from operate.served import App, Client, Collector, HostReport, Server
from rollout.declared import Declared
from rollout.rules import standing
from rollout.steps import GENERATION, PREPARED, TRACKS, Stage, app_of, length, rank, stages, variable_of

By = Literal["wire", "word", "disk", "record", "absent", ""]
"""What a value rests on: the wire; the program's own word; a file; the host's record; nothing runs; it is unknown."""

POSTGRES, SERVER_LEG, CLIENT_LEG = "clients → postgres", "pgbouncer → postgres", "clients → pgbouncer"
REDIS, COLLECTOR, FILES = "clients → redis", "otel → redis", "files"

NEVER = "nothing was verified on this host yet"

_HOP_OF = {
    "POSTGRES_TLS_ENABLED": POSTGRES,
    "POSTGRES_FORCE_SSL": POSTGRES,
    "PGBOUNCER_SERVER_TLS_SSLMODE": SERVER_LEG,
    "PGBOUNCER_CLIENT_TLS_SSLMODE": CLIENT_LEG,
    "REDIS_TLS_ENABLED": REDIS,
    "REDIS_FORCE_TLS": REDIS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One variable on one host's hop. `value` is "" where `by` is "absent" or ""; `why` is what stands behind it."""

    host: str
    hop: str
    key: str
    value: str
    by: By
    why: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a track stands: `least` steps are done for certain, `most` where all that is unknown were done too.

    `declared` is the same of the declaration, `of` the last step; `unknown` says what keeps the two apart.
    """

    track: str
    least: int
    most: int
    of: int
    declared: int
    unknown: tuple[Seen, ...]


def hop_of(key: str) -> str:
    """The hop that a step variable is about; an app's is `web → pgbouncer`."""
    app = app_of(key)
    if app:
        return f"{app} → {'redis' if variable_of(key).uses == 'redis' else 'pgbouncer'}"
    return _HOP_OF.get(key, FILES)


def hosts_of(key: str, declared: Declared) -> tuple[str, ...]:
    """The hosts on which a step variable means something, sorted."""
    if app_of(key):
        return declared.running(app_of(key))
    roles = set(variable_of(key).roles)
    return tuple(name for name, spec in declared.hosts.items() if not roles or roles & set(spec.roles))


def not_seen(host: str, hop: str, key: str, unasked: Mapping[str, str]) -> Seen:
    """A variable that no report shows; `unasked` maps hosts that gave no answer to the reason."""
    return Seen(host=host, hop=hop, key=key, value="", by="", why=unasked.get(host, NEVER))


def seen(host: str, report: HostReport) -> tuple[Seen, ...]:
    """What the host shows of each variable that its record has; () where it has no record."""
    return tuple(_seen(host, report))


def _seen(host: str, report: HostReport) -> Iterator[Seen]:
    if report.record is None:
        return
    apps = {app.name: app for app in report.apps}
    for key, recorded in report.record.settings.items():
        if key == PREPARED:
            yield Seen(host=host, hop=FILES, key=key, value=recorded, by="record", why="no wire shows it")
        elif key == GENERATION:
            yield _generation(host, report, recorded)
        elif app_of(key):
            if app_of(key) in apps:
                yield _of_app(host, key, apps[app_of(key)])
        else:
            role = _role_of(key)
            if role in report.servers:
                yield _of_server(host, key, report.servers[role])
            if key == "REDIS_TLS_ENABLED" and report.collector is not None:
                yield _of_collector(host, key, report.collector, report.servers.get("redis"))


def _role_of(key: str) -> str:
    return variable_of(key).roles[0]


def _generation(host: str, report: HostReport, recorded: str) -> Seen:
    # Taken back to 0 the files stay where they are: a server may have them in use.
    found = report.files.generation.partition("-")[0] if report.files else ""
    if recorded == "0":
        return Seen(host=host, hop=FILES, key=GENERATION, value="0", by="record")
    if not found:
        return Seen(host=host, hop=FILES, key=GENERATION, value="0", by="disk", why="no certificate lies on disk")
    if not found.isdigit():
        return Seen(
            host=host, hop=FILES, key=GENERATION, value="", by="", why=f"{found!r} is no generation's directory"
        )
    return Seen(host=host, hop=FILES, key=GENERATION, value=found, by="disk", why="what lies on disk")


def _of_server(host: str, key: str, server: Server) -> Seen:
    def is_(value: str, by: By, why: str = "") -> Seen:
        return Seen(host=host, hop=hop_of(key), key=key, value=value, by=by, why=why)

    if not server.running:
        return is_("", "absent", f"{server.container} is {server.state}")
    accepts = server.plaintext.verdict if server.plaintext else "unknown"
    answer = server.plaintext.answer if server.plaintext else ""
    if accepts == "unknown" and not server.served:
        return is_("", "", f"{server.container} gives no answer: {server.error or answer or 'none'}")
    initial, *_, last = variable_of(key).values
    match key:
        case "PGBOUNCER_SERVER_TLS_SSLMODE":
            return is_(*_server_leg(server))
        case "POSTGRES_TLS_ENABLED" | "REDIS_TLS_ENABLED":
            return is_(last if server.served else initial, "wire", "" if server.served else "no TLS is served")
        case _ if accepts == "unknown":
            return is_("", "", f"a login in plaintext was answered by neither yes nor no: {answer or 'no answer'}")
        case "PGBOUNCER_CLIENT_TLS_SSLMODE":
            return is_(*_client_leg(server))
        case "POSTGRES_FORCE_SSL" if accepts == "refused" and server.plaintext_rules:
            return is_(initial, "word", f"{server.plaintext_rules} rules of pg_hba.conf still take plaintext")
        case _:
            return is_(
                last if accepts == "refused" else initial,
                "wire",
                "plaintext is refused" if accepts == "refused" else "a login in plaintext is accepted",
            )


def _client_leg(server: Server) -> tuple[str, By, str]:
    accepted = server.plaintext is not None and server.plaintext.verdict == "accepted"
    if server.served is None:
        if accepted:
            return "disable", "wire", "no TLS is served"
        return "", "", "neither TLS nor plaintext is served"
    if not accepted:
        return "require", "wire", "plaintext is refused"
    said = server.facts.get("client_tls_sslmode", "")
    return said if said == "prefer" else "allow", "wire", "TLS and plaintext are both served"


def _server_leg(server: Server) -> tuple[str, By, str]:
    """Which of the verifying modes it is, PgBouncer alone knows; whether it encrypts, its sessions show."""
    said, leg = server.facts.get("server_tls_sslmode", ""), server.leg
    # PgBouncer takes `allow` for `prefer`.
    said = "prefer" if said == "allow" else said
    if said not in variable_of("PGBOUNCER_SERVER_TLS_SSLMODE").values:
        return "", "", f"PgBouncer does not say its server_tls_sslmode: {server.error or said or 'no answer'}"
    if leg is None or leg.tls + leg.plaintext == 0:
        return said, "word", "no connection to Postgres shows it"
    shows = f"{leg.tls} connections to Postgres in TLS, {leg.plaintext} in plaintext"
    encrypts = rank("PGBOUNCER_SERVER_TLS_SSLMODE", said) >= rank("PGBOUNCER_SERVER_TLS_SSLMODE", "require")
    if encrypts and leg.plaintext:
        if not leg.tls:
            return "disable", "wire", f"{shows}, while its configuration says {said}"
        return "", "", f"{shows}: some are left from before, or its configuration ({said}) was not taken"
    if said == "disable" and leg.tls:
        return "", "", f"{shows}: some are left from before, or its configuration ({said}) was not taken"
    return said, "wire", shows


def _of_collector(host: str, key: str, collector: Collector, redis: Server | None) -> Seen:
    def is_(value: str, by: By, why: str = "") -> Seen:
        return Seen(host=host, hop=COLLECTOR, key=key, value=value, by=by, why=why)

    if not collector.running:
        return is_("", "absent", f"{collector.container} is {collector.state}")
    insecure = collector.runs_with.get("REDIS_TLS_INSECURE", "")
    if insecure not in ("true", "false"):
        return is_("", "", f"{collector.container} does not say REDIS_TLS_INSECURE")
    says = "true" if insecure == "false" else "false"
    own = collector_sessions(collector, redis)
    if not own:
        return is_(says, "word", "its container's environment; Redis shows no session of it here")
    in_tls = {client.tls for client in own}
    if in_tls != {says == "true"}:
        ways = " and ".join("TLS" if way else "plaintext" for way in sorted(in_tls))
        if len(in_tls) > 1:
            return is_("", "", f"Redis has its sessions in {ways}")
        return is_("true" if True in in_tls else "false", "wire", f"Redis has its sessions in {ways}")
    return is_(says, "wire", "as Redis has its sessions")


def collector_sessions(collector: Collector, redis: Server | None) -> tuple[Client, ...]:
    """The collector's own sessions, where Redis is on its host."""
    if redis is None or redis.role != "redis" or not collector.address:
        return ()
    return tuple(client for client in redis.clients if client.address == collector.address)


def _of_app(host: str, key: str, app: App) -> Seen:
    def is_(value: str, by: By, why: str = "") -> Seen:
        return Seen(host=host, hop=hop_of(key), key=key, value=value, by=by, why=why)

    if app.problem:
        return is_("", "", app.problem)
    running = [replica for replica in app.replicas if replica.running]
    if not running:
        states = ", ".join(f"{one.service} is {one.state}" for one in app.replicas) or "it has no replica"
        return is_("", "absent", f"{app.name} does not run here: {states}")
    values, name = variable_of(key).values, key.rpartition(".")[2]
    found = {one.service: one.modes.get(name, "") or values[0] for one in running}
    odd = [f"{service} runs with {value!r}" for service, value in found.items() if value not in values]
    if odd:
        return is_("", "", f"{', '.join(odd)}, which is no value of {name}")
    value = min(found.values(), key=lambda one: rank(key, one))
    apart = (
        "; ".join(f"{service} runs with {one}" for service, one in found.items()) if len({*found.values()}) > 1 else ""
    )
    sessions = app.sessions.get(variable_of(key).uses)
    if sessions is None or sessions.tls is None or sessions.plaintext is None:
        return is_(value, "word", apart or (sessions.unknown if sessions else "") or "its sessions are not known")
    counted = f"{sessions.tls} sessions in TLS, {sessions.plaintext} in plaintext"
    if sessions.tls + sessions.plaintext == 0:
        return is_(value, "word", apart or "it has no session just now")
    if _encrypts(key, value) and sessions.plaintext:
        url = f"; its database URL says sslmode={sessions.url_sslmode}" if sessions.url_sslmode else ""
        return is_(values[0], "wire", f"{counted}, while its containers say {value}{url}")
    # What a mode verifies no server can see; that it encrypts, the sessions show.
    return is_(value, "wire", apart or counted)


def _encrypts(key: str, value: str) -> bool:
    return rank(key, value) >= rank(key, "true" if variable_of(key).uses == "redis" else "require")


def positions(declared: Declared, readings: Iterable[Seen], unasked: Mapping[str, str]) -> tuple[Position, ...]:
    """Where each track stands by what was seen. `unasked` maps hosts that gave no answer to the reason."""
    by_key: dict[str, list[Seen]] = {}
    for one in readings:
        by_key.setdefault(one.key, []).append(one)
    return tuple(_position(track, declared, by_key, unasked) for track in TRACKS)


def _position(track: str, declared: Declared, by_key: Mapping[str, list[Seen]], unasked: Mapping[str, str]) -> Position:
    least = most = length(track)
    unknown: list[Seen] = []
    for stage in stages(track, declared.settings):
        readings = [*by_key.get(stage.key, ()), *_missing(stage, declared, by_key, unasked)]
        open_ones = [one for one in readings if not one.known]
        known = [one for one in readings if one.known]
        reached = all(rank(stage.key, one.value) >= rank(stage.key, stage.row.target) for one in known)
        if hop_of(stage.key) == FILES and known:
            # What a silent host has on its disk holds nobody back: its own hops are not known either.
            open_ones = []
        if reached and not open_ones:
            continue
        least = min(least, max(stage.number - 1, 0))
        if not reached:
            most = max(stage.number - 1, 0)
            break
        unknown += open_ones
    return Position(
        track=track,
        least=least,
        most=most,
        of=length(track),
        declared=int(standing(declared.settings, track)["step"]),
        unknown=tuple(unknown),
    )


def _missing(
    stage: Stage, declared: Declared, by_key: Mapping[str, list[Seen]], unasked: Mapping[str, str]
) -> Iterator[Seen]:
    told = {one.host for one in by_key.get(stage.key, ())}
    for host in hosts_of(stage.key, declared):
        if host not in told:
            yield not_seen(host, hop_of(stage.key), stage.key, unasked)
