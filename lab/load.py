"""The load: what clients of the servers do all day. Runs on the app host as a program of its own, copied there.

    python3 load.py --directory /lab/load/run --passwords /lab/load --database db.lab.internal --seconds 600

Clients of PostgreSQL go through PgBouncer: short transactions on connections that are kept, long transactions, sessions
that stay connected and say little, and clients that connect anew each time. Clients of Redis set and get, on kept
connections and on new ones. **Nobody retries.** A client whose connection broke opens another one for its *next*
request, and the time that takes is part of that request's latency.

Written to the directory, one JSON object a line, whole and in the order in which they ended:

    requests.jsonl  {"kind", "start", "ms", "intended_ms", "ok", "error"}
    lag.jsonl       {"start", "ms"}: how late this process itself was, its worst in each second
    status.json     {"state": "running" | "finished", "started", "ended"}, ended only when finished

`start` is Unix time in seconds, taken from the monotonic clock, so that it never jumps. `intended_ms` is what a request
is meant to take (a long transaction sleeps): what counts as latency is what it took beyond that.
A file `stop` in the directory ends the load; each request that is under way is completed first.
Passwords are read from the files `postgres_password` and `redis_password`.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import psycopg
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

# A request that takes longer has failed. Above PgBouncer's server_login_retry of 15 s, so that such a stall shows as
# what it is: a latency of 15 s.
BOUND_SECONDS = 30.0
CONNECT_SECONDS = 20
LONG_SECONDS = 1.5
_TICK = 0.02
_FLUSH = 0.25

Operation = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How many clients of a kind there are, and how many requests a second each of them sends."""

    kind: str
    clients: int
    rate: float
    intended_ms: float = 0.0


# Some 110 requests a second in all: two cores that also run the servers stay mostly idle.
PROFILES = (
    Profile(kind="postgres-short", clients=8, rate=5.0),
    Profile(kind="postgres-long", clients=2, rate=0.5, intended_ms=LONG_SECONDS * 1000),
    Profile(kind="postgres-session", clients=4, rate=1.0),
    Profile(kind="postgres-connect", clients=3, rate=4.0),
    Profile(kind="redis-short", clients=4, rate=10.0),
    Profile(kind="redis-connect", clients=2, rate=5.0),
)


class Clock:
    """Unix time that follows the monotonic clock from one reading on."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970, never going back."""
        return time.monotonic() + self._offset


@dataclass(slots=True)
class Recorder:
    """Collects what happened and writes it in small batches, so that writing does not disturb the clients."""

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


class PostgresClient:
    """One client of PgBouncer, with at most one connection."""

    def __init__(self, conninfo: str, number: int, *, keep: bool) -> None:
        self._conninfo = conninfo
        self._number = number
        self._keep = keep
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def short(self) -> None:
        """A transaction of two statements; the counter must have grown by exactly what this client added."""
        connection = await self._connected()
        async with connection.transaction():
            before = await self._counter(connection)
            done = await connection.execute(
                "UPDATE lab_load SET n = n + 1 WHERE client = %s RETURNING n", (self._number,)
            )
            row = await done.fetchone()
            if row is None or row[0] != before + 1:
                raise RuntimeError("an update was lost")
        await self._done()

    async def long(self) -> None:
        """A transaction that holds its server connection for a while."""
        connection = await self._connected()
        async with connection.transaction():
            await connection.execute("SELECT pg_sleep(%s)", (LONG_SECONDS,))
        await self._done()

    async def query(self) -> None:
        """One statement outside of an explicit transaction."""
        connection = await self._connected()
        await connection.execute("SELECT 1")
        await self._done()

    async def close(self) -> None:
        """Give the connection up; the next request opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _counter(self, connection: psycopg.AsyncConnection[Any]) -> int:
        found = await connection.execute("SELECT n FROM lab_load WHERE client = %s", (self._number,))
        row = await found.fetchone()
        if row is None:
            raise RuntimeError("the client's row is gone")
        return int(row[0])

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None:
            # No prepared statements: behind a transaction pool the next transaction meets another server connection.
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, prepare_threshold=None
            )
        return self._connection

    async def _done(self) -> None:
        if not self._keep:
            await self.close()


class RedisClient:
    """One client of Redis, with at most one connection."""

    def __init__(self, address: dict[str, Any], number: int, *, keep: bool) -> None:
        self._address = address
        self._number = number
        self._keep = keep
        self._client: redis.asyncio.Redis | None = None

    async def set_and_get(self) -> None:
        """Write a value and read the same one back."""
        if self._client is None:
            # redis-py retries by itself unless told not to.
            once = Retry(NoBackoff(), 0)
            self._client = redis.asyncio.Redis(**self._address, single_connection_client=True, retry=once)
        value = str(time.monotonic_ns())
        await self._client.set(f"lab:load:{self._number}", value, ex=600)
        read = await self._client.get(f"lab:load:{self._number}")
        if read != value.encode():
            raise RuntimeError("a written value was not read back")
        if not self._keep:
            await self.close()

    async def close(self) -> None:
        """Give the connection up; the next request opens another one."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


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


async def watch_end(stop: Path, seconds: float, recorder: Recorder, ended: asyncio.Event) -> None:
    """Set `ended` when the stop file appears or the time is over; write the batches meanwhile."""
    deadline = time.monotonic() + seconds
    while not stop.exists() and time.monotonic() < deadline:
        await asyncio.sleep(_FLUSH)
        recorder.flush()
    ended.set()


async def prepare(conninfo: str, clients: int) -> None:
    """The table that short transactions count in, one row a client."""
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS lab_load (client int PRIMARY KEY, n bigint NOT NULL)")
        await connection.execute(
            "INSERT INTO lab_load SELECT i, 0 FROM generate_series(0, %s) i ON CONFLICT DO NOTHING", (clients,)
        )


def operations(kind: str, number: int, conninfo: str, redis_address: dict[str, Any]) -> tuple[Operation, Operation]:
    """What a client of that kind does for a request, and how it gives its connection up."""
    keep = not kind.endswith("-connect")
    if kind.startswith("redis-"):
        cache = RedisClient(redis_address, number, keep=keep)
        return cache.set_and_get, cache.close
    client = PostgresClient(conninfo, number, keep=keep)
    chosen = {"postgres-long": client.long, "postgres-session": client.query}.get(kind, client.short)
    return chosen, client.close


async def run(arguments: argparse.Namespace) -> None:
    """Send until the time is over or the stop file appears."""
    directory: Path = arguments.directory
    clock = Clock()
    conninfo = psycopg.conninfo.make_conninfo(
        host=arguments.database,
        port=arguments.postgres_port,
        user="voiceai",
        dbname="voiceai",
        password=read_password(arguments.passwords / "postgres_password"),
        sslmode="disable",
        connect_timeout=CONNECT_SECONDS,
        application_name="lab-load",
    )
    redis_address = {
        "host": arguments.database,
        "port": arguments.redis_port,
        "password": read_password(arguments.passwords / "redis_password"),
        "socket_timeout": BOUND_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
    }
    numbered = list(enumerate(profile for profile in PROFILES for _ in range(profile.clients)))
    await prepare(conninfo, len(numbered))
    ended = asyncio.Event()
    with (directory / "requests.jsonl").open("w") as requests, (directory / "lag.jsonl").open("w") as lags:
        recorder = Recorder(requests, lags)
        started = clock.now()
        write_status(directory, {"state": "running", "started": started})
        closing: list[Operation] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(watch_end(directory / "stop", arguments.seconds, recorder, ended))
            group.create_task(watch_lag(recorder, clock, ended))
            for number, profile in numbered:
                operation, give_up = operations(profile.kind, number, conninfo, redis_address)
                send_one = partial(send, profile, operation, give_up, recorder, clock)
                closing.append(give_up)
                # Clients start apart from each other, as clients do.
                group.create_task(pace(profile, number * 0.037, send_one, ended))
        recorder.flush()
        await asyncio.gather(*(give_up() for give_up in closing), return_exceptions=True)
    write_status(directory, {"state": "finished", "started": started, "ended": clock.now()})


def read_password(path: Path) -> str:
    """The password in a file of one line."""
    return path.read_text().strip()


def write_status(directory: Path, status: dict[str, Any]) -> None:
    """Replace status.json, whole."""
    fresh = directory / ".status.json.new"
    fresh.write_text(json.dumps(status) + "\n")
    fresh.replace(directory / "status.json")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="The lab's load.")
    parser.add_argument(
        "--directory", type=Path, required=True, help="where results are written and `stop` is looked for"
    )
    parser.add_argument(
        "--passwords", type=Path, required=True, help="directory with postgres_password, redis_password"
    )
    parser.add_argument("--database", required=True, help="the database host's name")
    parser.add_argument("--postgres-port", type=int, default=5432)
    parser.add_argument("--redis-port", type=int, default=6379)
    parser.add_argument("--seconds", type=float, required=True, help="end after this long, if nobody asks before")
    arguments = parser.parse_args()
    os.umask(0o022)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
