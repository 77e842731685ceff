"""Sending at a pace: each request once, recorded with how it ended; no burst after a stall."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from .profiles import Profile
from .recording import Clock, Recorder, describe

# A request that takes longer has failed. Above PgBouncer's server_login_retry of 15 s, so that such a stall shows as
# what it is: a latency of 15 s.
BOUND_SECONDS = 30.0
_TICK = 0.02

Operation = Callable[[], Awaitable[None]]


async def send(profile: Profile, operation: Operation, give_up: Operation, recorder: Recorder, clock: Clock) -> None:
    """Send one request and record how it ended."""
    start = clock.now()
    error: BaseException | None = None
    try:
        async with asyncio.timeout(BOUND_SECONDS + profile.intended_ms / 1000):
            await operation()
    except Exception as raised:
        error = raised
    # Recorded before the connection is given up: that time is nobody's latency.
    recorder.request(profile, start, (clock.now() - start) * 1000, error)
    if error is not None:
        try:
            async with asyncio.timeout(2):
                await give_up()
        except Exception as raised:
            print(f"closing a broken connection: {describe(raised)}", flush=True)


async def pace(profile: Profile, offset: float, send_one: Operation, ended: asyncio.Event) -> None:
    """Send at the profile's rate until `ended`. A request that was late is not made up for: clients don't burst."""
    due = time.monotonic() + offset
    while not ended.is_set():
        wait = due - time.monotonic()
        if wait > 0:
            try:
                async with asyncio.timeout(wait):
                    await ended.wait()
            except TimeoutError:
                pass
            else:
                return
        await send_one()
        due = max(due + 1 / profile.rate, time.monotonic())


async def watch_lag(recorder: Recorder, clock: Clock, ended: asyncio.Event) -> None:
    """Measure how late this process wakes up: what it was late itself it must not blame on a server."""
    second = time.monotonic()
    while not ended.is_set():
        before = time.monotonic()
        await asyncio.sleep(_TICK)
        recorder.worst_lag = max(recorder.worst_lag, time.monotonic() - before - _TICK)
        if time.monotonic() - second >= 1:
            second = time.monotonic()
            recorder.lag(clock.now())
