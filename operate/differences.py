"""Declared against served: what differs, why, and the one command that reconciles it. Pure.

Each difference is told once, at the layer where it arises, so that its command is the right one:

* the file against the stack         what was edited and never applied: `pulumi up`
* the stack against its receipts     a move that a host has not confirmed: `pulumi up`
* the stack against a host's record  what was set by hand on the host: `update.sh --set KEY=DECLARED` there
* a host's record against the wire   what runs otherwise than was verified: `update.sh --restart-only` there; but what
                                     was set over the rendered files (ALTER SYSTEM, a command line) is taken out there
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from operate.evidence import NEVER, Seen, seen
from operate.remote import UPDATE
from operate.running import Line, Ways, done_here, of_running
from operate.served import HostRecord, HostReport, Interrupted
from operate.stacks import Stack, apart
from rollout.declared import Declared, HostSpec
from rollout.ledger import last_confirmed, unconfirmed_hosts
from rollout.steps import GENERATION, PREPARED

STATE = "/var/lib/voiceai"

_BUNDLE = UPDATE.rpartition("/")[0]
_MEND = f"{UPDATE} --restart-only"
_UNEDIT = f"cp {STATE}/settings.verified {STATE}/settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`host` is "" for what lies between file and stack; `reconcile` a command, or a sentence where there is none."""

    host: str
    hop: str
    key: str
    declared: str
    served: str
    why: str
    reconcile: str

    @property
    def there(self) -> bool:
        """Whether it is done on the host; else in the project's folder."""
        return not done_here(self.reconcile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What an environment's hosts should do: the file's, and the stack's where that could be read (`why_unread`)."""

    stack: str
    file: Declared
    known: Stack | None
    why_unread: str = ""

    @property
    def declared(self) -> Declared:
        """What hosts were told last; where nobody knows that, what the file says."""
        return self.known.record.attempted if self.known and self.known.record else self.file

    @property
    def confirmed(self) -> Declared | None:
        """What every host has confirmed; None where the stack was not read, or nothing was ever applied."""
        if self.known is None or self.known.record is None:
            return None
        return last_confirmed(self.known.record, self.known.receipts)

    @property
    def pending(self) -> tuple[str, ...]:
        """The hosts that have not confirmed the last move."""
        if self.known is None or self.known.record is None:
            return ()
        return unconfirmed_hosts(self.known.record, self.known.receipts)

    @property
    def up(self) -> str:
        """The command that applies."""
        return f"pulumi up --stack {self.stack}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`unknown` is what could not be told, of hosts that did answer."""

    differences: tuple[Difference, ...] = ()
    unknown: tuple[Seen, ...] = field(default=())


def find(declaration: Declaration, reports: Mapping[str, HostReport]) -> Found:
    """All that differs, stack first, then host by host. A host whose update is under way is between two states: its
    report is not judged."""
    judged = {host: report for host, report in reports.items() if not report.under_way}
    found = [*_of_stack(declaration)]
    unknown: list[Seen] = []
    for host, report in judged.items():
        readings = seen(host, report)
        found += _of_host(declaration, host, report, readings)
        unknown += [one for one in readings if not one.known and one.by != "absent"]
    return Found(differences=tuple(found), unknown=tuple(unknown))


def _of_stack(declaration: Declaration) -> Iterator[Difference]:
    known = declaration.known
    if known is None:
        return
    if known.record is None:
        yield Difference(
            host="",
            hop="stack",
            key=declaration.stack,
            declared="applied",
            served="never",
            why="nothing was ever applied in this stack: it has no ledger yet",
            reconcile=declaration.up,
        )
        return
    file, attempted = declaration.file, known.record.attempted
    if file != attempted:
        yield Difference(
            host="",
            hop="stack",
            key="file",
            declared="what was applied",
            served="something else",
            why=f"the file was changed and never applied: {apart(attempted, file) or 'what stands beside the steps'}",
            reconcile=declaration.up,
        )
    for host in declaration.pending:
        yield Difference(
            host=host,
            hop="stack",
            key="revision",
            declared=known.record.revisions[host],
            served=known.receipts.get(host, "none"),
            why=f"it has not confirmed the last move ({known.record.move})",
            reconcile=declaration.up,
        )


def _of_host(declaration: Declaration, host: str, report: HostReport, readings: Sequence[Seen]) -> Iterator[Difference]:
    record = report.record
    if record is None:
        yield from _never(declaration, host)
        return
    declared = declaration.declared
    if record.environment != declared.site.environment:
        yield Difference(
            host=host,
            hop="host",
            key="environment",
            declared=declared.site.environment,
            served=record.environment,
            why="another environment's settings were verified there: is it the right host?",
            reconcile=f"see hosts.{host}.address in the config",
        )
        return
    spec = declared.hosts.get(host)
    ways = ways_of(declaration.stack, spec, record)
    if report.interrupted:
        yield _interrupted(host, report.interrupted, ways)
        # What else differs is known once that is put back.
        return
    if record.edited:
        yield Difference(
            host=host,
            hop="host",
            key=f"{STATE}/settings",
            declared="as verified",
            served="edited",
            why="somebody edited it and never applied the edit, which the next `update.sh --restart-only` would do",
            reconcile=_UNEDIT,
        )
    yield from _by_hand(declaration, host, report)
    if report.problem:
        yield _one(host, ("host", "containers", "found", "not found", report.problem, f"{UPDATE} --status"))
    # A deployment of the site's own does as the site says until PREPARED gives it the places that later steps need.
    alone = spec is not None and spec.deployment is not None and record.settings.get(PREPARED) == "off"
    for line in of_running(report, readings, ways, servers=not alone):
        yield _one(host, line)


def ways_of(stack: str, spec: HostSpec | None, record: HostRecord | None) -> Ways:
    """The commands of a host with this declaration (None for none) and record."""
    return Ways(
        # An edit that lies there must not be applied by what mends something else.
        mend=f"{_UNEDIT} && {_MEND}" if record and record.edited else _MEND,
        stack=stack,
        directory=spec.deployment.directory if spec and spec.deployment else _BUNDLE,
        services=spec.deployment.services if spec and spec.deployment else {},
    )


def _one(host: str, line: Line) -> Difference:
    hop, key, declared, served, why, reconcile = line
    return Difference(host=host, hop=hop, key=key, declared=declared, served=served, why=why, reconcile=reconcile)


def _never(declaration: Declaration, host: str) -> Iterator[Difference]:
    """A host without a record, which the stack believes to have one: lost, or another machine by now."""
    known = declaration.known
    if known is None or host not in known.receipts or host in declaration.pending:
        return
    yield Difference(
        host=host,
        hop="host",
        key="record",
        declared=f"revision {known.receipts[host]}",
        served="none",
        why=f"{NEVER}, and the stack has its receipt: it was rebuilt, restored, or its record was lost",
        reconcile=f"pulumi up --stack {declaration.stack} --replace '**::hosts.{host}'",
    )


def _interrupted(host: str, change: Interrupted, ways: Ways) -> Difference:
    return Difference(
        host=host,
        hop="host",
        key=change.changes or "update",
        declared="ended",
        served="interrupted",
        why=f"an update by {change.who or 'somebody'}, begun {change.since or 'some time ago'}, was cut off",
        reconcile=ways.mend,
    )


def _by_hand(declaration: Declaration, host: str, report: HostReport) -> Iterator[Difference]:
    """Where the host's own record is not what was declared for it."""
    record, declared = report.record, declaration.declared
    if record is None:
        return
    noted = {change.key: change for change in report.hand_changes}
    for key, stands in record.settings.items():
        change = noted.get(key)
        wanted = declared.settings.get(key, change.declared if change else stands)
        if stands == wanted or (host in declaration.pending and change is None):
            continue
        if change:
            why = f"set by hand on the host by {change.who}, since {change.since}"
        else:
            why = "the host verified something else than the stack was told: restored from a backup, or another stack's"
        reconcile = f"{UPDATE} --set {key}={wanted}"
        if declaration.file.settings.get(key) == stands:
            reconcile, why = declaration.up, f"{why}; the file declares it by now"
        elif key == GENERATION and wanted != "0":
            # A certificate is issued by the program alone.
            reconcile = f"python -m operate back --stack {declaration.stack} --to {GENERATION}={stands}"
            why = f"{why}; by hand a certificate can't come back: declare what stands, then take the step again"
        yield Difference(
            host=host,
            hop="host",
            key=key,
            declared=wanted,
            served=stands,
            why=why,
            reconcile=reconcile,
        )
