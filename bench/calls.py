"""Calls in progress while telpro is flipped: set up before the move, ended after it, counted by the call."""

from dataclasses import dataclass, field
from typing import Any

from lab.figures import Move, Stepped
from lab.lab import Lab
from lab.sip import Calls
from lab.walk import Take

_APP = "apps.telpro."
_CALLS = 20
# Longer than the move takes, so that no call ends while telpro is away; one that would still loses nothing by it.
_SECONDS = 25.0


@dataclass(slots=True)
class AcrossTelpro:
    """Put around the moves of a walk; one object a flip of telpro in `outcomes`."""

    lab: Lab
    outcomes: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, move: Move, take: Take) -> Stepped:
        """The move, with calls in progress where it is telpro's."""
        if not move.key.startswith(_APP):
            return take()
        calls = Calls(self.lab, count=_CALLS, seconds=_SECONDS)
        calls.start()
        stepped = take()
        outcome = calls.finish()
        self.outcomes.append(
            {
                "step": move.title,
                "direction": move.direction,
                "calls": outcome.calls,
                "failed": outcome.calls - outcome.completed,
            }
        )
        return stepped
