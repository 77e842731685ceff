"""The figures of a walked rollout: one object a move, from the requests that clients sent. Pure.

A round is gone through without a pause and ends in one quiet stretch, at least twice as long as its longest move. Each
move is compared with a window of its own length from its round's stretch, and that window with a second one that lies
beside it: what differs between two quiet windows is the noise (`lab.measure`).
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.measure import LoadInvalid, Request, Window, by_kind, measure_step, noise_ms, overlapping, quiet_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One deploy: a variable set to a value, forward or back."""

    key: str
    value: str
    direction: str

    @property
    def title(self) -> str:
        """How it is shown."""
        return f"{self.key}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """A move that was made: what it changed (resources, or containers), how long it took, and its window."""

    move: Move
    changed: int
    seconds: float
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Moves one after another, and the quiet stretch that they are compared with."""

    steps: tuple[Stepped, ...]
    quiet: Window

    @property
    def window(self) -> Window:
        """From the first move to the end of the quiet stretch."""
        return Window(start=min(self.steps[0].window.start, self.quiet.start), end=self.quiet.end)


def quiet_seconds(steps: Iterable[Stepped]) -> float:
    """How long a round's quiet stretch has to be: two windows of its longest move side by side."""
    # A little more, so that a rounding error never costs the second window.
    return 2 * max(step.window.seconds for step in steps) + 0.1


def rows(walked: Iterable[Round], requests: Sequence[Request]) -> list[dict[str, Any]]:
    """One object a move, as `design.md` names the fields, with the noise beside the added stall."""
    return [row for one in walked for row in _rows(one, overlapping(requests, one.window))]


def _rows(one: Round, requests: Sequence[Request]) -> list[dict[str, Any]]:
    return [
        {
            "step": step.move.title,
            "direction": step.move.direction,
            "changed": step.changed,
            **measure_step(requests, step.window, quiet),
            "seconds": round(step.seconds, 2),
            "noise_ms": noise_ms(requests, quiet, other),
        }
        for step in one.steps
        for quiet, other in [_two_windows(one.quiet, step.window.seconds)]
    ]


def _two_windows(stretch: Window, seconds: float) -> tuple[Window, Window]:
    found = quiet_windows(stretch, seconds)
    if len(found) < 2:
        raise LoadInvalid(
            f"a quiet stretch of {stretch.seconds:.1f} s has no room for two windows of {seconds:.1f} s: "
            "there is nothing to compare the move with"
        )
    return found[0], found[1]


_OVER_ROUNDS: dict[str, Callable[[Sequence[float]], float]] = {
    "changed": max,
    "seconds": statistics.median,
    "requests": sum,
    "failed": sum,
    "worst_ms": max,
    "p99_ms": statistics.median,
    "quiet_worst_ms": max,
    "added_stall_ms": statistics.median,
    "noise_ms": statistics.median,
}


def over_rounds(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One object a move and direction: counts added up, worst cases kept, times and stalls as medians."""
    moves = dict.fromkeys((row["step"], row["direction"]) for row in measured)
    result = []
    for step, direction in moves:
        same = [row for row in measured if (row["step"], row["direction"]) == (step, direction)]
        folded = {key: round(fold([row[key] for row in same]), 2) for key, fold in _OVER_ROUNDS.items()}
        result.append({"step": step, "direction": direction, "rounds": len(same), **folded})
    return result


# What one request of a kind is, by the kind or the first word of its name.
_UNITS = {
    "postgres-backup": "dump",
    "http": "HTTP request",
    "sip": "SIP transaction",
    "call": "call",
    "postgres": "transaction",
    "redis": "set and get",
}


def unit(kind: str) -> str:
    """What is counted for a kind of client. Raises ValueError for a kind that has no unit."""
    found = _UNITS.get(kind) or _UNITS.get(kind.split("-")[0])
    if found is None:
        raise ValueError(f"{kind}: nobody said what one request of it is; add it to the units")
    return found


def totals(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """One object a kind of client, each counted in its own unit."""
    return [
        {
            "kind": kind,
            "unit": unit(kind),
            "requests": found.requests,
            "failed": found.failed,
            "worst_ms": round(found.worst_ms, 1),
            "p99_ms": round(found.p99_ms, 1),
        }
        for kind, found in by_kind(requests).items()
    ]


MOVES = {
    "step": "step",
    "direction": "direction",
    "changed": "changed",
    "seconds": "seconds",
    "requests": "requests",
    "failed": "failed",
    "worst_ms": "worst ms",
    "p99_ms": "p99 ms",
    "added_stall_ms": "added stall ms",
    "noise_ms": "noise ms",
}
KINDS = {
    "kind": "client",
    "unit": "counted in",
    "requests": "sent",
    "failed": "failed",
    "worst_ms": "worst ms",
    "p99_ms": "p99 ms",
}


def table(measured: Sequence[dict[str, Any]], columns: dict[str, str]) -> str:
    """Rows for a terminal; the first two columns are words, the others figures."""
    cells = [list(columns.values()), *([str(row[key]) for key in columns] for row in measured)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def failures(steps: Sequence[Stepped], requests: Iterable[Request]) -> list[str]:
    """Each failed request in a sentence: when, in which move, who, why."""
    return [
        f"{request.kind} failed after {request.ms:.0f} ms, {_where(steps, request)}: {request.error}"
        for request in requests
        if not request.ok
    ]


def _where(steps: Sequence[Stepped], request: Request) -> str:
    for step in steps:
        if request.start < step.window.end and request.end > step.window.start:
            return f"{request.end - step.window.start:.1f} s into {step.move.direction} {step.move.title}"
    return "outside of any step"
