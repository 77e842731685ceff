"""A sample app of the lab: an HTTP service that uses PostgreSQL and Redis, set up by the seed's variables alone.

    GET /work     a transaction in PostgreSQL, a set and a get in Redis; 502 with the reason when either fails
    GET /health   200 when it takes requests; 503 while it starts, and once it drains

Environment: APP_NAME, PORT; DATABASE_URL, DATABASE_SSL_MODE, DATABASE_SSL_CA_FILE; REDIS_HOST, REDIS_PORT,
REDIS_PASSWORD, REDIS_TLS_ENABLED, REDIS_TLS_PORT, REDIS_TLS_CA_FILE. A `sslmode` in DATABASE_URL wins over the
variable, as in many a real app.

It takes requests once it has all its connections, so one that can't reach a server, or does not trust it, never gets
healthy. Later a failing server shows in the answers, not in the health: two replicas must not both leave the proxy
because a server stalls. At SIGTERM it tells the proxy by its health, serves on until the proxy was told often enough,
finishes what is under way, and ends.
"""

import contextlib
import itertools
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECTIONS = 3
CONNECT_SECONDS = 10
POOL_SECONDS = 20.0
AGAIN_SECONDS = 0.5
# haproxy.cfg: two answers of 503 take a replica out.
TOLD_TIMES = 2
GRACE_SECONDS = 0.3
# A proxy that has not asked for so long is not there.
PROXY_SECONDS = 2.0
DRAIN_SECONDS = 10.0
SLOTS = 16

Connection = psycopg.Connection[Any]


def database_conninfo(environment: dict[str, str]) -> str:
    """How to connect to PostgreSQL. Only the modes that verify are given the CA: libpq's others ignore it."""
    url = environment["DATABASE_URL"]
    mode = conninfo_to_dict(url).get("sslmode") or environment.get("DATABASE_SSL_MODE", "disable")
    given = {"sslmode": mode, "application_name": environment["APP_NAME"], "connect_timeout": CONNECT_SECONDS}
    if str(mode).startswith("verify-"):
        given["sslrootcert"] = environment["DATABASE_SSL_CA_FILE"]
    return make_conninfo(url, **given)


def redis_client(environment: dict[str, str]) -> redis.Redis:
    """A client of Redis with a few kept connections. redis-py would try again by itself unless told not to."""
    encrypted = environment.get("REDIS_TLS_ENABLED", "false") == "true"
    port = environment["REDIS_TLS_PORT"] if encrypted else environment["REDIS_PORT"]
    return redis.Redis(
        host=environment["REDIS_HOST"],
        port=int(port),
        password=environment["REDIS_PASSWORD"],
        client_name=environment["APP_NAME"],
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=POOL_SECONDS,
        ssl=encrypted,
        ssl_ca_certs=environment.get("REDIS_TLS_CA_FILE"),
        ssl_cert_reqs="required",
        ssl_check_hostname=True,
    )


class Pool:
    """A few kept connections to PostgreSQL; TimeoutError when none gets free within `seconds`.

    One that the other side closed while it lay idle is found out before it is used, as common pools do; a request that
    fails on a connection in use is not repeated.
    """

    def __init__(self, connect: Callable[[], Connection], *, size: int, seconds: float) -> None:
        self._connect = connect
        self._free = threading.BoundedSemaphore(size)
        self._seconds = seconds
        self._size = size
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def fill(self) -> None:
        """Have all connections open. Raises what the driver raises."""
        while len(self._idle) < self._size:
            self._idle.append(self._connect())

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for one request; one on which it failed is closed."""
        if not self._free.acquire(timeout=self._seconds):
            raise TimeoutError(f"no connection of the pool got free within {self._seconds:.0f} s")
        try:
            connection = self._taken() or self._connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            with self._lock:
                self._idle.append(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _taken(self) -> Connection | None:
        """An idle connection that is still good. The longest idle first, so that each is used."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop(0)
            # An idle server says nothing: what can be read is its goodbye.
            if not connection.closed and not select.select([connection.fileno()], [], [], 0)[0]:
                return connection
            connection.close()


class Service:
    """What the app does, and whether it takes requests."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.name = environment["APP_NAME"]
        conninfo = database_conninfo(environment)
        self._pool = Pool(lambda: _connect(conninfo), size=CONNECTIONS, seconds=POOL_SECONDS)
        self._redis = redis_client(environment)
        self._requests = itertools.count()
        self._refusal = "starting"
        self._proxy_asked = 0.0
        self._proxy_told = 0
        self.stopping = threading.Event()

    def work(self) -> int:
        """One request's work: a counter in PostgreSQL, and its value by way of Redis."""
        slot = next(self._requests) % SLOTS
        with self._pool.connection() as connection, connection.transaction():
            row = connection.execute(
                "INSERT INTO app_work VALUES (%s, %s, 1) ON CONFLICT (app, slot) DO UPDATE SET n = app_work.n + 1"
                " RETURNING n",
                (self.name, slot),
            ).fetchone()
        assert row is not None
        key = f"app:{self.name}:{os.getpid()}:{threading.get_ident()}"
        self._redis.set(key, row[0], ex=60)
        if self._redis.get(key) != str(row[0]).encode():
            raise RuntimeError("Redis did not give back what was written")
        return int(row[0])

    def health(self, *, by_proxy: bool) -> str:
        """Empty, or why it takes no requests."""
        refusal = "draining" if self.stopping.is_set() else self._refusal
        if by_proxy:
            self._proxy_asked = time.monotonic()
            self._proxy_told += self.stopping.is_set()
        return refusal

    def open(self) -> None:
        """Connect to both servers, trying until it works or the app is asked to end."""
        while not self.stopping.is_set():
            try:
                self._pool.fill()
                with self._pool.connection() as connection:
                    _create_table(connection)
                self._redis.ping()
            except (psycopg.Error, redis.RedisError, OSError, TimeoutError) as error:
                self._refusal = f"starting: {describe(error)}"
                print(self._refusal, flush=True)
                self.stopping.wait(AGAIN_SECONDS)
            else:
                self._refusal = ""
                print("takes requests", flush=True)
                return

    def drain(self) -> None:
        """Serve on until the proxy knows, or there is none."""
        since = time.monotonic()
        while time.monotonic() - since < DRAIN_SECONDS:
            if self._proxy_told >= TOLD_TIMES or time.monotonic() - self._proxy_asked > PROXY_SECONDS:
                break
            time.sleep(0.02)
        time.sleep(GRACE_SECONDS)

    def close(self) -> None:
        """Give the connections back."""
        self._pool.close()
        self._redis.close()


def _connect(conninfo: str) -> Connection:
    # No prepared statements: behind a transaction pool the next transaction meets another server connection.
    return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)


def _create_table(connection: Connection) -> None:
    # CREATE TABLE IF NOT EXISTS of two replicas at once fails for one of them without the lock.
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(4711)")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS app_work"
            " (app text, slot int, n bigint NOT NULL, PRIMARY KEY (app, slot)) WITH (fillfactor = 50)"
        )


def describe(error: BaseException) -> str:
    """An error's class and first line. Drivers put no password into their messages."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


class Handler(BaseHTTPRequestHandler):
    """HTTP, one request a connection."""

    service: Service

    def do_GET(self) -> None:
        """Answer /work and /health."""
        path, _, query = self.path.partition("?")
        if path == "/health":
            refusal = self.service.health(by_proxy=query == "proxy")
            self._answer(503 if refusal else 200, {"app": self.service.name, "health": refusal or "ok"})
        elif path == "/work":
            try:
                self._answer(200, {"app": self.service.name, "n": self.service.work()})
            except Exception as error:
                self._answer(502, {"app": self.service.name, "error": describe(error)})
        else:
            self._answer(404, {"error": "there are /work and /health"})

    def _answer(self, status: int, body: dict[str, object]) -> None:
        content = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the load keeps the account."""


class Server(ThreadingHTTPServer):
    """A thread a request; closing waits for those under way."""

    daemon_threads = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - http.server's signature
        """A client that went away is no news."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            print(f"{client_address}: {describe(error or RuntimeError())}", flush=True)


def main() -> None:
    """Serve until SIGTERM."""
    # Blocked in every thread and taken by this one.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    service = Service(dict(os.environ))
    Handler.service = service
    # The work of a request is short: a long switch interval would add to its latency.
    sys.setswitchinterval(0.001)
    with Server(("", int(os.environ["PORT"])), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        threading.Thread(target=service.open, daemon=True).start()
        signal.sigwait(ends)
        print("draining", flush=True)
        service.stopping.set()
        service.drain()
        server.shutdown()
    service.close()
    print("ended", flush=True)


if __name__ == "__main__":
    main()
