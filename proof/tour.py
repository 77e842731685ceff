"""A walk of legal moves that makes every kind of move at least once. Pure: it is chosen from the rules alone.

From where it stands it goes the shortest legal way to a kind that was not made yet, the next in the table where several
are as near; that way may need moves that were made before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

from proof.space import Kind, legal_moves
from rollout.declared import Declared
from rollout.path import behind, with_value
from rollout.steps import generic

Way = tuple[tuple[str, str], ...]


def tour(start: Declared, kinds: Collection[Kind]) -> Way:
    """Moves from `start` that make every one of `kinds` that legal moves lead to, and then back to the start."""
    walked: list[tuple[str, str]] = []
    left, here = set(kinds), start
    while left:
        way = _to_a_new_kind(here, left)
        if not way:
            break
        for key, value in way:
            left.discard(_kind(here, key, value))
            here = with_value(here, key, value)
        walked += way
    return (*walked, *behind(here))


def made(start: Declared, way: Way) -> Iterator[Kind]:
    """The kinds of a way's moves."""
    for key, value in way:
        yield _kind(start, key, value)
        start = with_value(start, key, value)


def _kind(here: Declared, key: str, value: str) -> Kind:
    return Kind(key=generic(key), before=here.settings[key], after=value)


def _to_a_new_kind(start: Declared, left: Collection[Kind]) -> Way:
    seen = {tuple(start.settings.values())}
    queue: deque[tuple[Declared, Way]] = deque([(start, ())])
    while queue:
        here, way = queue.popleft()
        for key, value in legal_moves(here):
            if _kind(here, key, value) in left:
                return (*way, (key, value))
            there = with_value(here, key, value)
            state = tuple(there.settings.values())
            if state not in seen:
                seen.add(state)
                queue.append((there, (*way, (key, value))))
    return ()
