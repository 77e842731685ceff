"""Differences, what is not known, and hosts without an answer: as lines for a person, as data for a program. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from operate.command import FORMAT
from operate.differences import Declaration, Difference, Found
from operate.evidence import Position, Seen
from operate.palette import Palette
from operate.survey import Unanswered
from operate.table import wrapped

SOON_DAYS = 30
"""A certificate that ends within so many days is coloured; no exit code counts it."""


def difference_lines(differences: Sequence[Difference], palette: Palette) -> Iterator[str]:
    """Each with its reason and its command."""
    for one in differences:
        where = f"{one.host}  {one.hop}  " if one.host else f"{one.hop}  "
        what = f"{where}{one.key}: declared {one.declared}, served {one.served}"
        yield from wrapped(what, palette.bad, first="  ✗ ", further="      ")
        yield from wrapped(one.why, palette.faint, first="      ", further="      ")
        yield command_line(one.host if one.there else "", one.reconcile, palette)


def command_line(host: str, command: str, palette: Palette) -> str:
    """What mends, on its host or ("") here. Not wrapped: it is to be copied."""
    return f"      {palette.faint(f'on {host}:' if host else 'here:')} {palette.strong(command)}"


def unknown_lines(unknown: Sequence[Seen], palette: Palette) -> Iterator[str]:
    """What could not be told, and why."""
    for one in unknown:
        text = f"{one.host}  {one.hop}  {one.key}: {one.why}"
        yield from wrapped(text, palette.doubtful, first="  ? ", further="      ")


def unanswered_lines(unanswered: Sequence[Unanswered], palette: Palette) -> Iterator[str]:
    """Each with what to do."""
    for one in unanswered:
        yield from wrapped(f"{one.host}  {one.why}", palette.bad, first="  ! ", further="      ")
        if one.todo:
            yield from wrapped(one.todo, first="      ", further="      ")


def section(title: str, lines: Iterator[str], palette: Palette) -> Iterator[str]:
    """The lines under a title, nothing where there are none."""
    found = [*lines]
    if found:
        yield ""
        yield palette.strong(title)
        yield from found


def stack_line(declaration: Declaration) -> str:
    """What there is to say of the stack itself; "" where it was read and has a ledger."""
    if declaration.known is None:
        return (
            f"the stack {declaration.stack} can't be read, so that hosts are compared with the file: "
            f"{declaration.why_unread}"
        )
    if declaration.known.record is None:
        return f"nothing was ever applied in {declaration.stack}: its stack has no ledger yet"
    return ""


def head(command: str, environment: str, declaration: Declaration) -> dict[str, Any]:
    """How each object of the JSON begins."""
    return {
        "format": FORMAT,
        "command": command,
        "environment": environment,
        "stack": declaration.stack,
        "stackProblem": stack_line(declaration),
    }


def difference_plain(one: Difference) -> dict[str, Any]:
    """As JSON-like data."""
    return {
        "host": one.host,
        "hop": one.hop,
        "key": one.key,
        "declared": one.declared,
        "served": one.served,
        "why": one.why,
        "reconcile": {"on": one.host if one.there else "", "command": one.reconcile},
    }


def seen_plain(one: Seen) -> dict[str, Any]:
    """As JSON-like data."""
    return {"host": one.host, "hop": one.hop, "key": one.key, "value": one.value, "by": one.by, "why": one.why}


def found_plain(found: Found, unanswered: Sequence[Unanswered]) -> dict[str, Any]:
    """As JSON-like data."""
    return {
        "differences": [difference_plain(one) for one in found.differences],
        "unknown": [seen_plain(one) for one in found.unknown],
        "unanswered": [one.to_plain() for one in unanswered],
    }


def position_words(one: Position) -> str:
    """`postgres 5/7 on the wire, declared 5/7`; `5–6/7` where not all is known."""
    stands = f"{one.least}" if one.least == one.most else f"{one.least}–{one.most}"
    return f"{one.track} {stands}/{one.of} on the wire, declared {one.declared}/{one.of}"


def position_plain(one: Position) -> dict[str, Any]:
    """As JSON-like data."""
    return {
        "track": one.track,
        "least": one.least,
        "most": one.most,
        "of": one.of,
        "declared": one.declared,
        "unknown": [seen_plain(each) for each in one.unknown],
    }
