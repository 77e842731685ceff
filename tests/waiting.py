"""Awaiting a condition in a test, in place of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def wait_until(what: str, holds: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Poll until `holds`; otherwise fail the test, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s until {what}")
        time.sleep(0.02)
