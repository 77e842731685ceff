"""Text in aligned columns, each line within its width; colours come last, they have none."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

WIDTH = 120
_LEAST = 8

Paint = Callable[[str], str]
Cell = tuple[str, Paint | None]
"""A text and how it is painted."""


def plain(text: str) -> Cell:
    """An unpainted cell."""
    return text, None


def table(rows: Sequence[Sequence[Cell]], *, cut: int, indent: str = "  ") -> Iterator[str]:
    """The rows, each column as wide as its widest cell; lines end where their text ends.

    Where they would be too wide, the cells of the column `cut` lose their ends.
    """
    widths = [max(len(row[column][0]) for row in rows) for column in range(len(rows[0]))] if rows else []
    over = len(indent) + sum(widths) + 2 * (len(widths) - 1) - WIDTH
    if over > 0:
        widths[cut] = max(widths[cut] - over, _LEAST)
        rows = [[*row[:cut], _cut(row[cut], widths[cut]), *row[cut + 1 :]] for row in rows]
    for row in rows:
        filled = max((place for place, (text, _) in enumerate(row) if text), default=-1)
        cells = []
        for place, (text, paint) in enumerate(row[: filled + 1]):
            padding = " " * (widths[place] - len(text) if place < filled else 0)
            cells.append((paint(text) if paint and text else text) + padding)
        yield f"{indent}{'  '.join(cells)}"


def _cut(cell: Cell, width: int) -> Cell:
    text, paint = cell
    return (text if len(text) <= width else f"{text[: width - 1]}…"), paint


def wrapped(text: str, paint: Paint = str, *, first: str = "", further: str = "") -> list[str]:
    """A sentence in lines, each of them painted."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [paint(line) for line in lines]
