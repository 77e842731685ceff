"""A host's record against what runs there: files, servers, the collector, apps. Pure.

`update.sh --restart-only` renders the files again, has every server read them, and puts apps' env files right; where
that can't help, the command that does is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from operate.evidence import (
    CLIENT_LEG,
    COLLECTOR,
    FILES,
    POSTGRES,
    REDIS,
    SERVER_LEG,
    Seen,
    collector_sessions,
    hop_of,
)
from operate.served import RUNNING, App, Certificate, Client, Collector, HostRecord, HostReport, Server
from rollout.steps import GENERATION, app_of, variable_of

Line = tuple[str, str, str, str, str, str]
"""Hop, key, declared, served, why, reconcile."""

_HOP = {"postgres": POSTGRES, "pgbouncer": CLIENT_LEG, "redis": REDIS}
_COMMAND_LINE = "command line"


_HERE = ("pulumi ", "python -m operate ", "see hosts.")


def done_here(command: str) -> bool:
    """Whether what mends is done in the project's folder; else on the host."""
    return command.startswith(_HERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The commands of one host: `mend` is `update.sh --restart-only`; its servers are compose's in `directory`, by
    `services` where they have names of their own."""

    mend: str
    stack: str
    directory: str
    services: Mapping[str, str]

    def recreate(self, role: str) -> str:
        """Makes a server's container anew where its compose files say something else by now."""
        return f"cd {self.directory} && docker compose up --detach {self.services.get(role, f'voiceai-{role}')}"

    def take(self, key: str, value: str) -> str:
        """Declares it."""
        return f"python -m operate next --stack {self.stack} --to {key}={value}"


def of_running(report: HostReport, readings: Sequence[Seen], ways: Ways, *, servers: bool) -> Iterator[Line]:
    """All of the host; without `servers` these do as the site says."""
    record = report.record
    if record is None:
        return
    yield from _files(report, record, readings, ways)
    if servers:
        for server in report.servers.values():
            yield from _server(server, report, record, readings, ways)
    if report.collector is not None:
        yield from _collector(report.collector, record, readings, ways)
    for app in report.apps:
        yield from _app(app, record, readings, ways)


def _files(report: HostReport, record: HostRecord, readings: Sequence[Seen], ways: Ways) -> Iterator[Line]:
    for one in readings:
        if one.key == GENERATION and one.known and one.value != record.settings[GENERATION]:
            yield FILES, GENERATION, record.settings[GENERATION], one.value, one.why, ways.mend
            return
    if record.settings.get(GENERATION, "0") == "0" or report.files is None:
        return
    for name, found, wanted in (
        ("ca.crt", report.files.ca, record.ca_sha256),
        ("server.crt", report.files.server, record.certificate_sha256),
    ):
        if found is not None and wanted and found.sha256 != wanted:
            why = f"{name} on disk is not the one that was verified: a start would serve it"
            yield FILES, name, f"sha256 {wanted[:16]}…", certificate_words(found), why, ways.mend


def _server(
    server: Server, report: HostReport, record: HostRecord, readings: Sequence[Seen], ways: Ways
) -> Iterator[Line]:
    hop = _HOP.get(server.role, server.role)
    if not server.running:
        yield hop, server.container, RUNNING, server.state, "it does not run", ways.mend
        return
    if server.error:
        look = f"docker logs --tail 50 {server.container}"
        yield hop, server.container, "answers", "no answer", server.error, look
    cause, reconcile = wins(server, ways)
    found = [
        (one.hop, one.key, record.settings[one.key], one.value, _because(one.why, cause), _way(one, reconcile, ways))
        for one in readings
        if one.hop in (hop, SERVER_LEG if server.role == "pgbouncer" else hop)
        if one.known and one.value != record.settings[one.key]
    ]
    found += _certificate(server, report, record, hop, (cause, reconcile), ways)
    if cause and not found:
        names = ", ".join(sorted({*server.over, *by_command(server)}))
        found.append((hop, names, f"by {server.rendered}", "by something else", cause, reconcile))
    yield from found
    yield from _beside(server, hop, ways)
    yield from _next_start(server, record, hop, ways)
    yield from _left_in_plaintext(server, report, record, hop)


def _way(one: Seen, reconcile: str, ways: Ways) -> str:
    # A pg_hba.conf that the site closed itself is not ours to open.
    return ways.take(one.key, one.value) if (one.key, one.value) == ("POSTGRES_FORCE_SSL", "on") else reconcile


def by_command(server: Server) -> tuple[str, ...]:
    """The settings that stand on its command line."""
    return tuple(name for name, source in server.sources.items() if source == _COMMAND_LINE)


def wins(server: Server, ways: Ways) -> tuple[str, str]:
    """What wins over the rendered file ("" for nothing), and the command that ends it."""
    names = ", ".join(sorted(by_command(server)))
    if names:
        return (
            f"{names} stands on the command line of {server.container}, which wins over its files: take it out of the "
            "compose file first; the command restarts the server, so in a maintenance window",
            ways.recreate(server.role),
        )
    if server.over:
        resets = " ".join(f"-c 'ALTER SYSTEM RESET {name}'" for name in sorted(server.over))
        return (
            f"{', '.join(sorted(server.over))} was set by ALTER SYSTEM, which wins over the files",
            f"docker exec -e PGHOST= {server.container} psql -U voiceai {resets} -c 'SELECT pg_reload_conf()'",
        )
    return "", ways.mend


def _because(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _certificate(
    server: Server, report: HostReport, record: HostRecord, hop: str, way: tuple[str, str], ways: Ways
) -> Iterator[Line]:
    if server.served is None or record.settings.get(GENERATION, "0") == "0":
        return
    served = server.served.certificate
    if record.certificate_sha256 and served.sha256 != record.certificate_sha256:
        on_disk = report.files.server if report.files else None
        own = on_disk is not None and on_disk.sha256 == record.certificate_sha256
        declared = certificate_words(on_disk) if on_disk and own else f"sha256 {record.certificate_sha256[:16]}…"
        why = _because(f"{server.container} serves another certificate than the one that was verified", way[0])
        yield hop, "certificate", declared, certificate_words(served), why, way[1]
    elif not server.served.verified:
        following = str(int(record.settings[GENERATION]) + 1)
        why = f"a client that verifies refuses {certificate_words(served)}"
        yield hop, "certificate", "verifies", server.served.verify, why, ways.take(GENERATION, following)


def certificate_words(certificate: Certificate) -> str:
    """`serial 0A1B2C3D…, until 2027-01-31`."""
    ends = f"{certificate.not_after:%Y-%m-%d}" if certificate.not_after else "an unknown day"
    return f"serial {short(certificate.serial)}, until {ends}"


def short(serial: str) -> str:
    """A serial's beginning, which is random enough to tell certificates apart."""
    return serial if len(serial) <= 9 else f"{serial[:8]}…"


def _beside(server: Server, hop: str, ways: Ways) -> Iterator[Line]:
    """What stands beside the variables."""
    asks = server.facts.get("tls-auth-clients", "no")
    if server.served and asks != "no":
        why = "clients that have only the CA are dropped"
        yield hop, "tls-auth-clients", "no", asks, why, ways.mend
    for problem in server.problems:
        yield (
            hop,
            "configuration",
            "read",
            "refused",
            f"{server.container} runs on an older configuration: {problem}",
            f"mend that line, then {ways.mend}",
        )


def _next_start(server: Server, record: HostRecord, hop: str, ways: Ways) -> Iterator[Line]:
    """What the next start would make of it."""
    if not server.as_verified:
        would = _would(server)
        why = _because("it was edited, and a start reads it: what runs now would not survive a restart", would)
        yield hop, server.rendered, "as verified", "edited", why, ways.mend
        return
    if server.start is None:
        return
    for problem in server.start.problems:
        yield hop, f"start of {server.container}", "serves every hop", "does not", problem, ways.mend
    if server.role == "redis" and server.start.reads:
        yield from _redis_ports(server, record, hop, ways)


def _would(server: Server) -> str:
    if server.start is None:
        return ""
    reads = ", ".join(f"{name} {value}" for name, value in sorted(server.start.reads.items()))
    return _because(*server.start.problems, f"a start reads {reads}" if reads else "")


def _redis_ports(server: Server, record: HostRecord, hop: str, ways: Ways) -> Iterator[Line]:
    """The file is as verified, and a start reads something else: it stands on the command line, which comes last."""
    reads = server.start.reads if server.start else {}
    tls = record.redis_tls_port if record.settings.get("REDIS_TLS_ENABLED") == "true" else "0"
    closed = record.settings.get("REDIS_FORCE_TLS") == "true"
    for name, wanted, differs in (
        ("tls-port", tls, reads.get("tls-port", tls) != tls),
        ("port", "0" if closed else "open", (reads.get("port", "0" if closed else "") == "0") is not closed),
    ):
        if differs:
            why = (
                f"a start of {server.container} would have it so: its command line wins over {server.rendered}; take "
                "it out of the compose file first; the command restarts Redis, so in a maintenance window"
            )
            yield hop, f"{name} of a start", wanted, reads[name], why, ways.recreate(server.role)


def _left_in_plaintext(server: Server, report: HostReport, record: HostRecord, hop: str) -> Iterator[Line]:
    """Sessions from before a server was closed to plaintext live on."""
    closes = {
        "postgres": record.settings.get("POSTGRES_FORCE_SSL") == "on",
        "pgbouncer": record.settings.get("PGBOUNCER_CLIENT_TLS_SSLMODE") == "require",
        "redis": record.settings.get("REDIS_FORCE_TLS") == "true",
    }
    # The collector has a line of its own.
    own = collector_sessions(report.collector, server) if report.collector else ()
    left = [client for client in server.clients if not client.tls and client not in own]
    if left and closes.get(server.role, False):
        count = sum(client.sessions for client in left)
        who = "; ".join(client_words(client) for client in left[:3]) + ("; …" if len(left) > 3 else "")
        yield (
            hop,
            "sessions",
            "in TLS",
            f"{count} in plaintext",
            who,
            "restart these clients: they come back in TLS",
        )


def client_words(client: Client) -> str:
    """`user voiceai, application psql, from 10.0.1.20 (api or web)`."""
    apps = " or ".join(client.apps) or "no declared app"
    named = f", application {client.application}" if client.application else ""
    return f"user {client.user or 'none'}{named}, from {client.address} ({apps})"


def _collector(collector: Collector, record: HostRecord, readings: Sequence[Seen], ways: Ways) -> Iterator[Line]:
    if not collector.running:
        yield COLLECTOR, collector.container, RUNNING, collector.state, "it does not run", ways.mend
        return
    differs = [one for one in readings if one.hop == COLLECTOR and one.known and one.value != record.settings[one.key]]
    for one in differs:
        yield COLLECTOR, one.key, record.settings[one.key], one.value, one.why, ways.mend
    if not collector.as_verified:
        why = "it was edited: the next container would be made with it"
        yield COLLECTOR, "its env file", "as verified", "edited", why, ways.mend
    elif not collector.as_rendered and not differs:
        yield COLLECTOR, collector.container, "as its env file", "older", "it was made with other settings", ways.mend
    if collector.scrapes is False:
        look = f"docker logs --tail 50 {collector.container}"
        yield COLLECTOR, "scrapes", "yes", "no", collector.why or "it does not scrape Redis", look


def _app(app: App, record: HostRecord, readings: Sequence[Seen], ways: Ways) -> Iterator[Line]:
    own = [key for key in record.settings if app_of(key) == app.name]
    for one in readings:
        if one.key in own and one.known and one.value != record.settings[one.key]:
            yield one.hop, one.key, record.settings[one.key], one.value, one.why, _app_mend(app, one, ways)
    for key in own:
        yield from _env_file(app, key, record, ways)


def _app_mend(app: App, one: Seen, ways: Ways) -> str:
    """Where its containers have the right mode and its sessions are otherwise, the app does not do as it is told."""
    values, name = variable_of(one.key).values, one.key.rpartition(".")[2]
    if one.by != "wire" or one.value in {replica.modes.get(name, "") or values[0] for replica in app.replicas}:
        return ways.mend
    sessions = app.sessions.get(variable_of(one.key).uses)
    if sessions and sessions.url_sslmode:
        return f"take sslmode={sessions.url_sslmode} out of its database URL, then restart {app.name}"
    return f"docker logs --tail 50 {app.replicas[0].container}"


def _env_file(app: App, key: str, record: HostRecord, ways: Ways) -> Iterator[Line]:
    """Its env file is what its next container is made with."""
    file, name = app.env_file, key.rpartition(".")[2]
    if file is None or not file.readable:
        return
    found = file.modes.get(name, "") or variable_of(key).values[0]
    if found != record.settings[key]:
        why = f"the next container of {app.name} is made with it: what runs now would not survive a restart"
        yield hop_of(key), f"{name} in {file.path}", record.settings[key], found, why, ways.mend
