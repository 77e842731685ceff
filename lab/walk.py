"""Walking a rollout on a lab: one `pulumi up` a step, forward and back, while the load runs, each step measured.

The load starts once; before and after every step it is left alone for as long as the step took, so that what the step
adds is told from what the machine does by itself (`lab.measure`).
"""

import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.lab import Lab
from lab.measure import Request, Window, measure_step, noise_ms
from lab.traffic import Traffic
from rollout.steps import offered_steps
from toolchain.progress import Progress, part

_UP_SECONDS = 300.0
_SETTLE_SECONDS = 1.0
"""After a step's command has ended its requests still count: an outage that begins late must not be missed."""


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
    """A measured step: its window, and the two quiet windows of the same length that follow it."""

    move: Move
    changed: int
    seconds: float
    window: Window
    quiet: tuple[Window, Window]


def forward() -> list[Move]:
    """Every offered step to its target, in order."""
    return [Move(key=step.key, value=step.target, direction="forward") for step in offered_steps()]


def back() -> list[Move]:
    """Every offered step to its initial value, last one first."""
    return [Move(key=step.key, value=step.initial, direction="back") for step in reversed(offered_steps())]


class Walker:
    """Runs `pulumi` on a lab's stack. Output is kept in the lab's folder and shown only where a command fails."""

    def __init__(self, lab: Lab, *, progress: Progress = part) -> None:
        self.lab = lab
        self._progress = progress

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        """A `pulumi` command's output. Raises LabError, with the output, when it fails (or, with `fails`, does not)."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color", "never", *arguments],
            cwd=self.lab.layout.project,
            env={**os.environ, **self.lab.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_UP_SECONDS,
            check=False,
        )
        if (done.returncode != 0) is not fails:
            so = "failed" if not fails else "did not fail"
            raise LabError(f"`pulumi {' '.join(arguments)}` {so}:\n{done.stdout}")
        return done.stdout

    def set(self, key: str, value: str) -> None:
        """One line of the stack's config."""
        self.pulumi("config", "set", key, value)

    def up(self) -> int:
        """`pulumi up`; how many resources changed."""
        return changed_resources(self.pulumi("up", "--yes", "--skip-preview"))

    def to_start(self) -> None:
        """Have the servers running with every step at its initial value, wherever the stack stands."""
        with self._progress("deploying the servers in plaintext (pulumi up)"):
            self.up()
        for move in back():
            self.set(move.key, move.value)
            self.up()

    def step(self, move: Move, traffic: Traffic) -> Stepped:
        """One measured step. Raises LabError when it fails."""
        with self._progress(f"{move.direction}: {move.title}"):
            self.set(move.key, move.value)
            start = time.time()
            changed = self.up()
            seconds = time.time() - start
            window = Window(start=start, end=start + seconds + _SETTLE_SECONDS)
            time.sleep(max(0.0, window.end - time.time()))
            quiet = (traffic.quiet(window.seconds), traffic.quiet(window.seconds))
        return Stepped(move=move, changed=changed, seconds=seconds, window=window, quiet=quiet)

    def rounds(self, count: int, traffic: Traffic) -> Iterator[Stepped]:
        """All the way forward and all the way back, `count` times."""
        for _ in range(count):
            for move in [*forward(), *back()]:
                yield self.step(move, traffic)


def changed_resources(output: str) -> int:
    """How many resources an `up` created, updated, replaced or deleted, from its closing summary."""
    summary = output[output.rfind("Resources:") :] if "Resources:" in output else ""
    return sum(int(n) for n in re.findall(r"(\d+) (?:created|updated|replaced|deleted)", summary))


def rows(steps: Sequence[Stepped], requests: Sequence[Request]) -> list[dict[str, Any]]:
    """One object a step, as `design.md` names the fields, with the noise beside the added stall."""
    return [
        {
            "step": step.move.title,
            "direction": step.move.direction,
            "changed": step.changed,
            **measure_step(requests, step.window, step.quiet[0]),
            "seconds": round(step.seconds, 2),
            "noise_ms": noise_ms(requests, *step.quiet),
        }
        for step in steps
    ]


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
    """One object a step and direction: counts added up, worst cases kept, times and stalls as medians."""
    kinds = dict.fromkeys((row["step"], row["direction"]) for row in measured)
    result = []
    for step, direction in kinds:
        same = [row for row in measured if (row["step"], row["direction"]) == (step, direction)]
        folded = {key: round(fold([row[key] for row in same]), 2) for key, fold in _OVER_ROUNDS.items()}
        result.append({"step": step, "direction": direction, "rounds": len(same), **folded})
    return result


COLUMNS = {
    "step": "step",
    "direction": "direction",
    "changed": "resources changed",
    "seconds": "seconds",
    "requests": "requests",
    "failed": "failed",
    "worst_ms": "worst latency ms",
    "added_stall_ms": "added stall ms",
    "noise_ms": "noise ms",
}


def table(measured: Sequence[dict[str, Any]]) -> str:
    """The rows for a terminal."""
    cells = [list(COLUMNS.values()), *([str(row[key]) for key in COLUMNS] for row in measured)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def failures(steps: Sequence[Stepped], requests: Sequence[Request]) -> list[str]:
    """Each failed request in a sentence: when, in which step, who, why."""
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


def report_path(lab: Lab, name: str) -> Path:
    """`build/NAME.json`; another lab than the demo's writes beside it, under its own name."""
    return lab.layout.root.parent / f"{name}.json"
