"""`operate verify`: every host proves on the wire what it runs, all at once; for CI and cron, and changes nothing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from operate import asking, markdown, stacks
from operate.asking import BUSY, Said
from operate.config_file import ConfigFile
from operate.errors import BadInput
from operate.palette import PLAIN, Palette, palette_for
from operate.remote import Remote
from operate.source import read_version
from operate.stack_file import read_stack_file
from operate.stopped import EXIT_BAD_INPUT
from operate.text import labelled, wrapped
from rollout.config import Configuration
from rollout.ledger import unconfirmed_hosts
from toolchain.progress import part

FORMAT = 1
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
  1    a host does not hold, holds something else than its stack confirmed, or can't be asked
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


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "verify",
        help="have every host prove what it runs",
        description=_WHAT,
        epilog=_AFTER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--stack",
        "--environment",
        dest="stack",
        default=os.environ.get("PULUMI_STACK", ""),
        help="the stack whose file (Pulumi.STACK.yaml) has the hosts (default: PULUMI_STACK, or the selected one)",
    )
    parser.add_argument("--project", default=".", metavar="FOLDER", help="the project's folder (default: .)")
    parser.add_argument("--host", nargs="+", default=[], metavar="NAME", help="only these hosts (default: all)")
    parser.add_argument(
        "--read-stack",
        action="store_true",
        help="also read the stack (pulumi stack export): each host must hold a revision that was applied",
    )
    parser.add_argument(
        "--ssh-config",
        default="",
        metavar="FILE",
        help="an ssh_config(5) file, such as ~/.ssh/config with a ProxyJump",
    )
    parser.add_argument(
        "--agent",
        action="store_true",
        help="pass by the config's sshPrivateKeyFile: the keys of the SSH agent alone, as in a nightly job",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as one JSON object, see docs/operate-verify.md")
    form.add_argument("--markdown", action="store_true", help="as Markdown, for a job summary")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    try:
        found = _verified(chosen)
    except BadInput as error:
        return _bad_input(chosen, str(error))
    code = 0 if found.holds else EXIT_DOES_NOT_HOLD
    if chosen.json:
        print(json.dumps(found.to_plain(code), indent=2, ensure_ascii=False))
    elif chosen.markdown:
        print("\n".join(_as_markdown(found)))
    else:
        print("\n".join(as_text(found, palette_for(sys.stdout, os.environ))))
    sys.stdout.flush()
    return code


def as_text(found: Verification, palette: Palette = PLAIN) -> Iterator[str]:
    """The lines of a screen: a host that holds has one, any other all that it said."""
    verdict = palette.good if found.holds else palette.bad
    yield f"{palette.strong(found.environment)}: {verdict(found.summary)}"
    width = max((len(one.host) for one in found.said), default=0)
    for one in found.said:
        paint = palette.good if one.good else palette.doubtful if one.code == BUSY else palette.bad
        yield f"  {one.host:{width}}  {paint(_words(one))}"
        if one.good:
            continue
        for line in one.lines:
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


def _words(one: Said) -> str:
    if one.good:
        return f"{one.verdict}, {len(one.lines)} checks"
    if one.code == BUSY:
        return f"{one.verdict}: an update is under way, which verifies by itself"
    return one.verdict


def _row(one: Said) -> str:
    if one.good or one.code == BUSY:
        return _words(one)
    return f"{one.verdict}: {one.last}"


def _verified(chosen: argparse.Namespace) -> Verification:
    folder = Path(chosen.project).resolve()
    if not folder.is_dir():
        raise BadInput(f"--project {chosen.project}: there is no such folder")
    if chosen.ssh_config and not Path(chosen.ssh_config).expanduser().is_file():
        raise BadInput(f"--ssh-config {chosen.ssh_config}: there is no such file")
    stack = chosen.stack or _selected(folder)
    environment, configuration = _read(folder, stack)
    asked = _asked(configuration, chosen.host)
    revisions: Revisions = {host: () for host in asked}
    notes: tuple[str, ...] = ()
    if chosen.read_stack:
        revisions, notes = _revisions(folder, stack, asked)
    ssh = replace(configuration.ssh, private_key_file="") if chosen.agent else configuration.ssh
    remote = Remote(ssh=ssh, config=str(Path(chosen.ssh_config).expanduser()) if chosen.ssh_config else "")
    with part(f"asking {len(asked)} hosts"):
        said = asking.verify(remote, configuration, revisions)
    return Verification(environment=environment, said=said, notes=notes)


def _selected(folder: Path) -> str:
    # The engine's API takes a second to import, and a nightly job has none.
    from operate.engine import selected_stack

    return selected_stack(folder)


def _read(folder: Path, stack: str) -> tuple[str, Configuration]:
    file = ConfigFile.find(folder, stack, dict(os.environ))
    version = read_version(str(file.path), folder)
    environment = next(iter(version.stacks))
    read = read_stack_file(version, environment)
    if read.configuration is None:
        problems = "\n".join(map(str, read.problems))
        raise BadInput(f"{file.path.name} is not a config that the program takes; correct it:\n{problems}")
    return environment, read.configuration


def _asked(configuration: Configuration, names: Sequence[str]) -> list[str]:
    hosts = [host.name for host in configuration.hosts]
    unknown = [name for name in names if name not in hosts]
    if unknown:
        raise BadInput(f"--host {' '.join(unknown)}: there is no such host; there are {', '.join(hosts)}")
    return [name for name in hosts if name in names] if names else hosts


def _revisions(folder: Path, stack: str, asked: Sequence[str]) -> tuple[Revisions, tuple[str, ...]]:
    """By the stack: what the host confirmed and, until a move is confirmed by all, also that of the move. With
    sentences on what is not plain."""
    known = stacks.from_pulumi((stack,), folder)
    if stack not in known.read:
        raise BadInput(
            f"the stack {stack} can't be read: {known.why_unread(stack)}; see that `pulumi stack export` works here, or "
            "leave --read-stack out"
        )
    record, receipts = known.read[stack].record, known.read[stack].receipts
    if record is None:
        raise BadInput(f"nothing was ever applied in {stack}: its stack has no ledger yet; leave --read-stack out")
    may = {
        host: tuple(dict.fromkeys(filter(None, (receipts.get(host), record.revisions.get(host)))))
        for host in asked
    }
    pending = unconfirmed_hosts(record, receipts)
    notes = tuple(f"{host} has no revision in the stack: it was never applied there" for host in asked if not may[host])
    if pending:
        notes += (
            f"the last move ({record.move}) is not confirmed by {', '.join(pending)}: a host holds what was before it, "
            "or already the move",
        )
    return may, notes


def _bad_input(chosen: argparse.Namespace, sentence: str) -> int:
    print(f"operate verify: {sentence}", file=sys.stderr)
    environment = chosen.stack.rpartition("/")[2]
    if chosen.json:
        plain = {"format": FORMAT, "command": "verify", "environment": environment, "code": EXIT_BAD_INPUT}
        print(json.dumps({**plain, "error": sentence}, ensure_ascii=False))
    elif chosen.markdown:
        print("\n".join([*markdown.heading(f"Verification of {environment}: not done"), markdown.inline(sentence)]))
    return EXIT_BAD_INPUT
