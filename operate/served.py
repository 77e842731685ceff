"""What a host says of itself: the one JSON object of `update.sh --report`, as frozen values.

Nothing is judged here, and nothing is guessed: what a report leaves out is None or empty. What is served is known from
handshakes that the host made; `facts` are a server's own words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

FORMAT = 1
"""The one that this version reads."""

ABSENT = "absent"
"""A container's state where there is none."""
RUNNING = "running"
"""A container's state while it runs."""

Verdict = Literal["accepted", "refused", "unknown"]


class Unreadable(Exception):
    """What was given is no report that this version reads; its text is a sentence with what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """`sha256` is of its DER, lower-case hex; `not_after` is in UTC, None where openssl's text was not understood."""

    serial: str
    not_after: datetime | None
    sha256: str
    names: tuple[str, ...]

    def days_left(self, now: datetime) -> int | None:
        """Whole days until it ends, negative once it has; None where that is not known."""
        return None if self.not_after is None else (self.not_after - now).days


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What a client that trusts the host's CA was served. `verify` is openssl's verdict, `0 (ok)` where it is good."""

    protocol: str
    cipher: str
    verify: str
    certificate: Certificate

    @property
    def verified(self) -> bool:
        """Whether the chain and the name were good."""
        return self.verify == "0 (ok)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plaintext:
    """What a login in plaintext was answered: the verdict, and the server's own words, cut."""

    verdict: Verdict
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """`sessions` that look the same to the server. `apps` are those that each may be: more than one can't be told
    apart, none is nobody that is declared."""

    tls: bool
    address: str
    user: str
    application: str
    sessions: int
    apps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """PgBouncer's connections to Postgres; `old` ones wait to be closed."""

    tls: int
    plaintext: int
    old: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a start of a container would do. `proof` is how that was found out: `postgres -C`, `scratch process`,
    `files` (looked at only), `none`; `login` of an app's host, `handshake` of the collector's.

    `reads` are settings as a start reads them; `dials` what a scratch process answered (`plain`, `tls`), or what a
    login met by track (`postgres`, `redis`): `accepted`, or why not.
    """

    proof: str
    reads: Mapping[str, str]
    dials: Mapping[str, str]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Postgres, PgBouncer or Redis. What is None was not asked, or there is no answer: of a server that does not run.

    `served` is None where no TLS is served. `facts` are the server's own settings, `sources` where it has them from,
    `over` those that something wins over (ALTER SYSTEM). `rendered` is the file that steps change, `as_verified`
    whether it is as the verified settings have it. `plaintext_rules` counts those of pg_hba.conf.
    """

    role: str
    container: str
    state: str
    started_at: str
    restart_policy: str
    rendered: str
    as_verified: bool
    served: Handshake | None = None
    plaintext: Plaintext | None = None
    error: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    over: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    plaintext_rules: int | None = None
    leg: Leg | None = None
    clients: tuple[Client, ...] = ()
    start: Start | None = None

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return self.state == RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """The collector that scrapes Redis. `runs_with` is its container's environment, `as_rendered` whether that is what
    its file says, `as_verified` whether the file is as the verified settings have it.

    `scrapes` is None where it does not run; `why` says why it does not scrape. `start` is None where it was not asked.
    """

    container: str
    state: str
    started_at: str
    restart_policy: str
    address: str
    runs_with: Mapping[str, str]
    as_rendered: bool
    as_verified: bool
    scrapes: bool | None
    why: str
    start: Start | None = None

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return self.state == RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One of an app's containers; `modes` are the steps' keys in its environment."""

    service: str
    container: str
    state: str
    health: str
    started_at: str
    restart_policy: str
    modes: Mapping[str, str]

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return self.state == RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """How a server sees an app's sessions: their counts and the server's word for itself (`by`), or `unknown`, why not.

    `url_sslmode` is the `sslmode` in the app's own database URL, "" where it has none.
    """

    tls: int | None
    plaintext: int | None
    by: str
    unknown: str
    url_sslmode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """An app's env file: what it has for the steps' keys."""

    path: str
    readable: bool
    modes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app on this host. `sessions` are by track (postgres, redis); `problem` says why no more is known of it;
    `start` is None where it was not asked."""

    name: str
    kind: str
    uses: tuple[str, ...]
    replicas: tuple[Replica, ...] = ()
    env_file: EnvFile | None = None
    sessions: Mapping[str, Sessions] = field(default_factory=dict)
    problem: str = ""
    start: Start | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """What the host last verified. `settings` are its step variables; `edited` says that the settings people see are
    other ones."""

    revision: str
    environment: str
    roles: tuple[str, ...]
    settings: Mapping[str, str]
    certificate_sha256: str
    ca_sha256: str
    redis_tls_port: str
    edited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HandChange:
    """A variable that was set on the host (`update.sh --set`) and is not what was declared for it."""

    key: str
    declared: str
    now: str
    who: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A change that began and has not ended."""

    changes: str
    since: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What lies on disk, which nobody need serve. None where there is no such file."""

    generation: str
    ca: Certificate | None
    server: Certificate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """One host's answer. `record` is None where it never took a step, and then `files` is too.

    `servers` are by role; `problem` says why containers could not be found.
    """

    time: str
    under_way: bool
    hand_changes: tuple[HandChange, ...]
    interrupted: Interrupted | None
    record: HostRecord | None
    files: Files | None
    servers: Mapping[str, Server]
    collector: Collector | None
    apps: tuple[App, ...]
    problem: str


def read_report(text: str) -> HostReport:
    """The report in `text`; raises `Unreadable` for anything that is none of format 1."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("what it answered is no report: see `update.sh --report` there") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        found = plain.get("format") if isinstance(plain, dict) else None
        has = "no format" if found is None else f"the format {found}"
        raise Unreadable(
            f"its report has {has}, and this version reads {FORMAT}: `pulumi up` with nothing changed ships the host "
            "this version"
        )
    try:
        return _report(plain)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f": {error.args[0]} is not in it" if isinstance(error, KeyError) else ""
        raise Unreadable(
            f"its report is not as format {FORMAT} is{what}; `pulumi up` with nothing changed ships the host this "
            "version"
        ) from None


def _report(plain: Mapping[str, Any]) -> HostReport:
    servers = dict(plain.get("servers") or {})
    collector = servers.pop("otel", None)
    interrupted = plain.get("interrupted")
    return HostReport(
        time=_text(plain, "time"),
        under_way=bool(plain["underWay"]),
        hand_changes=tuple(
            HandChange(**{name: _text(one, name) for name in ("key", "declared", "now", "who", "since")})
            for one in plain["handChanges"]
        ),
        interrupted=None
        if interrupted is None
        else Interrupted(**{name: str(interrupted.get(name) or "") for name in ("changes", "since", "who")}),
        record=_record(plain["record"]) if "record" in plain else None,
        files=_files(plain["files"]) if "files" in plain else None,
        servers={role: _server(role, one) for role, one in servers.items()},
        collector=_collector(collector) if collector is not None else None,
        apps=tuple(_app(one) for one in plain.get("apps") or ()),
        problem=str(plain.get("problem") or ""),
    )


def _record(plain: Mapping[str, Any]) -> HostRecord:
    return HostRecord(
        revision=_text(plain, "revision"),
        environment=_text(plain, "environment"),
        roles=_texts(plain["roles"]),
        settings=_map(plain["settings"]),
        certificate_sha256=_text(plain, "certificateSha256"),
        ca_sha256=_text(plain, "caSha256"),
        redis_tls_port=_text(plain, "redisTlsPort"),
        edited=bool(plain["edited"]),
    )


def _files(plain: Mapping[str, Any]) -> Files:
    return Files(
        generation=str(plain.get("generation") or ""),
        ca=_certificate(plain["ca"]) if "ca" in plain else None,
        server=_certificate(plain["server"]) if "server" in plain else None,
    )


def _certificate(plain: Mapping[str, Any]) -> Certificate:
    try:
        not_after = datetime.strptime(str(plain.get("notAfter")), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    except ValueError:
        not_after = None
    return Certificate(
        serial=str(plain.get("serial") or ""),
        not_after=not_after,
        sha256=str(plain.get("sha256") or ""),
        names=_texts(plain["names"]),
    )


def _server(role: str, plain: Mapping[str, Any]) -> Server:
    served, leg, start, rules = (plain.get(key) for key in ("served", "leg", "start", "plaintextRules"))
    return Server(
        role=role,
        **_container(plain),
        rendered=_text(plain["rendered"], "path"),
        as_verified=bool(plain["rendered"]["asVerified"]),
        served=None
        if served is None
        else Handshake(
            protocol=_text(served, "protocol"),
            cipher=_text(served, "cipher"),
            verify=_text(served, "verify"),
            certificate=_certificate(served["certificate"]),
        ),
        plaintext=_plaintext(plain["plaintext"]) if "plaintext" in plain else None,
        error=str(plain.get("error") or ""),
        facts=_map(plain.get("facts") or {}),
        sources=_map(plain.get("sources") or {}),
        over=_map(plain.get("over") or {}),
        problems=_texts(plain.get("problems") or ()),
        plaintext_rules=None if rules is None else int(rules),
        leg=None if leg is None else Leg(**{name: int(leg.get(name) or 0) for name in ("tls", "plaintext", "old")}),
        clients=tuple(_client(one) for one in plain.get("clients") or ()),
        start=_start(start),
    )


def _plaintext(plain: Mapping[str, Any]) -> Plaintext:
    verdict: Verdict = plain["verdict"]
    if verdict not in ("accepted", "refused", "unknown"):
        raise ValueError(verdict)
    return Plaintext(verdict=verdict, answer=_text(plain, "answer").strip())


def _client(plain: Mapping[str, Any]) -> Client:
    return Client(
        tls=_text(plain, "way") == "tls",
        address=_text(plain, "address"),
        user=_text(plain, "user"),
        application=_text(plain, "application"),
        sessions=int(plain["sessions"] or 0),
        apps=_texts(plain["apps"]),
    )


def _start(plain: Mapping[str, Any] | None) -> Start | None:
    if plain is None:
        return None
    return Start(
        proof=_text(plain, "proof"),
        reads=_map(plain["reads"]),
        dials=_map(plain["dials"]),
        problems=_texts(plain["problems"]),
    )


def _collector(plain: Mapping[str, Any]) -> Collector:
    scrapes = plain.get("scrapes")
    return Collector(
        **_container(plain),
        address=_text(plain, "address"),
        runs_with=_map(plain["runsWith"]),
        as_rendered=bool(plain["asRendered"]),
        as_verified=bool(plain["asVerified"]),
        scrapes=None if scrapes is None else bool(scrapes),
        why=str(plain.get("why") or ""),
        start=_start(plain.get("start")),
    )


def _app(plain: Mapping[str, Any]) -> App:
    file = plain.get("envFile")
    return App(
        name=_text(plain, "name"),
        kind=_text(plain, "kind"),
        uses=_texts(plain["uses"]),
        replicas=tuple(
            Replica(
                service=_text(one, "service"),
                **_container(one),
                health=_text(one, "health"),
                modes=_map(one["modes"]),
            )
            for one in plain.get("replicas") or ()
        ),
        env_file=None
        if file is None
        else EnvFile(path=_text(file, "path"), readable=bool(file["readable"]), modes=_map(file["modes"])),
        sessions={track: _sessions(one) for track, one in (plain.get("sessions") or {}).items()},
        problem=str(plain.get("problem") or ""),
        start=_start(plain.get("start")),
    )


def _sessions(plain: Mapping[str, Any]) -> Sessions:
    def count(name: str) -> int | None:
        found = plain.get(name)
        return None if found is None else int(found)

    return Sessions(
        tls=count("tls"),
        plaintext=count("plaintext"),
        by=str(plain.get("by") or ""),
        unknown=str(plain.get("unknown") or ""),
        url_sslmode=str(plain.get("urlSslmode") or ""),
    )


def _container(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "container": _text(plain, "container"),
        "state": _text(plain, "state"),
        "started_at": _text(plain, "startedAt"),
        "restart_policy": _text(plain, "restartPolicy"),
    }


def _text(plain: Mapping[str, Any], key: str) -> str:
    value = plain[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise TypeError(values)
    return tuple(values)


def _map(plain: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in plain.items()}
