"""Which moves `operate next` and `operate back` make: pure, from the table of steps and from where a config stands.

Without `--track` the way is the whole one, as `rollout.path` has it: what both tracks share, Postgres, then Redis; back
in reverse. Rules are not asked here: an illegal move is refused where every move is judged.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from operate.errors import BadInput
from rollout.declared import Declared
from rollout.path import whole_way
from rollout.steps import GENERATION, TRACKS, Stage, length, rank, stages, variable_of

Direction = Literal["next", "back"]
Move = tuple[str, str]
"""A step variable's config key, and the value that it gets."""

_NUMBERED = re.compile(r"(?P<track>[a-z]+)[ :/]*(?P<number>\d+)(/\d+)?")
_GOAL = {"next": "end", "back": "start"}


def way(declared: Declared, direction: Direction, *, to: str = "", track: str = "") -> tuple[Move, ...]:
    """The moves in their order; () where there is nothing to do. Raises `BadInput` for a `to` that is no place.

    `to` is `end`, `start`, a track's step (`postgres 5`), `KEY=VALUE`, or "" for one move.
    """
    if track and track not in TRACKS:
        raise BadInput(f"--track {track}: there is no such track; there are {' and '.join(TRACKS)}")
    goal = " ".join(to.split())
    key, equals, value = goal.partition("=")
    if equals:
        return _to_value(declared, direction, key.strip(), value.strip(), track)
    numbered = _NUMBERED.fullmatch(goal)
    if numbered and numbered["track"] in TRACKS:
        return _to_number(declared, direction, numbered["track"], int(numbered["number"]), track)
    if goal not in ("", _GOAL[direction]):
        other = "back" if goal == _GOAL["back"] else "next"
        instead = f"operate {other} --to {goal} does" if goal in _GOAL.values() else _places(declared, direction)
        raise BadInput(f"--to {goal}: `operate {direction}` does not lead there; {instead}")
    found = tuple(_moves(_in_order(declared, track, direction), declared, direction))
    if not goal:
        return found[:1]
    # What the tracks share is given back with the last of them.
    return tuple(move for move in found if not (track and direction == "back" and _is_shared(move[0])))


def _in_order(declared: Declared, track: str, direction: Direction) -> Iterable[Stage]:
    found = stages(track, declared.settings) if track else whole_way(declared)
    return found if direction == "next" else tuple(reversed(found))


def _moves(found: Iterable[Stage], declared: Declared, direction: Direction) -> Iterator[Move]:
    for stage in found:
        stands = declared.settings[stage.key]
        if direction == "next" and not stage.done(declared.settings):
            yield stage.key, stage.row.target
        if direction == "back" and rank(stage.key, stands) > rank(stage.key, stage.lower):
            yield stage.key, stage.lower


def _to_number(declared: Declared, direction: Direction, track: str, number: int, asked: str) -> tuple[Move, ...]:
    if asked not in ("", track):
        raise BadInput(f"--to {track} {number}: it is no step of the track {asked}; leave --track out")
    if number > length(track):
        raise BadInput(f"--to {track} {number}: the last step of {track} is {length(track)}")
    chosen = [
        stage
        for stage in _in_order(declared, track, direction)
        if (stage.number <= number if direction == "next" else stage.number > number)
    ]
    return tuple(_moves(chosen, declared, direction))


def _to_value(declared: Declared, direction: Direction, key: str, value: str, asked: str) -> tuple[Move, ...]:
    if key not in declared.settings:
        near = difflib.get_close_matches(key, declared.settings, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the step variables are {', '.join(declared.settings)}"
        raise BadInput(f"--to {key}={value}: there is no such step variable here; {hint}")
    try:
        wanted = rank(key, value)
    except ValueError:
        values = ", ".join(variable_of(key).values) or "a whole number"
        raise BadInput(f"--to {key}={value}: {key} is one of {values}") from None
    stands = rank(key, declared.settings[key])
    if wanted == stands:
        return ()
    if (wanted > stands) is not (direction == "next"):
        other = "next" if direction == "back" else "back"
        raise BadInput(
            f"--to {key}={value}: it is {declared.settings[key]}, so that is the other way: operate {other} --to "
            f"{key}={value}"
        )
    track = asked or next(name for name in TRACKS if any(s.key == key for s in stages(name, declared.settings)))
    found = tuple(_moves(_in_order(declared, track, direction), declared, direction))
    if (key, value) in found:
        return found[: found.index((key, value)) + 1]
    # A value beside the way, such as a further generation: one move, for the rules to judge.
    return ((key, value),)


def _is_shared(key: str) -> bool:
    return all(any(row.key == key for row in rows) for rows in TRACKS.values())


def _places(declared: Declared, direction: Direction) -> str:
    steps = ", ".join(f"{name} 0…{length(name)}" for name in TRACKS)
    return f"places are {_GOAL[direction]}, {steps}, or KEY=VALUE such as {GENERATION}={declared.settings[GENERATION]}"
