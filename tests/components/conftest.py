"""Pulumi's mocks want the thread's own event loop, which a test that ran `asyncio.run` before has taken away."""

import asyncio

import pytest


@pytest.fixture(autouse=True)
def an_event_loop_stands_ready() -> None:
    """One loop for all tests of a worker: Pulumi keeps futures between them."""
    try:
        asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())
