"""What a step cost, from the requests that clients sent while it ran. Pure.

A step is measured against quiet windows of the same length in the same round, because a machine's own noise (two cores
under load) is of the same order as what is measured. Rules:

* a request counts in a window when it overlaps it: it started before the window's end and ended after its start. A
  request that began before the step and failed in it is the step's;
* the latency of a request is what it took beyond what it is meant to take (a long transaction sleeps on purpose);
* a window without requests, a quiet window with a failure, and windows of different lengths are no measurement: they
  raise LoadInvalid, because a number from them would look like a pass.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


class LoadInvalid(Exception):
    """The load proves nothing here. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: `start` in Unix seconds, `ms` what it took, `intended_ms` what it is meant to take."""

    kind: str
    start: float
    ms: float
    ok: bool
    intended_ms: float = 0.0
    error: str = ""

    @property
    def end(self) -> float:
        """Unix seconds."""
        return self.start + self.ms / 1000

    @property
    def latency_ms(self) -> float:
        """What it took beyond what it is meant to take, never below zero."""
        return max(0.0, self.ms - self.intended_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time, Unix seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The requests of one window. Latencies in milliseconds."""

    requests: int
    failed: int
    worst_ms: float
    p99_ms: float


def parse_requests(text: str) -> list[Request]:
    """The requests in a requests.jsonl. A last line without its end was being written and is left out."""
    complete = text[: text.rfind("\n") + 1]
    return [_request(json.loads(line)) for line in complete.splitlines() if line]


def _request(entry: dict[str, Any]) -> Request:
    return Request(
        kind=str(entry["kind"]),
        start=float(entry["start"]),
        ms=float(entry["ms"]),
        ok=bool(entry["ok"]),
        intended_ms=float(entry["intended_ms"]),
        error=str(entry["error"]),
    )


def overlapping(requests: Iterable[Request], window: Window) -> list[Request]:
    """The requests that were under way at some time in the window."""
    return [request for request in requests if request.start < window.end and request.end > window.start]


def summarize(requests: Iterable[Request], window: Window) -> Summary:
    """Count a window. Raises LoadInvalid when nothing was sent in it."""
    chosen = overlapping(requests, window)
    if not chosen:
        raise LoadInvalid(f"no request was sent within {window.seconds:.1f} s: the load does not run")
    return _summary(chosen)


def by_kind(requests: Iterable[Request]) -> dict[str, Summary]:
    """Each kind's requests counted by themselves, kinds in the order of their names."""
    kinds: dict[str, list[Request]] = {}
    for request in requests:
        kinds.setdefault(request.kind, []).append(request)
    return {kind: _summary(kinds[kind]) for kind in sorted(kinds)}


def _summary(chosen: Sequence[Request]) -> Summary:
    latencies = sorted(request.latency_ms for request in chosen)
    return Summary(
        requests=len(chosen),
        failed=sum(not request.ok for request in chosen),
        worst_ms=latencies[-1],
        p99_ms=percentile(latencies, 0.99),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank). `ordered` ascends."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def quiet_summary(requests: Iterable[Request], window: Window) -> Summary:
    """A quiet window's summary. Raises LoadInvalid when a request failed in it: then it is not quiet."""
    chosen = overlapping(requests, window)
    failures = [request for request in chosen if not request.ok]
    if failures:
        first = failures[0]
        raise LoadInvalid(
            f"{len(failures)} of {len(chosen)} requests failed in a quiet window, {first.kind} first ({first.error}): "
            "what a step adds can't be told from that"
        )
    return summarize(chosen, window)


def measure_step(requests: Sequence[Request], step: Window, quiet: Window) -> dict[str, float | int]:
    """What a step cost: the measured fields of a step's object in `build/*.json`.

    Raises LoadInvalid when the windows differ in length by over a tenth, nothing was sent, or the quiet one was not.
    """
    _same_length(step, quiet)
    during = summarize(requests, step)
    before = quiet_summary(requests, quiet)
    return {
        "seconds": round(step.seconds, 2),
        "requests": during.requests,
        "failed": during.failed,
        "worst_ms": round(during.worst_ms, 1),
        "p99_ms": round(during.p99_ms, 1),
        "quiet_worst_ms": round(before.worst_ms, 1),
        "added_stall_ms": round(during.worst_ms - before.worst_ms, 1),
    }


def noise_ms(requests: Sequence[Request], one: Window, other: Window) -> float:
    """How far the worst latencies of two quiet windows of one length lie apart, milliseconds.

    An added stall has to exceed it to mean anything. Raises LoadInvalid as `measure_step` does.
    """
    _same_length(one, other)
    return round(abs(quiet_summary(requests, one).worst_ms - quiet_summary(requests, other).worst_ms), 1)


def check_kinds(requests: Iterable[Request], expected: Iterable[str]) -> None:
    """Raise LoadInvalid when a kind of client sent nothing at all."""
    silent = sorted(set(expected) - {request.kind for request in requests})
    if silent:
        raise LoadInvalid(f"these clients sent nothing: {', '.join(silent)}")


def quiet_windows(within: Window, seconds: float) -> list[Window]:
    """The windows of that length that fit one after another into a quiet stretch."""
    count = int(within.seconds / seconds) if seconds > 0 else 0
    return [
        Window(start=within.start + number * seconds, end=within.start + (number + 1) * seconds)
        for number in range(count)
    ]


def _same_length(one: Window, other: Window) -> None:
    if one.seconds <= 0 or abs(one.seconds - other.seconds) > 0.1 * one.seconds:
        raise LoadInvalid(f"windows of {one.seconds:.1f} s and {other.seconds:.1f} s can't be compared")
