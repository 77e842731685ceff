"""The load sends each request once, records how it ended, and does not burst after a stall."""

import asyncio
import io
import json
import time
from functools import partial

from lab import load
from lab.load import Clock, Profile, Recorder

FAST = Profile(kind="postgres-short", clients=1, rate=100.0)


def recorder() -> Recorder:
    return Recorder(io.StringIO(), io.StringIO())


def written(one: Recorder) -> list[dict[str, object]]:
    one.flush()
    assert isinstance(one.requests, io.StringIO)
    return [json.loads(line) for line in one.requests.getvalue().splitlines()]


def test_a_failed_request_is_recorded_once_and_not_tried_again() -> None:
    calls: list[str] = []

    async def broken() -> None:
        calls.append("sent")
        raise ConnectionResetError("connection reset by peer\nmore detail")

    async def give_up() -> None:
        calls.append("gave up")

    one = recorder()
    asyncio.run(load.send(FAST, broken, give_up, one, Clock()))
    assert calls == ["sent", "gave up"]
    (entry,) = written(one)
    assert (entry["ok"], entry["error"]) == (False, "ConnectionResetError: connection reset by peer")


def test_a_request_that_succeeds_keeps_its_connection() -> None:
    async def works() -> None:
        await asyncio.sleep(0)

    async def give_up() -> None:
        raise AssertionError("a good connection was given up")

    one = recorder()
    asyncio.run(load.send(FAST, works, give_up, one, Clock()))
    (entry,) = written(one)
    assert entry["ok"] is True
    assert entry["error"] == ""


def test_after_a_stall_a_client_does_not_send_what_it_missed() -> None:
    stall, period, later = 0.2, 1 / FAST.rate, 20
    sent: list[float] = []

    async def scenario() -> None:
        ended = asyncio.Event()

        async def send_one() -> None:
            sent.append(time.monotonic())
            if len(sent) == 1:
                await asyncio.sleep(stall)
            elif len(sent) == 2 + later:
                ended.set()

        await load.pace(FAST, 0.0, send_one, ended)

    asyncio.run(scenario())
    # Twenty were missed in the stall. A burst would send them at its end; at the profile's pace they take as long.
    assert sent[-1] - sent[0] >= stall + later * period - 0.001


def test_a_client_ends_at_once_when_the_load_ends() -> None:
    async def scenario() -> None:
        ended = asyncio.Event()
        slow = Profile(kind="postgres-short", clients=1, rate=0.001)
        task = asyncio.create_task(load.pace(slow, 1000.0, partial(asyncio.sleep, 0), ended))
        await asyncio.sleep(0)
        ended.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(scenario())


def test_some_hundred_requests_a_second_are_sent_in_all() -> None:
    assert 100 <= sum(profile.clients * profile.rate for profile in load.PROFILES) <= 150
