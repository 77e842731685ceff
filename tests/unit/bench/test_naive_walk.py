"""The naive walk takes our moves but for those that only bring files, and each of its outages ends or is cut short."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from bench import naive
from bench.naive import Naive
from lab.figures import Move
from lab.measure import Request
from lab.traffic import Traffic
from lab.walk import Walker
from rollout import path
from tests.unit.rollout.declarations import NOTHING


class Hosts:
    """A lab whose commands are noted."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str, bytes | None]] = []

    def run(self, host: str, *argv: str, timeout: float, stdin: bytes | None = None) -> str:
        self.ran.append((host, argv[-1], stdin))
        return ""


class Plaintext:
    """A walker whose stack stands at the beginning."""

    def __init__(self) -> None:
        self.lab = Hosts()

    def declared(self) -> Any:
        return NOTHING

    def forward(self) -> list[Move]:
        return [Move(key=key, value=value, direction="forward") for key, value in path.forward(NOTHING)]

    def back(self) -> list[Move]:
        return [Move(key=key, value=value, direction="back") for key, value in path.back(NOTHING)]


class Load:
    """A load that fails until some seconds after it was first asked."""

    kinds = ("redis-short",)

    def __init__(self, outage: float) -> None:
        self._until = time.time() + outage
        self.switched: list[bool] = []

    def recent(self, seconds: float) -> list[Request]:
        now = time.time()
        return [Request(kind="redis-short", start=now - 0.01, ms=1.0, ok=now > self._until)]

    def switch_redis(self, *, tls: bool) -> None:
        self.switched.append(tls)


@contextlib.contextmanager
def silent(_title: str) -> Iterator[None]:
    yield


@pytest.fixture
def walker(monkeypatch: pytest.MonkeyPatch) -> Plaintext:
    monkeypatch.setattr(naive, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(naive, "_CALM_SECONDS", 0.0)
    monkeypatch.setattr(naive, "_ASK_SECONDS", 0.02)
    return Plaintext()


def naive_way(walker: Plaintext) -> Naive:
    return Naive(cast(Walker, walker), progress=silent)


def step(walker: Plaintext, load: Load, key: str, value: str) -> float:
    move = Move(key=key, value=value, direction="forward")
    stepped = naive_way(walker).step(move, cast(Traffic, load))
    return stepped.window.seconds


def test_every_move_is_taken_but_those_that_only_bring_files(walker: Plaintext) -> None:
    moves = naive_way(walker).moves()
    assert len(moves) == 2 * (len(path.forward(NOTHING)) - 2)
    assert {move.key for move in moves}.isdisjoint({"PREPARED", "CERTIFICATE_GENERATION"})


def test_a_moves_window_lasts_until_the_load_flows_again(walker: Plaintext) -> None:
    assert step(walker, Load(outage=0.3), "POSTGRES_TLS_ENABLED", "on") >= 0.29


def test_an_outage_that_does_not_end_is_cut_short(walker: Plaintext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naive, "BOUND_SECONDS", 0.2)
    assert 0.2 <= step(walker, Load(outage=600), "POSTGRES_TLS_ENABLED", "on") < 5


def test_what_a_server_reads_follows_from_all_moves_until_then(walker: Plaintext) -> None:
    way, load = naive_way(walker), Load(outage=0)
    for key, value in (("REDIS_TLS_ENABLED", "true"), ("REDIS_FORCE_TLS", "true")):
        way.step(Move(key=key, value=value, direction="forward"), cast(Traffic, load))
    written = [(stdin or b"").decode() for _, _, stdin in walker.lab.ran]
    assert ["port 0" in text for text in written] == [False, True]
    assert all("tls-port 6380" in text for text in written)
    assert load.switched == [True]


def test_all_hosts_of_an_app_are_reached_in_one_move(walker: Plaintext) -> None:
    step(walker, Load(outage=0), "apps.api.REDIS_TLS_ENABLED", "true")
    assert sorted(host for host, _, _ in walker.lab.ran) == ["api1", "api2"]
