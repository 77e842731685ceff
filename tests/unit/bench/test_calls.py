"""Calls are in progress while telpro is flipped, and only then; those that did not end as they should are counted."""

import pytest

from bench import calls
from bench.calls import AcrossTelpro
from lab.figures import Move, Stepped
from lab.lab import Lab
from lab.measure import Window
from lab.sip import Outcome


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []

    class Calls:
        def __init__(self, lab: Lab, *, count: int, seconds: float) -> None:
            self.count = count

        def start(self) -> None:
            lines.append("calls are established")

        def finish(self) -> Outcome:
            lines.append("calls have ended")
            return Outcome(calls=self.count, completed=self.count - 2)

    monkeypatch.setattr(calls, "Calls", Calls)
    return lines


def taken(key: str, happened: list[str]) -> AcrossTelpro:
    move = Move(key=key, value="true", direction="forward")

    def take() -> Stepped:
        happened.append("the move")
        return Stepped(move=move, changed=1, seconds=1, window=Window(start=0, end=1))

    across = AcrossTelpro(Lab("unit"))
    assert across(move, take).move is move
    return across


def test_calls_are_in_progress_across_a_flip_of_telpro(happened: list[str]) -> None:
    (outcome,) = taken("apps.telpro.REDIS_TLS_ENABLED", happened).outcomes
    assert happened == ["calls are established", "the move", "calls have ended"]
    assert (outcome["step"], outcome["direction"]) == ("apps.telpro.REDIS_TLS_ENABLED=true", "forward")
    assert outcome["failed"] == 2 < outcome["calls"]


def test_no_call_waits_for_a_flip_of_another_app(happened: list[str]) -> None:
    assert taken("apps.api.REDIS_TLS_ENABLED", happened).outcomes == []
    assert happened == ["the move"]
