"""Pull requests as a new user would open them: ten wrong ones, two right ones. Data for the tests and for
docs/pull-requests.md, which are made by the same run.

Each is the example environment at some place of the rollout, an edit of its file, and, where the stack is asked, a
record that the ledger itself wrote (`rollout.ledger.advance`).
"""

from __future__ import annotations

import difflib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operate.check import check
from operate.report import Report
from operate.source import Version, stack_file
from operate.stack_file import read_stack_file
from operate.stacks import Stacks, parse_export
from rollout.declared import Declared
from rollout.ledger import Record, advance
from rollout.path import forward
from rollout.rules import at_start
from rollout.steps import app_of, rank

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "Pulumi.yaml").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "Pulumi.staging.yaml").read_text(encoding="utf-8")
LADDER = (ROOT / "ladder.yaml").read_text(encoding="utf-8")

Settings = Mapping[str, str]

ISSUED = {"PREPARED": "on", "CERTIFICATE_GENERATION": "1"}
OFFERS = {**ISSUED, "POSTGRES_TLS_ENABLED": "on"}
SERVER_LEG = {**OFFERS, "PGBOUNCER_SERVER_TLS_SSLMODE": "verify-ca"}
CLIENT_LEG = {**SERVER_LEG, "PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}


def flipped(*apps: str) -> dict[str, str]:
    """These apps' databases verified."""
    return {f"apps.{app}.DATABASE_SSL_MODE": "verify-full" for app in apps}


ALL_FLIPPED = {**CLIENT_LEG, **flipped("api", "web", "voice", "ops", "worker")}
CLOSED = {**ALL_FLIPPED, "PGBOUNCER_CLIENT_TLS_SSLMODE": "require"}
REDIS = {**ISSUED, "REDIS_TLS_ENABLED": "true"}
REDIS_UP_TO_TELPRO = {**REDIS, **{f"apps.{app}.REDIS_TLS_ENABLED": "true" for app in ("api", "web", "voice", "ops")}}


def edited(text: str, settings: Settings) -> str:
    """A stack file with these variables set, every other line as it is."""
    for key, value in settings.items():
        text = _edited(text, key, value)
    return text


def _edited(text: str, key: str, value: str) -> str:
    app, name = app_of(key), key.rpartition(".")[2]
    inside = not app
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        inside = inside or line.rstrip() == f"    {app}:"
        word = line.strip().partition(": ")[0]
        if inside and word == (name if app else f"internal-tls:{name}"):
            comment = line[line.index(" #") :] if " #" in line else "\n"
            lines[number] = f"{line[: line.index(word)]}{word}: {value}{comment}"
            return "".join(lines)
    raise AssertionError(f"{key} does not stand in the example")


def of(environment: str) -> str:
    """The example as another environment's file."""
    return EXAMPLE.replace("staging", environment)


def declared(environment: str, text: str) -> Declared:
    """What such a file declares."""
    file = read_stack_file(version("test", {environment: text}), environment)
    assert file.configuration is not None, file.problems
    return file.configuration.declared


def version(name: str, stacks: Mapping[str, str]) -> Version:
    """A version of the project with these stack files."""
    return Version(name=name, project=PROJECT, ladder=LADDER, stacks=stacks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """A record, and the receipts that the hosts have printed."""

    record: Record
    receipts: Mapping[str, str]


def walked(target: Declared, *then: Declared) -> Walked:
    """The record of a stack that went every step up to `target`, and `then` on, each confirmed by every host."""
    start = at_start(target)
    record = advance(None, start, {})
    for key, value in forward(target):
        if rank(key, target.settings[key]) >= rank(key, value):
            settings = {**record.attempted.settings, key: value}
            record = advance(record, _with(record.attempted, settings), record.revisions)
    for following in (target, *then):
        record = advance(record, following, record.revisions)
    return Walked(record=record, receipts=dict(record.revisions))


def failing(walk: Walked, following: Declared) -> Walked:
    """After the next move, whose `up` failed: it exports nothing, so that every receipt is the one before."""
    return Walked(record=advance(walk.record, following, walk.receipts), receipts=walk.receipts)


def host_says(name: str) -> subprocess.CompletedProcess[str]:
    """What a host answers, see host_says.sh."""
    script = Path(__file__).with_name("host_says.sh")
    return subprocess.run(["bash", script, name], capture_output=True, text=True, check=False)


def _with(base: Declared, settings: Settings) -> Declared:
    return Declared.from_plain(base.to_plain() | {"settings": dict(settings)})


def export(environment: str, walk: Walked | None, **outputs: Any) -> str:
    """As `pulumi stack export` prints it: a stack with its ledger, or one that holds nothing."""
    if walk is None:
        return json.dumps({"version": 3, "deployment": {"manifest": {}}})
    urn = f"urn:pulumi:{environment}::internal-tls::"
    root = {
        "urn": f"{urn}pulumi:pulumi:Stack::internal-tls-{environment}",
        "type": "pulumi:pulumi:Stack",
        "outputs": {"receipts": dict(walk.receipts), **outputs},
    }
    ledger = {
        "urn": f"{urn}pulumi-python:dynamic/tls:Ledger::ledger",
        "type": "pulumi-python:dynamic/tls:Ledger",
        "inputs": {"__provider": "gASV", **walk.record.to_plain()},
    }
    return json.dumps({"version": 3, "deployment": {"resources": [root, ledger]}})


def stacks(**walks: Walked | None) -> Stacks:
    """These stacks as they are read from exports."""
    return Stacks(read={name: parse_export(export(name, walk), "test")[1] for name, walk in walks.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """`stands` is where the environment is; `sets` what the pull request sets; `replaces` edits text besides.

    `refused` are sentences that must be there, `todo` what it tells to do; empty where the order allows it. `shows` are
    further words of the screen. With `asks`, the environment's stack is read; `failed` is a move whose `up` failed;
    `via` is the end of the way forward, from which it went back. `host` names a function of host_says.sh: what the host
    answers that no pull request can see.
    """

    title: str
    stands: Settings
    sets: Settings = field(default_factory=dict)
    replaces: tuple[tuple[str, str], ...] = ()
    environment: str = "staging"
    asks: bool = False
    failed: Settings | None = None
    via: Settings | None = None
    staging: Settings | None = None
    refused: tuple[str, ...] = ()
    todo: str = ""
    shows: tuple[str, ...] = ()
    host: str = ""

    @property
    def texts(self) -> tuple[str, str]:
        """The environment's file before and after."""
        before = edited(of(self.environment), {**self.stands, **(self.failed or {})})
        after = edited(before, self.sets)
        for old, new in self.replaces:
            assert old in after
            after = after.replace(old, new)
        return before, after

    @property
    def diff(self) -> str:
        """The changed lines, an app's or a host's below its name."""
        before, after = (text.splitlines() for text in self.texts)
        shown = []
        for tag, a, b, c, d in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
            if tag != "equal":
                shown += [f" {line}" for line in before[:a] if line.startswith("    ") and line[4] != " "][-1:] * (
                    before[a].startswith(" " * 6)
                )
                shown += [*(f"-{line}" for line in before[a:b]), *(f"+{line}" for line in after[c:d])]
        return "\n".join(shown)

    def known(self) -> Stacks:
        """The stacks that are read for it."""
        walks = {}
        if self.staging is not None:
            walks["staging"] = walked(declared("staging", edited(of("staging"), self.staging)))
        if self.asks:
            way = [edited(of(self.environment), place) for place in (self.via, self.stands) if place is not None]
            walk = walked(*(declared(self.environment, text) for text in way))
            if self.failed:
                attempted = declared(self.environment, self.texts[0])
                walk = failing(walk, attempted)
            walks[self.environment] = walk
        return stacks(**walks)

    def report(self) -> Report:
        """What `operate check` finds."""
        before, after = self.texts
        return check(
            version("main", {self.environment: before}), version("HEAD", {self.environment: after}), self.known()
        )

    @property
    def file(self) -> str:
        return stack_file(self.environment)


WRONG = (
    PullRequest(
        title="a skipped step",
        stands=OFFERS,
        sets={"PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"},
        asks=True,
        refused=("PGBOUNCER_SERVER_TLS_SSLMODE is disable and comes before it",),
        todo="set PGBOUNCER_SERVER_TLS_SSLMODE to verify-ca first",
        shows=("pulumi config set --stack staging PGBOUNCER_SERVER_TLS_SSLMODE verify-ca",),
    ),
    PullRequest(
        title="apps out of order on the way forward",
        stands=CLIENT_LEG,
        sets=flipped("web"),
        asks=True,
        refused=("apps.api.DATABASE_SSL_MODE is disable and comes before it",),
        todo="set apps.api.DATABASE_SSL_MODE to verify-full first",
        shows=("pulumi config set --stack staging --path apps.api.DATABASE_SSL_MODE verify-full",),
    ),
    PullRequest(
        title="two steps at once",
        stands=SERVER_LEG,
        sets={"PGBOUNCER_CLIENT_TLS_SSLMODE": "allow", "REDIS_TLS_ENABLED": '"true"'},
        asks=True,
        refused=("2 things change at once, and one deploy makes one move",),
        todo="keep PGBOUNCER_CLIENT_TLS_SSLMODE disable → allow and undo the rest",
    ),
    PullRequest(
        title="back to `disable` while an app verifies",
        stands={**CLIENT_LEG, **flipped("api")},
        sets={"PGBOUNCER_CLIENT_TLS_SSLMODE": "disable"},
        asks=True,
        refused=("api would find no TLS at PgBouncer and every connection would fail",),
        todo="set apps.api.DATABASE_SSL_MODE to disable first",
        shows=("pulumi config set --stack staging --path apps.api.DATABASE_SSL_MODE disable",),
    ),
    PullRequest(
        title="`require` while voice is in plaintext",
        stands={**ALL_FLIPPED, "apps.voice.DATABASE_SSL_MODE": "disable"},
        sets={"PGBOUNCER_CLIENT_TLS_SSLMODE": "require"},
        via=ALL_FLIPPED,
        asks=True,
        refused=("PgBouncer would refuse voice, which connects in plaintext",),
        todo="set apps.voice.DATABASE_SSL_MODE to verify-full first",
        shows=("pulumi config set --stack staging --path apps.voice.DATABASE_SSL_MODE verify-full",),
    ),
    PullRequest(
        title="telpro without its image",
        stands=REDIS_UP_TO_TELPRO,
        sets={"apps.telpro.REDIS_TLS_ENABLED": "true"},
        asks=True,
        shows=("the image that runs has Kamailio's ndb_redis built with hiredis_ssl", "docs/runbook/00-telpro.md"),
        host="telpro",
    ),
    PullRequest(
        title="force while the exporter is in plaintext",
        stands=CLOSED,
        sets={"POSTGRES_FORCE_SSL": "on"},
        asks=True,
        shows=("no exporter, pg_dump, console or replica", "pg_stat_ssl"),
        host="exporter",
    ),
    PullRequest(
        title="a misspelled variable",
        stands=ISSUED,
        replaces=(("POSTGRES_TLS_ENABLED: off", "POSTGRES_TLS_ENABLE: on"),),
        refused=("POSTGRES_TLS_ENABLE: there is no such variable", "did you mean POSTGRES_TLS_ENABLED?"),
    ),
    PullRequest(
        title="the next step while the last one failed on voice's host; voice then stopped",
        stands={**CLIENT_LEG, **flipped("api", "web")},
        failed=flipped("voice"),
        sets=flipped("ops"),
        asks=True,
        refused=("the last move", "is not confirmed by voice"),
        todo="finish it by `pulumi up`",
        shows=(
            "repair voice",
            "pulumi up --stack staging",
            "pulumi config set --stack staging --path apps.voice.DATABASE_SSL_MODE disable",
        ),
    ),
    PullRequest(
        title="production before staging",
        environment="production",
        stands=ISSUED,
        staging=ISSUED,
        sets={"POSTGRES_TLS_ENABLED": "on"},
        asks=True,
        refused=("staging comes first on the ladder, and has confirmed POSTGRES_TLS_ENABLED=off",),
        todo="take POSTGRES_TLS_ENABLED to on in staging first",
    ),
)

RIGHT = (
    PullRequest(
        title="voice alone goes back after ops has flipped",
        stands=ALL_FLIPPED,
        sets={"apps.voice.DATABASE_SSL_MODE": "disable"},
        asks=True,
        shows=(
            "postgres 5/7 (voice, 3 of 5) back: apps.voice.DATABASE_SSL_MODE verify-full → disable",
            "no other app notices",
            "pulumi config set --stack staging --path apps.voice.DATABASE_SSL_MODE verify-full",
        ),
    ),
    PullRequest(
        title="a rebuilt host in the middle of a rollout",
        stands={**CLIENT_LEG, **flipped("api")},
        replaces=(("ExampleExa4", "ExampleExb4"),),
        asks=True,
        shows=("host voice is reached by another hostKey", "a rebuilt one comes to the confirmed settings"),
    ),
)
