"""Judges what a start of an app's replicas and of the collector would come to. Pure.

Their containers keep the environment that they were made with: a restart has the same, and only one that is made anew
(by a deploy, or a change of its compose file) has what the env file says by then. So both are judged: the login that
was proved on the app's own host, and the env file against the container.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from operate.hops import Hop, app_hop, broken
from operate.outlook import Finding, Outlook, after_a_reboot
from operate.remote import UPDATE
from operate.running import Ways
from operate.served import ABSENT, App, Collector, Replica, Start
from operate.server_start import wanted
from rollout.declared import Declared
from rollout.steps import variable_of

_SERVER_OF = {"postgres": "pgbouncer", "redis": "redis"}
_VARIABLE_OF = {"postgres": "DATABASE_SSL_MODE", "redis": "REDIS_TLS_ENABLED"}


def app_outlooks(
    host: str, app: App, declared: Declared, settings: Mapping[str, str], every: tuple[Hop, ...], ways: Ways
) -> Iterator[Outlook]:
    """One outlook a replica; one for the app where its replicas are not known. `settings` are those in force."""
    own = tuple(hop for hop in every if hop.app == app.name)
    if not app.replicas:
        why = app.problem or "it has no replica"
        unknown = Finding(
            weight="unknown",
            tried="docker compose on its host",
            would=why,
            mend=f"correct it, or apps.{app.name} in the config",
        )
        yield Outlook(host=host, container=app.name, runs=app.name, proof="", serves="not known", findings=(unknown,))
        return
    contract = declared.apps.get(app.name)
    start_it = f"cd {contract.directory if contract else 'its directory'} && docker compose up --detach"
    down = all(not replica.running for replica in app.replicas)
    for replica in app.replicas:
        findings = [
            *_of_state(replica, own if down else (), start_it),
            *_of_logins(app, own),
            *_of_file(app, replica, settings, own, ways),
        ]
        if replica.state != ABSENT:
            findings += after_a_reboot(replica.container, replica.restart_policy)
        yield Outlook(
            host=host,
            container=replica.container or replica.service,
            runs=app.name,
            proof=_proof(app.start),
            serves=_modes(app, replica),
            findings=tuple(findings),
        )


def _of_state(replica: Replica, hops: tuple[Hop, ...], start_it: str) -> Iterator[Finding]:
    if replica.state == ABSENT:
        yield Finding(
            weight="note",
            tried="docker compose ps on its host",
            would=f"{replica.service} has no container; it will start with what its env file says",
            mend=f"{start_it} {replica.service}",
        )
    elif not replica.running:
        yield Finding(
            weight="fails",
            tried=f"docker: {replica.container} is {replica.state}",
            would="it answers nothing now" + ("" if hops else "; its other replicas do"),
            hops=hops,
            mend=f"{start_it} {replica.service}",
        )


def _of_logins(app: App, own: tuple[Hop, ...]) -> Iterator[Finding]:
    """What a login met that was made on the app's own host as a replica is to make it."""
    for track, met in (app.start.dials if app.start else {}).items():
        if met != "accepted":
            yield Finding(
                weight="fails",
                tried="a login on its host, with its address, user and CA file, as it was verified",
                would=met,
                hops=tuple(hop for hop in own if hop.server == _SERVER_OF.get(track)),
                mend=f"{UPDATE} --verify-only    (once what it says is mended)",
            )


def _of_file(
    app: App, replica: Replica, settings: Mapping[str, str], own: tuple[Hop, ...], ways: Ways
) -> Iterator[Finding]:
    """Whether the container, made anew, would run as it does."""
    file = app.env_file
    if file is None or not file.readable:
        yield Finding(
            weight="otherwise",
            tried=f"reading {file.path if file else 'its env file'}",
            would="it can't be read: a container that is made anew would not start",
            mend="put the file back as the app's deploy writes it",
        )
        return
    if replica.state == ABSENT:
        return
    for track in app.uses:
        name = _VARIABLE_OF[track]
        key = f"apps.{app.name}.{name}"
        now, then = (modes.get(name) or variable_of(key).initial for modes in (replica.modes, file.modes))
        if now == then:
            continue
        lost = _lost(key, then, settings, own)
        yield Finding(
            weight="fails" if lost else "otherwise",
            tried=f"{file.path} against the environment of its container",
            would=f"a restart keeps {name}={now}; made anew, it would run with {name}={then}",
            hops=lost,
            mend=ways.mend,
        )


def _lost(key: str, then: str, settings: Mapping[str, str], own: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """The app's hop where its server does not take what it would dial by then."""
    hop = app_hop(key, then)
    if then in variable_of(key).values and not broken((hop,), hop.server, wanted(settings, hop.server)):
        return ()
    return tuple(one for one in own if one.server == hop.server)


def _proof(start: Start | None) -> str:
    return f"{start.proof}, env file" if start else "env file"


def _modes(app: App, replica: Replica) -> str:
    if not replica.running and replica.state != ABSENT:
        return f"it is {replica.state}"
    words = [_mode(app, track, replica) for track in app.uses]
    return ", ".join(words)


def _mode(app: App, track: str, replica: Replica) -> str:
    name = _VARIABLE_OF[track]
    modes = replica.modes if replica.running else (app.env_file.modes if app.env_file else {})
    found = modes.get(name) or variable_of(f"apps.{app.name}.{name}").initial
    if track == "postgres":
        return f"pgbouncer {found}"
    return f"redis {'TLS' if found == 'true' else 'plaintext'}"


def collector_outlook(host: str, collector: Collector, every: tuple[Hop, ...], ways: Ways) -> Outlook:
    """The collector's start."""
    own = tuple(hop for hop in every if hop.server == "redis" and not hop.app)
    findings: list[Finding] = []
    if not collector.running:
        findings.append(
            Finding(
                weight="fails",
                tried=f"docker: {collector.container} is {collector.state}",
                would="it scrapes nothing now",
                hops=own,
                mend=ways.mend,
            )
        )
    elif not collector.as_rendered or not collector.as_verified:
        findings.append(
            Finding(
                weight="otherwise",
                tried="its env file against its container and against what was verified",
                would="made anew, it would run with an env file that is not what was verified"
                if not collector.as_verified
                else "it runs with another environment than its env file says, which it has once it is made anew",
                mend=ways.mend,
            )
        )
    for met in (collector.start.dials if collector.start else {}).values():
        if met != "accepted":
            tried = "a handshake with Redis as it makes it"
            findings.append(Finding(weight="fails", tried=tried, would=met, hops=own, mend=ways.mend))
    if collector.scrapes is False:
        findings.append(
            Finding(
                weight="note",
                tried="its log",
                would=f"it does not scrape now: {collector.why}",
                mend=f"docker logs {collector.container}",
            )
        )
    findings += after_a_reboot(collector.container, collector.restart_policy)
    endpoint = collector.runs_with.get("REDIS_ENDPOINT", "")
    tls = collector.runs_with.get("REDIS_TLS_INSECURE") == "false"
    return Outlook(
        host=host,
        container=collector.container,
        runs="otel",
        proof=_proof(collector.start if collector.start and collector.start.dials else None),
        serves=f"redis {'TLS' if tls else 'plaintext'}" if endpoint else f"it is {collector.state}",
        findings=tuple(findings),
    )
