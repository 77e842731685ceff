"""`operate verify`: every host proves on the wire what it runs, all at once; for CI and cron, and changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from operate import asking, markdown, stacks
from operate.asking import BUSY, DOES_NOT_HOLD, REFUSED, Said
from operate.command import FORMAT, Commands, add_command, show
from operate.errors import BadInput
from operate.palette import PLAIN, Palette
from operate.remote import Remote
from operate.survey import View, add_options, view_of
from operate.text import labelled, paint_of, wrapped
from rollout.ledger import unconfirmed_hosts
from toolchain.progress import part

EXIT_DOES_NOT_HOLD = 1
_RUNBOOK = "docs/runbook/00-when-something-fails.md"

Revisions = Mapping[str, tuple[str, ...]]
"""What each host may hold; none: whichever it runs."""

_WHAT = """\
Has every host prove on the wire what it runs (update.sh --verify-only over ssh): what should connect does, what should
be refused is. Nothing is changed anywhere. A host in the middle of an update is told of and is no failure: an update
verifies by itself.

Only the environment's file and ssh are needed, so that a nightly job can do it with a key that may do nothing else.
"""

_AFTER = """\
exit codes:
  0    every host that was asked holds, or is in the middle of an update
  1    a host does not hold, holds another revision than the stack's, or can't be asked
  2    bad input: no such file, a config that is refused, an unknown host, with --read-stack an unreadable stack
  130  interrupted

examples:
  python -m operate verify --stack staging
  python -m operate verify --stack staging --read-stack --json
  python -m operate verify --stack production --host database api1 --ssh-config ~/.ssh/config
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the hosts of one environment said. `notes` are sentences on the whole."""

    environment: str
    said: Sequence[Said]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no host is against it."""
        return all(one.good or one.code == BUSY for one in self.said)

    @property
    def summary(self) -> str:
        """How many hold."""
        count = sum(one.good for one in self.said)
        return f"{count} of {len(self.said)} hosts hold"

    def to_plain(self, code: int) -> dict[str, Any]:
        """As JSON-like data, with the exit code."""
        return {
            "format": FORMAT,
            "command": "verify",
            "environment": self.environment,
            "code": code,
            "holds": self.holds,
            "hosts": [one.to_plain() for one in self.said],
            "notes": list(self.notes),
        }


def add(commands: Commands) -> None:
    """Adds the command."""
    summary = "have every host prove what it runs"
    parser = add_command(commands, "verify", run, summary=summary, description=_WHAT, epilog=_AFTER)
    add_options(parser)
    parser.add_argument("--markdown", action="store_true", help="as Markdown, for a job summary")
    parser.add_argument(
        "--read-stack",
        action="store_true",
        help="also read the stack (pulumi stack export): each host must hold a revision that was applied",
    )
    parser.add_argument(
        "--agent",
        action="store_true",
        help="pass by the config's sshPrivateKeyFile: the keys of the SSH agent alone, as in a nightly job",
    )


def run(chosen: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    try:
        found = _verified(chosen)
    except BadInput as error:
        if chosen.markdown:
            print("\n".join(_failure(chosen.stack, error)))
        raise
    code = 0 if found.holds else EXIT_DOES_NOT_HOLD
    text = (lambda _: _as_markdown(found)) if chosen.markdown else (lambda palette: as_text(found, palette))
    show(chosen, found.to_plain(code), text)
    return code


def as_text(found: Verification, palette: Palette = PLAIN) -> Iterator[str]:
    """The lines of a screen: a host that holds has one, any other also why not."""
    verdict = palette.good if found.holds else palette.bad
    yield f"{palette.strong(found.environment)}: {verdict(found.summary)}"
    width = max((len(one.host) for one in found.said), default=0)
    for one in found.said:
        yield f"  {one.host:{width}}  {paint_of(one, palette)(_words(one))}"
        if one.good:
            continue
        for line in _shown(one):
            failed = line.startswith("FAILED")
            yield from wrapped(line, " " * (width + 6), palette.bad if failed else str)
        if one.todo:
            yield from wrapped(one.todo, f"{' ' * (width + 4)}do: ", palette.strong)
    for note in found.notes:
        yield from labelled("note", note, palette.faint)
    if not found.holds:
        yield from labelled("do", f"see {_RUNBOOK}", palette.strong)


def _as_markdown(found: Verification) -> Iterator[str]:
    title = f"Verification of {found.environment}: {found.summary}"
    yield from markdown.heading(title, good=found.holds)
    yield from markdown.table(
        ("host", "", "it says"),
        [(one.host, "✅" if one.good else "▫️" if one.code == BUSY else "⛔", _row(one)) for one in found.said],
    )
    yield from (f"* _{markdown.inline(note)}_" for note in found.notes)
    for one in found.said:
        if not one.good and one.code != BUSY:
            yield from markdown.block(one.host, (*one.lines, *((f"do: {one.todo}",) if one.todo else ())))


def _shown(one: Said) -> Sequence[str]:
    """Of a host that does not hold its checks and its last word; servers' logs between them are for the other forms."""
    if one.code not in (REFUSED, DOES_NOT_HOLD):
        return one.lines
    return [*(line for line in one.lines[:-1] if line.startswith(("ok ", "FAILED "))), one.last]


def _words(one: Said) -> str:
    if one.good:
        return f"{one.verdict}, {len(one.lines)} checks"
    if one.code == BUSY:
        return f"{one.verdict}: an update is under way, which verifies by itself"
    return one.verdict


def _row(one: Said) -> str:
    return _words(one) if one.good or one.code == BUSY else f"{one.verdict}: {one.last}"


def _verified(chosen: argparse.Namespace) -> Verification:
    if chosen.json and chosen.markdown:
        raise BadInput("--json and --markdown are two forms of the same: give one")
    view = view_of(chosen)
    revisions: Revisions = {host.name: () for host in view.hosts}
    notes: tuple[str, ...] = ()
    if chosen.read_stack:
        revisions, notes = _revisions(view)
    ssh = view.configuration.ssh
    remote = Remote(ssh=replace(ssh, private_key_file="") if chosen.agent else ssh, config=view.ssh_config)
    with part(f"asking {len(view.hosts)} hosts of {view.environment}"):
        said = asking.verify(remote, view.configuration, revisions)
    return Verification(environment=view.environment, said=said, notes=notes)


def _revisions(view: View) -> tuple[Revisions, tuple[str, ...]]:
    """By the stack: what each host confirmed and, until a move is confirmed by all, also that of the move. With
    sentences on what is not plain."""
    known = stacks.from_pulumi((view.stack,), view.folder)
    if view.stack not in known.read:
        raise BadInput(
            f"the stack {view.stack} can't be read: {known.why_unread(view.stack)}; see that `pulumi stack export` "
            "works here, or leave --read-stack out"
        )
    record, receipts = known.read[view.stack].record, known.read[view.stack].receipts
    if record is None:
        raise BadInput(f"nothing was ever applied in {view.stack}: its stack has no ledger; leave --read-stack out")
    may = {
        host.name: tuple(
            dict.fromkeys(one for one in (receipts.get(host.name), record.revisions.get(host.name)) if one)
        )
        for host in view.hosts
    }
    notes = tuple(f"{host} has no revision in the stack: it was never applied there" for host in may if not may[host])
    pending = unconfirmed_hosts(record, receipts)
    if pending:
        notes += (
            f"the last move ({record.move}) is not confirmed by {', '.join(pending)}: a host holds what was before it, "
            "or already the move",
        )
    return may, notes


def _failure(stack: str, error: BadInput) -> Iterator[str]:
    yield from markdown.heading(f"Verification of {stack}: not done")
    yield markdown.inline(str(error))
