"""What happened, written down in small batches, so that writing does not disturb the clients."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .profiles import Profile


class Clock:
    """Unix time that follows the monotonic clock from one reading on."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970, never going back."""
        return time.monotonic() + self._offset


@dataclass(slots=True)
class Recorder:
    """Collects what happened until it is flushed."""

    requests: TextIO
    lags: TextIO
    worst_lag: float = 0.0
    pending: list[str] = field(default_factory=list)

    def request(self, profile: Profile, start: float, ms: float, error: BaseException | None) -> None:
        """One request that ended."""
        entry = {
            "kind": profile.kind,
            "start": round(start, 6),
            "ms": round(ms, 3),
            "intended_ms": profile.intended_ms,
            "ok": error is None,
            "error": describe(error),
        }
        self.pending.append(json.dumps(entry))

    def flush(self) -> None:
        """Write what has been collected."""
        lines, self.pending = self.pending, []
        if lines:
            self.requests.write("\n".join(lines) + "\n")
            self.requests.flush()

    def lag(self, start: float) -> None:
        """Write the worst lag since the last call."""
        self.lags.write(json.dumps({"start": round(start, 3), "ms": round(self.worst_lag * 1000, 3)}) + "\n")
        self.lags.flush()
        self.worst_lag = 0.0


def describe(error: BaseException | None) -> str:
    """An error's class and first line, for the report. Drivers put no password into their messages."""
    if error is None:
        return ""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__


def write_status(directory: Path, status: dict[str, Any]) -> None:
    """Replace status.json, whole."""
    fresh = directory / ".status.json.new"
    fresh.write_text(json.dumps(status) + "\n")
    fresh.replace(directory / "status.json")
