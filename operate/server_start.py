"""Judges what a start of Postgres, PgBouncer or Redis would serve against what was verified last. Pure.

The verified settings say what each server takes; the report says what a start would, as it was proved on the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from operate.hops import NOTHING, Hop, Offer, broken, verifying
from operate.outlook import Finding, Outlook, Weight, after_a_reboot
from operate.running import Ways, wins
from operate.served import HostRecord, HostReport, Server, Start
from rollout.steps import GENERATION, PREPARED

CERTIFICATE, KEY = "/etc/ssl/internal/server.crt", "/etc/ssl/internal/server.key"
COMMAND_LINE = "command line"
"""Among a start's reads: Redis's options about listeners that stand there."""

_REDIS_PORT = "6379"
_ACCEPTED = {"postgres": ("t", "f"), "pgbouncer": ("t", "f"), "redis": ("PONG",)}


def server_outlook(host: str, report: HostReport, server: Server, every: tuple[Hop, ...], ways: Ways) -> Outlook:
    """A server's start. `every` are the hops of the state, `ways` the commands of its host."""
    record, start = report.record, server.start
    if record is None:  # a report without a record has no servers
        raise AssertionError(server.role)
    findings = [*_findings(report, record, server, every, ways)]
    return Outlook(
        host=host,
        container=server.container,
        runs=server.role,
        proof=start.proof if start else "",
        serves=_words(server, start, _offer(server, record)),
        findings=tuple(findings),
    )


def wanted(settings: Mapping[str, str], role: str) -> Offer:
    """What the server of this role takes by these settings."""
    match role:
        case "postgres":
            return Offer(
                tls=settings.get("POSTGRES_TLS_ENABLED") == "on", plaintext=settings.get("POSTGRES_FORCE_SSL") != "on"
            )
        case "pgbouncer":
            mode = settings.get("PGBOUNCER_CLIENT_TLS_SSLMODE", "disable")
            return Offer(tls=mode != "disable", plaintext=mode != "require")
        case _:
            return Offer(
                tls=settings.get("REDIS_TLS_ENABLED") == "true", plaintext=settings.get("REDIS_FORCE_TLS") != "true"
            )


def _offer(server: Server, record: HostRecord) -> Offer:
    """What the start that was proved would take. None of it where it would not start."""
    start = server.start
    if start is None or start.proof in ("files", "none"):
        return Offer(tls=None, plaintext=None)
    match server.role:
        case "postgres":
            if "ssl" not in start.reads or server.problems:
                return NOTHING
            rules = server.plaintext_rules
            return Offer(tls=start.reads["ssl"] == "on", plaintext=None if rules is None else rules > 0)
        case "pgbouncer":
            return Offer(tls=_answered(start, "tls", "pgbouncer"), plaintext=_answered(start, "plain", "pgbouncer"))
        case _:
            tls, plain = start.reads.get("tls-port", "0"), start.reads.get("port", "")
            return Offer(
                tls=_answered(start, "tls", "redis") and tls == record.redis_tls_port,
                plaintext=_answered(start, "plain", "redis") and plain == _REDIS_PORT,
            )


def _answered(start: Start, label: str, role: str) -> bool:
    return start.dials.get(label, "").strip().startswith(_ACCEPTED[role])


def _words(server: Server, start: Start | None, offer: Offer) -> str:
    if not server.running:
        return f"it is {server.state}"
    if start is None or start.proof == "none":
        return "not known"
    if start.proof == "files":
        return "not tried: the site's own deployment"
    ways = [word for word, taken in (("TLS", offer.tls), ("plaintext", offer.plaintext)) if taken]
    return " and ".join(ways) or "nothing"


def _findings(
    report: HostReport, record: HostRecord, server: Server, every: tuple[Hop, ...], ways: Ways
) -> Iterator[Finding]:
    if not server.running:
        yield Finding(
            weight="fails",
            tried=f"docker: {server.container} is {server.state}",
            would="it serves nobody now",
            hops=broken(every, server.role, NOTHING),
            mend=ways.mend,
        )
    elif server.start is None:
        yield Finding(
            weight="unknown",
            tried="update.sh --report --restart",
            would="its answer does not tell what a start would do",
            mend="pulumi up    (with nothing changed: it ships this version's bundle)",
        )
    else:
        yield from _of_start(report, record, server, server.start, every, ways)
    yield from after_a_reboot(server.container, server.restart_policy)


def _of_start(
    report: HostReport, record: HostRecord, server: Server, start: Start, every: tuple[Hop, ...], ways: Ways
) -> Iterator[Finding]:
    offer, want = _offer(server, record), wanted(record.settings, server.role)
    yield from _problems(record, server, start, offer, every, ways)
    if offer == NOTHING and (start.problems or server.problems):
        return
    if start.proof == "files":
        yield from _edited(record, server, start, ways)
        return
    differs = [*_differences(server, start, offer, want, every, ways)]
    if server.role == "pgbouncer":
        differs += _server_leg(record, server, start, ways)
    if server.role == "postgres" and want.tls and offer.tls:
        differs += _other_files(server, start, ways)
    yield from differs
    if not differs:
        yield from _harmless(server, ways)
    if want.tls and offer.tls is not False:
        yield from _another_certificate(report, server, ways)


def _problems(
    record: HostRecord, server: Server, start: Start, offer: Offer, every: tuple[Hop, ...], ways: Ways
) -> Iterator[Finding]:
    """What the proof found against the start itself, or against the certificate that it would serve."""
    for problem in dict.fromkeys((*start.problems, *server.problems)):
        if start.proof == "none":
            hops: tuple[Hop, ...] = ()
        elif offer == NOTHING or (server.role == "postgres" and wanted(record.settings, "postgres").tls):
            # Postgres does not start at all with files that it can't use.
            hops = broken(every, server.role, NOTHING)
        else:
            hops = verifying(every, (server.role,))
        known: Weight = "fails" if hops or offer == NOTHING else "otherwise"
        yield Finding(
            weight="unknown" if start.proof == "none" else known,
            tried=_tried(server, start),
            would=problem,
            hops=hops,
            mend=_mend_of_problem(server, problem, record, ways),
        )


def _mend_of_problem(server: Server, problem: str, record: HostRecord, ways: Ways) -> str:
    if "has expired" in problem:
        return ways.take(GENERATION, str(int(record.settings[GENERATION]) + 1))
    if "pg_hba.conf" in problem:
        return f"mend that line, then {ways.mend}"
    if server.as_verified and "does not start" in problem:
        return f"mend what it names in the site's own file, then {ways.mend}"
    return ways.mend


def _differences(
    server: Server, start: Start, offer: Offer, want: Offer, every: tuple[Hop, ...], ways: Ways
) -> Iterator[Finding]:
    """Where a start would take something else than what was verified."""
    others = [
        (way, is_, should)
        for way, is_, should in (("TLS", offer.tls, want.tls), ("plaintext", offer.plaintext, want.plaintext))
        if is_ is not None and is_ != should
    ]
    if offer == NOTHING:
        # One finding: whoever takes what there is finds neither.
        said = "".join(_said(server, start, way) for way, _, _ in others)
        lost = broken(every, server.role, offer)
        yield _difference(server, start, ways, f"it would take neither TLS nor plaintext{said}", lost)
        return
    for way, is_, _ in others:
        only = Offer(tls=is_, plaintext=None) if way == "TLS" else Offer(tls=None, plaintext=is_)
        would = (
            f"it would take {way}, which was verified to be refused"
            if is_
            else f"it would not take {way}{_said(server, start, way)}"
        )
        yield _difference(server, start, ways, would, broken(every, server.role, only))


def _difference(server: Server, start: Start, ways: Ways, would: str, hops: tuple[Hop, ...]) -> Finding:
    return Finding(
        weight="fails" if hops else "otherwise",
        tried=_tried(server, start),
        would=would + _cause(server, ways),
        hops=hops,
        mend=_wins(server, ways)[1],
    )


def _said(server: Server, start: Start, way: str) -> str:
    if server.role == "postgres":
        return f" (ssl = {start.reads.get('ssl', '')})" if way == "TLS" else " (no rule of pg_hba.conf does)"
    if server.role == "redis":
        key = "tls-port" if way == "TLS" else "port"
        return f" where clients dial it ({key} {start.reads.get(key, 'is not told')})"
    answer = start.dials.get("tls" if way == "TLS" else "plain", "").strip()
    return f"; a login is answered: {answer or 'nothing'}"


def _server_leg(record: HostRecord, server: Server, start: Start, ways: Ways) -> Iterator[Finding]:
    """Whether PgBouncer's connections to Postgres would be as verified: the login through it tells."""
    mode = record.settings.get("PGBOUNCER_SERVER_TLS_SSLMODE", "disable")
    seen = {answer.strip() for answer in start.dials.values() if answer.strip() in _ACCEPTED["pgbouncer"]}
    should = {"disable": "f", "prefer": ""}.get(mode, "t")
    if should and seen - {should}:
        way = "plaintext" if should == "t" else "TLS"
        would = f"its connections to Postgres would be in {way}, and PGBOUNCER_SERVER_TLS_SSLMODE={mode} was verified"
        yield _difference(server, start, ways, would, ())


def _other_files(server: Server, start: Start, ways: Ways) -> Iterator[Finding]:
    for key, usual in (("ssl_cert_file", CERTIFICATE), ("ssl_key_file", KEY)):
        found = start.reads.get(key, usual)
        if found != usual:
            yield _difference(server, start, ways, f"it would use {found} as its {key}, not {usual}", ())


def _edited(record: HostRecord, server: Server, start: Start, ways: Ways) -> Iterator[Finding]:
    """Of a start that was not tried: its file, which a deployment of the site's own has from PREPARED on."""
    if not server.as_verified and record.settings.get(PREPARED) == "on":
        yield _difference(server, start, ways, "a start would read a file that nobody verified", ())


def _harmless(server: Server, ways: Ways) -> Iterator[Finding]:
    """What a start reads and that changes nothing today; it will at a later step."""
    if not server.as_verified:
        yield Finding(
            weight="note",
            tried=f"{server.rendered} compared with what was verified",
            would="the file was changed by hand; a start would serve the same all the same",
            mend=ways.mend,
        )
    if _wins(server, ways)[0]:
        yield Finding(
            weight="note",
            tried=f"where {server.container} has its settings from",
            would=f"it would serve the same all the same{_cause(server, ways)}; a later step could not change it",
            mend=_wins(server, ways)[1],
        )


def _another_certificate(report: HostReport, server: Server, ways: Ways) -> Iterator[Finding]:
    lies = report.files.server if report.files else None
    if server.served and lies and server.served.certificate.sha256 != lies.sha256:
        yield Finding(
            weight="note",
            tried="the certificate that is served, against the one on disk",
            would=f"it would serve {lies.sha256[:12]}, which is on disk, in place of "
            f"{server.served.certificate.sha256[:12]}",
            mend=f"{ways.mend}    (running servers read it, none restarts)",
        )


def _tried(server: Server, start: Start) -> str:
    return {
        "postgres -C": f"postgres -C in {server.container}, with its own command line",
        "scratch process": f"a second process in {server.container}, with its files and command line",
        "files": f"the files of {server.container}",
    }.get(start.proof, f"the command line of {server.container}")


def _wins(server: Server, ways: Ways) -> tuple[str, str]:
    """What wins over the rendered file ("" for nothing), and the command that mends it."""
    options = server.start.reads.get(COMMAND_LINE, "") if server.start else ""
    if options:
        why = f"{options} stands on its command line, which wins over its files: take it out of the compose file first"
        return why, ways.recreate(server.role)
    return wins(server, ways)


def _cause(server: Server, ways: Ways) -> str:
    causes = [_wins(server, ways)[0], "" if server.as_verified else f"{server.rendered} is not as it was verified"]
    return "".join(f"; {cause}" for cause in causes if cause)
