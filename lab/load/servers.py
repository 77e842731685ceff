"""Clients of PostgreSQL and Redis, each with at most one connection."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import redis.asyncio
from psycopg.conninfo import make_conninfo
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .control import CA_FILE, Control, Current
from .profiles import BACKUP, LONG_SECONDS

CONNECT_SECONDS = 20
# A kept connection is replaced after so long, as pools do; clients differ, so that not all do it at once.
LIFE_SECONDS = 15.0
LIFE_STEP = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the servers are and what they ask for."""

    database: str
    postgres_password: str
    redis_password: str
    pgbouncer: int = 5432
    postgres: int = 5433
    redis: int = 6379
    redis_tls: int = 6380

    def conninfo(self, kind: str, sslmode: str, *, direct: bool, password: bool = True) -> str:
        """How to connect to PgBouncer, or past it. Only the modes that verify are given the CA."""
        return make_conninfo(
            host=self.database,
            port=self.postgres if direct else self.pgbouncer,
            user="voiceai",
            dbname="voiceai",
            **({"password": self.postgres_password} if password else {}),
            sslmode=sslmode,
            **({"sslrootcert": CA_FILE} if sslmode.startswith("verify-") else {}),
            connect_timeout=CONNECT_SECONDS,
            application_name=f"load-{kind}",
        )


class Client:
    """A connection that was made under a control: what of it counts for this client tells whether it is still right."""

    def __init__(self, current: Current, number: int) -> None:
        self._current = current
        self._number = number
        self._made: tuple[object, float] | None = None

    def follows(self, control: Control) -> bool:
        """Whether it has no connection that was made otherwise."""
        return self._made is None or self._made[0] == self._wants(control)

    async def close(self) -> None:
        """Give the connection up; the next request opens another one."""
        raise NotImplementedError

    def _wants(self, control: Control) -> object:
        raise NotImplementedError

    def _opened(self) -> Any:
        """To be called before connecting: what the connection is made for, which is remembered."""
        wanted = self._wants(self._current.control)
        self._made = (wanted, time.monotonic())
        return wanted

    def _stale(self, life: float) -> bool:
        """Whether the connection is to be replaced before the next request."""
        if self._made is None:
            return False
        return not self.follows(self._current.control) or time.monotonic() - self._made[1] > life

    def _life(self) -> float:
        return LIFE_SECONDS + LIFE_STEP * (self._number % 10)


class PostgresClient(Client):
    """A client of PgBouncer, or of PostgreSQL itself."""

    def __init__(
        self, conninfo: Callable[[str], str], current: Current, number: int, *, keep: bool, session: bool = False
    ) -> None:
        super().__init__(current, number)
        self._conninfo = conninfo
        self._keep = keep
        self._session = session
        self._connection: psycopg.AsyncConnection[Any] | None = None

    def _wants(self, control: Control) -> object:
        return control.sslmode

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

    async def scrape(self) -> None:
        """What an exporter asks."""
        connection = await self._connected()
        found = await connection.execute("SELECT datname, numbackends, xact_commit FROM pg_stat_database")
        await found.fetchall()
        await self._done()

    async def close(self) -> None:
        """Give the connection up; the next request opens another one."""
        connection, self._connection, self._made = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def _counter(self, connection: psycopg.AsyncConnection[Any]) -> int:
        found = await connection.execute("SELECT n FROM lab_load WHERE client = %s", (self._number,))
        row = await found.fetchone()
        if row is None:
            raise RuntimeError("the client's row is gone")
        return int(row[0])

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._stale(float("inf") if self._session else self._life()):
            await self.close()
        if self._connection is None:
            # No prepared statements: behind a transaction pool the next transaction meets another server connection.
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo(self._opened()), autocommit=True, prepare_threshold=None
            )
        return self._connection

    async def _done(self) -> None:
        if not self._keep:
            await self.close()


class Backup(Client):
    """The nightly job that everybody forgets: pg_dump, past PgBouncer."""

    def __init__(self, servers: Servers, current: Current, number: int) -> None:
        super().__init__(current, number)
        self._servers = servers

    def _wants(self, control: Control) -> object:
        return control.sslmode

    async def dump(self) -> None:
        """A whole dump, thrown away."""
        conninfo = self._servers.conninfo(BACKUP, self._opened(), direct=True, password=False)
        process = await asyncio.create_subprocess_exec(
            "pg_dump",
            f"--dbname={conninfo}",
            "--file=/dev/null",
            # By the environment: an argument could be read by everybody.
            env={**os.environ, "PGPASSWORD": self._servers.postgres_password},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        await self.close()
        if process.returncode != 0:
            raise RuntimeError(said.decode(errors="replace").strip() or f"pg_dump: status {process.returncode}")

    async def close(self) -> None:
        """Nothing stays open between dumps."""
        self._made = None


class RedisClient(Client):
    """A client of Redis."""

    def __init__(self, servers: Servers, current: Current, number: int, *, keep: bool) -> None:
        super().__init__(current, number)
        self._servers = servers
        self._keep = keep
        self._client: redis.asyncio.Redis | None = None

    def _wants(self, control: Control) -> object:
        return control.redis_tls

    async def set_and_get(self) -> None:
        """Write a value and read the same one back."""
        if self._stale(self._life()):
            await self.close()
        if self._client is None:
            self._client = self._connect(encrypted=self._opened())
        value = str(time.monotonic_ns())
        await self._client.set(f"lab:load:{self._number}", value, ex=600)
        read = await self._client.get(f"lab:load:{self._number}")
        if read != value.encode():
            raise RuntimeError("a written value was not read back")
        if not self._keep:
            await self.close()

    async def close(self) -> None:
        """Give the connection up; the next request opens another one."""
        client, self._client, self._made = self._client, None, None
        if client is not None:
            await client.aclose()

    def _connect(self, *, encrypted: bool) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(
            host=self._servers.database,
            port=self._servers.redis_tls if encrypted else self._servers.redis,
            password=self._servers.redis_password,
            client_name="load",
            socket_timeout=CONNECT_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            single_connection_client=True,
            # redis-py retries by itself unless told not to.
            retry=Retry(NoBackoff(), 0),
            ssl=encrypted,
            ssl_ca_certs=CA_FILE if encrypted else None,
            ssl_cert_reqs="required",
            ssl_check_hostname=True,
        )


async def make_table(conninfo: str, clients: int) -> None:
    """The table that short transactions count in, one row a client."""
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS lab_load (client int PRIMARY KEY, n bigint NOT NULL)")
        await connection.execute(
            "INSERT INTO lab_load SELECT i, 0 FROM generate_series(0, %s) i ON CONFLICT DO NOTHING", (clients,)
        )
