"""A walk second by second, for the picture: the worst latency, the failed requests, where each move began. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lab.figures import Move, Stepped
from lab.measure import Request, Window, overlapping

_MARGIN_SECONDS = 5.0

_SHORT = {
    "PREPARED": "prepare",
    "CERTIFICATE_GENERATION": "certificates",
    "POSTGRES_TLS_ENABLED": "Postgres",
    "PGBOUNCER_SERVER_TLS_SSLMODE": "server leg",
    "PGBOUNCER_CLIENT_TLS_SSLMODE": "client leg",
    "POSTGRES_FORCE_SSL": "force",
    "REDIS_TLS_ENABLED": "Redis",
    "REDIS_FORCE_TLS": "Redis: force",
    "DATABASE_SSL_MODE": "database",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """One second of a walk, `at` seconds from its beginning: the worst latency of the requests that were under way in
    it, milliseconds, and how many failed requests ended in it."""

    at: int
    worst_ms: float
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a move began, seconds from the walk's beginning."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One walk. A second in which no request was under way is left out."""

    title: str
    seconds: tuple[Second, ...]
    marks: tuple[Mark, ...]
    requests: int
    failed: int

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Timeline":
        """The inverse of `to_plain`."""
        return cls(
            title=plain["title"],
            seconds=tuple(Second(**second) for second in plain["seconds"]),
            marks=tuple(Mark(**mark) for mark in plain["marks"]),
            requests=plain["requests"],
            failed=plain["failed"],
        )


def timeline(title: str, steps: Sequence[Stepped], requests: Iterable[Request]) -> Timeline:
    """A walk through these moves, with a margin on both sides."""
    start = steps[0].window.start - _MARGIN_SECONDS
    window = Window(start=start, end=steps[-1].window.end + _MARGIN_SECONDS)
    within = overlapping(requests, window)
    return Timeline(
        title=title,
        seconds=_seconds(within, window),
        marks=tuple(Mark(at=round(step.window.start - start, 2), label=label(step.move)) for step in steps),
        requests=len(within),
        failed=sum(not request.ok for request in within),
    )


def label(move: Move) -> str:
    """A move in a word or two."""
    if move.key.startswith("apps."):
        _, app, variable = move.key.split(".")
        return f"{app}: {_SHORT[variable]}"
    if move.key == "PGBOUNCER_CLIENT_TLS_SSLMODE" and move.value == "require":
        return "require"
    return _SHORT[move.key]


def _seconds(requests: Iterable[Request], window: Window) -> tuple[Second, ...]:
    worst: dict[int, float] = {}
    failed: Counter[int] = Counter()
    last = math.ceil(window.seconds) - 1
    for request in requests:
        began, ended = (int(moment - window.start) for moment in (request.start, request.end))
        # A request that waits through an outage is as slow in each of its seconds.
        for second in range(max(0, began), min(last, ended) + 1):
            worst[second] = max(worst.get(second, 0.0), request.latency_ms)
        if not request.ok and ended <= last:
            failed[ended] += 1
    return tuple(Second(at=second, worst_ms=round(worst[second], 1), failed=failed[second]) for second in sorted(worst))
