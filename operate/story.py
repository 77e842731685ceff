"""What one `operate next` or `operate back` did, as data: what `--json` gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from operate.asking import Said
from operate.command import FORMAT
from operate.report import Finding
from operate.stopped import Stopped


@dataclass(slots=True, kw_only=True)
class Step:
    """One step. `diff` is the config's; `preview` None where none ran; `told` are the hosts' lines as they came."""

    finding: Finding
    diff: str
    asked: Sequence[Said] = ()
    preview: Sequence[str] | None = None
    told: list[tuple[str, str]] = field(default_factory=list)
    verified: Sequence[Said] = ()
    done: bool = False

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data; the finding as an environment of `operate check --json`."""
        return {
            **self.finding.to_plain(),
            "diff": self.diff,
            "asked": [one.to_plain() for one in self.asked],
            "preview": None if self.preview is None else list(self.preview),
            "told": [{"host": host, "line": line} for host, line in self.told],
            "verified": [one.to_plain() for one in self.verified],
            "done": self.done,
        }


@dataclass(slots=True, kw_only=True)
class Story:
    """All of it. `environment` is "" until it is known; `notes` are sentences on the whole."""

    environment: str = ""
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: Stopped | None = None

    def to_plain(self, command: str, code: int) -> dict[str, Any]:
        """As JSON-like data, with the exit code."""
        stopped = self.stopped
        return {
            "format": FORMAT,
            "command": command,
            "environment": self.environment,
            "code": code,
            "steps": [step.to_plain() for step in self.steps],
            "stopped": None
            if stopped is None
            else {"why": list(stopped.why), "stands": stopped.stands, "todo": stopped.todo},
            "notes": list(self.notes),
        }
