"""Looks at a whole environment without changing anything: every host's report, the stack's record, the file.

Hosts and stack are asked side by side. A host that gives no answer is an `Unanswered`, never an exception; a stack that
can't be read, or in which nothing was applied yet, is said, and what is known is compared with the file. Only without
a good file nobody knows which hosts there are: that is `BadInput`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from operate import stacks
from operate.command import add_place, place_of
from operate.differences import Declaration
from operate.errors import BadInput
from operate.remote import Answer, Remote, remedy
from operate.served import HostReport, Unreadable, read_report
from operate.source import read_version
from operate.stack_file import read_stack_file
from rollout.config import Configuration
from rollout.inventory import Host
from toolchain.progress import part

_SECONDS = 60
"""A report bounds each of its own calls; this is for a host that hangs as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A host that did not answer: why, and what to do ("" where `why` says it)."""

    host: str
    why: str
    todo: str

    def to_plain(self) -> dict[str, str]:
        """As JSON-like data."""
        return {"host": self.host, "why": self.why, "todo": self.todo}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is looked at: `hosts` are those asked, all of the config's unless some were named."""

    stack: str
    environment: str
    folder: Path
    configuration: Configuration
    hosts: tuple[Host, ...]
    ssh_config: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everybody's answers, in the order of the config. A host is in exactly one of `reports` and `unanswered`."""

    view: View
    declaration: Declaration
    reports: Mapping[str, HostReport]
    unanswered: tuple[Unanswered, ...]

    @property
    def unasked(self) -> dict[str, str]:
        """The reason of each host that there is no report of, those that nobody asked included."""
        names = [host.name for host in self.view.configuration.hosts]
        known = {one.host: f"{one.host} did not answer" for one in self.unanswered}
        return {name: known.get(name, f"{name} was not asked") for name in names if name not in self.reports}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that only looks."""
    add_place(parser)
    parser.add_argument("--host", nargs="+", default=[], metavar="NAME", help="ask only these hosts of the config")
    parser.add_argument("--json", action="store_true", help="as JSON, one object on standard output")


def view_of(chosen: argparse.Namespace) -> View:
    """What the options name; raises `BadInput`."""
    place = place_of(chosen)
    file = place.file.path
    version = read_version(str(file), place.folder)
    environment = next(iter(version.stacks))
    parsed = read_stack_file(version, environment)
    if parsed.configuration is None:
        raise BadInput(f"{file.name} is no good config: {'; '.join(map(str, parsed.problems))}")
    known = {host.name: host for host in parsed.configuration.hosts}
    for name in chosen.host:
        if name not in known:
            raise BadInput(f"--host {name}: the config has no such host; it has {', '.join(known)}")
    return View(
        stack=place.stack,
        environment=environment,
        folder=place.folder,
        configuration=parsed.configuration,
        hosts=tuple(host for name, host in known.items() if not chosen.host or name in chosen.host),
        ssh_config=place.ssh_config,
    )


def survey(view: View, *, restart: bool = False) -> Survey:
    """Asks them all; with `restart` also what a start of each container would do, by scratch processes there."""
    with part(f"asking {len(view.hosts)} hosts of {view.environment}"), ThreadPoolExecutor(max_workers=1) as pool:
        exported = pool.submit(stacks.from_pulumi, (view.stack,), view.folder)
        remote = Remote(ssh=view.configuration.ssh, config=view.ssh_config)
        command = "--report --restart" if restart else "--report"
        answers = remote.ask(view.hosts, command, {}, seconds=_SECONDS)
        read = exported.result()
    reports: dict[str, HostReport] = {}
    unanswered = []
    for answer in answers:
        found = _report(answer)
        if isinstance(found, Unanswered):
            unanswered.append(found)
        else:
            reports[answer.host] = found
    return Survey(
        view=view,
        declaration=Declaration(
            stack=view.stack,
            file=view.configuration.declared.as_kept(),
            known=read.read.get(view.stack),
            why_unread="" if view.stack in read.read else read.why_unread(view.stack),
        ),
        reports=reports,
        unanswered=tuple(unanswered),
    )


def _report(answer: Answer) -> HostReport | Unanswered:
    lines = (*answer.out, *answer.err)
    if answer.code != 0:
        why = lines[-1] if lines else f"update.sh --report ended with {answer.code} and without a word"
        return Unanswered(host=answer.host, why=why.strip(), todo=remedy(answer))
    try:
        return read_report("\n".join(answer.out))
    except Unreadable as error:
        return Unanswered(host=answer.host, why=str(error), todo="")
