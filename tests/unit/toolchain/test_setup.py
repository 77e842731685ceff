"""What each purpose has set up: a deploy needs the engine and neither Docker nor the lab."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from toolchain import collector, dockerd, engine, golang, python_env, setup


@contextlib.contextmanager
def unlocked(*_: Any, **__: Any) -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    ("purpose", "had"),
    [("lint", ["python"]), ("deploy", ["python", "engine"]), ("test", ["python", "engine", "collector", "docker"])],
)
def test_a_purpose_has_set_up_what_it_needs_and_no_more(
    purpose: setup.Purpose, had: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(setup, "held", unlocked)
    monkeypatch.setattr(python_env, "ensure", lambda _: done.append("python"))
    monkeypatch.setattr(engine, "first_that_provides", lambda _: done.append("engine"))
    monkeypatch.setattr(engine, "record", lambda _: None)
    monkeypatch.setattr(collector, "ensure", lambda _: done.append("collector"))
    monkeypatch.setattr(golang, "forget", lambda: None)
    monkeypatch.setattr(dockerd, "ensure", lambda _: done.append("docker"))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    setup.run(purpose)
    assert done == had
