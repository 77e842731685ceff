"""The load sends each request once, records how it ended, and does not burst after a stall."""

import asyncio
import io
import json
import time
from functools import partial
from pathlib import Path

import pytest

from lab.load import control, profiles, sending, servers, web
from lab.load.control import Control, Current
from lab.load.profiles import Profile
from lab.load.recording import Clock, Recorder

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
    asyncio.run(sending.send(FAST, broken, give_up, one, Clock()))
    assert calls == ["sent", "gave up"]
    (entry,) = written(one)
    assert (entry["ok"], entry["error"]) == (False, "ConnectionResetError: connection reset by peer")


def test_a_request_that_succeeds_keeps_its_connection() -> None:
    async def works() -> None:
        await asyncio.sleep(0)

    async def give_up() -> None:
        raise AssertionError("a good connection was given up")

    one = recorder()
    asyncio.run(sending.send(FAST, works, give_up, one, Clock()))
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

        await sending.pace(FAST, 0.0, send_one, ended)

    asyncio.run(scenario())
    # Twenty were missed in the stall. A burst would send them at its end; at the profile's pace they take as long.
    assert sent[-1] - sent[0] >= stall + later * period - 0.001


def test_a_client_ends_at_once_when_the_load_ends() -> None:
    async def scenario() -> None:
        ended = asyncio.Event()
        slow = Profile(kind="postgres-short", clients=1, rate=0.001)
        task = asyncio.create_task(sending.pace(slow, 1000.0, partial(asyncio.sleep, 0), ended))
        await asyncio.sleep(0)
        ended.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(scenario())


def test_some_hundred_requests_a_second_are_sent_in_all() -> None:
    assert 80 <= sum(profile.clients * profile.rate for profile in profiles.PROFILES) <= 120


def test_a_kind_that_there_is_not_is_named() -> None:
    assert [profile.kind for profile in profiles.chosen(["sip-redis", "http-api"])] == ["http-api", "sip-redis"]
    with pytest.raises(ValueError, match=r"no kind http-nothing; it has http-api"):
        profiles.chosen(["http-api", "http-nothing"])


def test_the_kinds_of_a_lab_without_apps_ask_no_app() -> None:
    kinds = profiles.servers(profiles.KINDS)
    assert kinds
    assert not [kind for kind in kinds if kind.startswith(("http-", "sip-"))]


ASKED = servers.Servers(database="db.lab.internal", postgres_password="p", redis_password="r")


@pytest.mark.parametrize(
    ("sslmode", "direct", "has", "has_not"),
    [
        ("prefer", False, ["port=5432", "sslmode=prefer"], "sslrootcert"),
        ("require", False, ["sslmode=require"], "sslrootcert"),
        ("verify-full", True, ["port=5433", f"sslrootcert={control.CA_FILE}"], "port=5432"),
    ],
)
def test_only_modes_that_verify_are_given_the_ca(sslmode: str, direct: bool, has: list[str], has_not: str) -> None:
    conninfo = ASKED.conninfo("postgres-short", sslmode, direct=direct)
    assert all(part in conninfo for part in [*has, "application_name=load-postgres-short"])
    assert has_not not in conninfo


class Opening(servers.Client):
    """A client that opens nothing."""

    def _wants(self, control: Control) -> object:
        return control.sslmode

    def connect(self) -> object:
        return self._opened()

    def stale(self, life: float) -> bool:
        return self._stale(life)


def test_a_client_follows_a_change_by_connecting_anew(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    current = Current(path)
    current.refresh()
    client = Opening(current, 1)
    assert client.follows(current.control)
    assert client.connect() == "prefer"
    assert not client.stale(60)
    path.write_text(Control(number=1, sslmode="verify-full").text())
    current.refresh()
    assert not client.follows(current.control)
    assert client.stale(60)
    assert client.connect() == "verify-full"
    assert client.follows(current.control)


def test_a_change_that_is_not_a_clients_own_leaves_its_connection(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    current = Current(path)
    client = Opening(current, 1)
    client.connect()
    path.write_text(Control(number=1, redis_tls=True).text())
    current.refresh()
    assert current.control.redis_tls
    assert client.follows(current.control)


def test_what_counts_for_a_client_is_how_its_own_server_is_reached() -> None:
    current, secured = Current(Path("/nonexistent")), Control(redis_tls=True)
    cache = servers.RedisClient(ASKED, current, 1, keep=True)
    database = servers.PostgresClient(lambda mode: mode, current, 1, keep=True)
    backup = servers.Backup(ASKED, current, 1)
    assert cache._wants(secured) != cache._wants(Control())
    for client in (database, backup):
        assert client._wants(secured) == client._wants(Control())
        assert client._wants(Control(sslmode="require")) != client._wants(Control())


def test_a_kept_connection_is_replaced_at_the_end_of_its_life() -> None:
    client = Opening(Current(Path("/nonexistent")), 1)
    client.connect()
    assert not client.stale(60)
    assert client.stale(0)


def test_a_mode_that_libpq_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="sslmode 'on' is not one of disable"):
        control.parse(Control(sslmode="on").text())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed after 0 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-", "closed after"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "cut off after 4 of 9 bytes"),
    ],
)
def test_half_an_answer_is_a_failure(answer: bytes, says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        web.parse(answer)


def test_an_answer_is_its_status_and_its_body() -> None:
    assert web.parse(b"HTTP/1.0 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nno\n") == (502, "no\n")
