"""The sample app does what its variables say, and gives up no request to a connection that is dead already."""

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from lab import images

ENVIRONMENT = {
    "APP_NAME": "web",
    "DATABASE_URL": "postgresql://voiceai:secret@db.lab.internal:5432/voiceai",
    "DATABASE_SSL_MODE": "disable",
    "DATABASE_SSL_CA_FILE": "/etc/ssl/internal/ca.crt",
    "REDIS_HOST": "db.lab.internal",
    "REDIS_PORT": "6379",
    "REDIS_PASSWORD": "secret",
    "REDIS_TLS_ENABLED": "false",
    "REDIS_TLS_PORT": "6380",
    "REDIS_TLS_CA_FILE": "/etc/ssl/internal/ca.crt",
}


@pytest.fixture(scope="module")
def app() -> ModuleType:
    # The program of an image, no module of this project.
    path = Path(images.__file__).parent / "images" / "app" / "app.py"
    spec = importlib.util.spec_from_file_location("sample_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {"sslmode": "disable"}),
        ({"DATABASE_SSL_MODE": "require"}, {"sslmode": "require"}),
        (
            {"DATABASE_SSL_MODE": "verify-full", "DATABASE_SSL_CA_FILE": "/other/ca.crt"},
            {"sslmode": "verify-full", "sslrootcert": "/other/ca.crt"},
        ),
        # As in many a real app, what stands in the URL wins.
        (
            {"DATABASE_SSL_MODE": "verify-full", "DATABASE_URL": "postgresql://a:b@c/d?sslmode=disable"},
            {"sslmode": "disable"},
        ),
    ],
)
def test_how_it_connects_to_postgres(app: ModuleType, changed: dict[str, str], expected: dict[str, str]) -> None:
    found = conninfo_to_dict(app.database_conninfo({**ENVIRONMENT, **changed}))
    assert {key: found[key] for key in ("sslmode", "sslrootcert") if key in found} == expected
    assert found["application_name"] == "web"


@pytest.mark.parametrize(
    ("enabled", "port", "secured"), [("false", 6379, False), ("true", 6380, True)], ids=["plaintext", "TLS"]
)
def test_how_it_connects_to_redis(app: ModuleType, enabled: str, port: int, secured: bool) -> None:
    client = app.redis_client({**ENVIRONMENT, "REDIS_TLS_ENABLED": enabled})
    connection = client.connection_pool.make_connection()
    assert connection.port == port
    assert connection.client_name == "web"
    assert connection.retry._retries == 0
    # Both of them: the chain, and the name.
    assert getattr(connection, "check_hostname", None) is (True if secured else None)
    assert getattr(connection, "ca_certs", None) == ("/etc/ssl/internal/ca.crt" if secured else None)


class Connection:
    """A connection with its other end at hand."""

    def __init__(self) -> None:
        self.own, self.other = socket.socketpair()
        self.closed = False

    def fileno(self) -> int:
        return self.own.fileno()

    def close(self) -> None:
        self.closed = True
        self.own.close()
        self.other.close()


@pytest.fixture
def made() -> Iterator[list[Connection]]:
    connections: list[Connection] = []
    yield connections
    for connection in connections:
        connection.close()


@pytest.fixture
def pool(app: ModuleType, made: list[Connection]) -> Any:
    def connect() -> Connection:
        made.append(Connection())
        return made[-1]

    found = app.Pool(connect, size=2, seconds=0.01)
    found.fill()
    return found


def test_connections_are_kept_and_used_in_turn(pool: Any, made: list[Connection]) -> None:
    used = []
    for _ in range(4):
        with pool.connection() as connection:
            used.append(connection)
    assert used == [made[0], made[1], made[0], made[1]]


def test_a_connection_that_was_closed_while_idle_is_replaced_before_it_is_used(
    pool: Any, made: list[Connection]
) -> None:
    made[0].other.close()
    with pool.connection() as connection:
        assert connection is made[1]
    with pool.connection() as connection:
        assert connection is made[1]
    assert made[0].closed


def test_a_connection_on_which_a_request_failed_is_not_used_again(pool: Any, made: list[Connection]) -> None:
    with pytest.raises(RuntimeError), pool.connection():
        raise RuntimeError
    assert made[0].closed
    with pool.connection() as connection:
        assert connection is made[1]


def test_a_request_that_finds_no_free_connection_fails_after_a_while(pool: Any) -> None:
    with pool.connection(), pool.connection(), pytest.raises(TimeoutError), pool.connection():
        pass


def test_it_is_not_healthy_before_it_has_its_connections_and_when_it_drains(app: ModuleType) -> None:
    service = app.Service(ENVIRONMENT)
    assert service.health(by_proxy=False) == "starting"
    service._refusal = ""
    assert service.health(by_proxy=False) == ""
    service.stopping.set()
    assert service.health(by_proxy=False) == "draining"
    service.close()


def test_it_drains_until_the_proxy_was_told_and_at_once_without_one(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "GRACE_SECONDS", 0.0)
    waited: list[float] = []
    service = app.Service(ENVIRONMENT)
    service.stopping.set()
    monkeypatch.setattr(app.time, "sleep", waited.append)
    service.drain()
    assert waited == [0.0]

    def told(seconds: float) -> None:
        waited.append(seconds)
        service.health(by_proxy=True)

    monkeypatch.setattr(app.time, "sleep", told)
    waited.clear()
    service._proxy_asked = app.time.monotonic()
    service.drain()
    assert len(waited) == app.TOLD_TIMES + 1
    service.close()
