"""`operate drift`: only what differs from what was declared, each with the one command that reconciles it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from operate.command import Commands, add_command, show
from operate.differences import Found, find
from operate.findings import (
    difference_lines,
    found_plain,
    head,
    section,
    stack_line,
    unanswered_lines,
    unknown_lines,
)
from operate.palette import Palette
from operate.survey import Survey, Unanswered, add_options, survey, view_of
from operate.table import wrapped

EXIT_DIFFERS = 1
EXIT_UNKNOWN = 3

_HELP = """\
What is served otherwise than it was declared, and nothing else: the file against the stack, the stack against each
host's record, that record against what the host serves now and what a start of each of its servers would read. Each
difference comes with the one command that reconciles it. Nothing is changed.
"""

_AFTER = """\
exit codes:
  0    nothing differs
  1    something does
  2    bad input: unknown stack or host, unreadable file
  3    nothing differs as far as it could be told: a host, a server or the stack gave no answer, or an update is under
       way
  130  interrupted

examples:
  python -m operate drift --stack staging
  python -m operate drift --host database --json
"""


def add(commands: Commands) -> None:
    """Adds the command."""
    summary = "only what is served otherwise than declared, each with the command that reconciles it"
    parser = add_command(commands, "drift", run, summary=summary, description=_HELP, epilog=_AFTER)
    add_options(parser)


def run(chosen: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    look = survey(view_of(chosen), restart=True)
    found = find(look.declaration, look.reports)
    unanswered = (*look.unanswered, *_under_way(look))
    plain = {**head("drift", look.view.environment, look.declaration), **found_plain(found, unanswered)}
    show(chosen, plain, lambda palette: as_text(look, found, unanswered, palette))
    if found.differences:
        return EXIT_DIFFERS
    return EXIT_UNKNOWN if unanswered or found.unknown or look.declaration.known is None else 0


def _under_way(look: Survey) -> Iterator[Unanswered]:
    """Hosts between two states: what they report is not judged."""
    for host, report in look.reports.items():
        if report.under_way:
            yield Unanswered(host=host, why="an update is under way there", todo="wait for it to end, then ask again")


def as_text(look: Survey, found: Found, unanswered: Sequence[Unanswered], palette: Palette) -> Iterator[str]:
    """The verdict first, then each of them."""
    yield f"{palette.strong(look.view.environment)}: {_verdict(look, found, unanswered, palette)}"
    yield from wrapped(stack_line(look.declaration), palette.doubtful, first="  ", further="  ")
    yield from difference_lines(found.differences, palette)
    yield from section("not known", unknown_lines(found.unknown, palette), palette)
    yield from section("no answer", unanswered_lines(unanswered, palette), palette)


def _verdict(look: Survey, found: Found, unanswered: Sequence[Unanswered], palette: Palette) -> str:
    answered = f"{len(look.view.hosts) - len(unanswered)} of {len(look.view.hosts)} hosts judged"
    count = len(found.differences)
    if count:
        return palette.bad(f"{count} difference{'' if count == 1 else 's'}; {answered}")
    if unanswered or found.unknown or look.declaration.known is None:
        return palette.doubtful(f"nothing differs as far as it could be told; {answered}")
    return palette.good(f"nothing differs; {answered}")
