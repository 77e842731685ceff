"""Pulumi's mocks want the thread's own event loop, which a test that ran `asyncio.run` before has taken away."""

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def one_event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One for all tests of a worker: Pulumi keeps futures between them."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(autouse=True)
def event_loop_stands_ready(one_event_loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    asyncio.set_event_loop(one_event_loop)
    yield
    asyncio.set_event_loop(None)
