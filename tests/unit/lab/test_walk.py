"""The walker goes the whole way that the config declares, and operators' own clients follow where no step reaches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from lab import stack, walk
from lab.figures import Move
from lab.lab import Lab
from lab.layout import HOSTS, MOTO, SSH, Layout
from lab.measure import Window
from lab.traffic import Traffic
from lab.walk import Walker

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKp4cbBxcSvmx8Q0SNKDG9ZS3JzSJyV4sJZ7S7cQh1mN"


@contextlib.contextmanager
def silent(_title: str) -> Iterator[None]:
    yield


class Recorded(Walker):
    """A walker whose commands are recorded and, where they set a step, done to the config file; nothing is deployed."""

    def __init__(self, lab: Lab, happened: list[str]) -> None:
        super().__init__(lab, progress=silent)
        self.happened = happened

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        if arguments[:2] == ("config", "set"):
            key, value = arguments[-2:]
            self.happened.append(f"{key}={value}")
            self._write(key.split("."), value)
            assert ("--path" in arguments) is ("." in key)
        return "Resources:\n    ~ 2 updated\n    10 unchanged"

    def _write(self, names: list[str], value: str) -> None:
        file = self.lab.layout.stack_config
        document = yaml.safe_load(file.read_text())
        place = document["config"]
        for name in (f"internal-tls:{names[0]}", *names[1:])[:-1]:
            place = place[name]
        place[names[-1] if len(names) > 1 else f"internal-tls:{names[0]}"] = value
        file.write_text(yaml.safe_dump(document, sort_keys=False))


class Followers:
    """Stands in for the load: notes how its own clients are switched, and is quiet at once."""

    def __init__(self, happened: list[str]) -> None:
        self.happened = happened

    def switch_redis(self, *, tls: bool) -> None:
        self.happened.append(f"own clients of Redis: tls={tls}")

    def switch_postgres(self, sslmode: str) -> None:
        self.happened.append(f"own clients of Postgres: {sslmode}")

    def quiet(self, seconds: float) -> Window:
        return Window(start=0, end=seconds)


@pytest.fixture
def walker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    ports = {**{f"{host}:{SSH}": 2200 + number for number, host in enumerate(HOSTS)}, f"moto:{MOTO}": 5000}
    facts = stack.Facts(
        ports=ports, host_keys=dict.fromkeys(HOSTS, HOST_KEY), subnet=IPv4Network("10.1.2.0/24"), collector=True
    )
    lab = Lab("unit")
    lab.layout = Layout(lab_id="unit", project=tmp_path)
    lab.layout.root.mkdir(parents=True)
    stack.write_stack_config(lab.layout, facts)
    monkeypatch.setattr(lab, "start_apps", lambda: None)
    monkeypatch.setattr(walk, "SETTLE_SECONDS", 0.0)
    return Recorded(lab, [])


def followers(walker: Recorded) -> Traffic:
    return cast(Traffic, Followers(walker.happened))


def standing(walker: Walker) -> dict[str, str]:
    return dict(walker.declared().settings)


def test_a_round_goes_through_every_step_of_both_tracks_and_ends_where_it_began(walker: Recorded) -> None:
    start = standing(walker)
    found = walker.round(followers(walker))
    moves = [step.move for step in found.steps]
    assert len(moves) == 40
    assert [move.direction for move in moves] == ["forward"] * 20 + ["back"] * 20
    assert {move.key for move in moves} == set(start)
    assert standing(walker) == start


def test_operators_own_clients_of_redis_use_tls_exactly_while_plaintext_is_refused(walker: Recorded) -> None:
    walker.round(followers(walker))
    told = [line for line in walker.happened if "REDIS_FORCE_TLS" in line or "of Redis" in line]
    assert told == [
        "own clients of Redis: tls=True",
        "REDIS_FORCE_TLS=true",
        "REDIS_FORCE_TLS=false",
        "own clients of Redis: tls=False",
    ]


def test_operators_own_sessions_of_postgres_use_tls_exactly_while_plaintext_is_refused(walker: Recorded) -> None:
    walker.round(followers(walker))
    told = [line for line in walker.happened if "PGBOUNCER_CLIENT" in line or "of Postgres" in line]
    assert told == [
        "own clients of Postgres: prefer",
        "PGBOUNCER_CLIENT_TLS_SSLMODE=allow",
        "own clients of Postgres: require",
        "PGBOUNCER_CLIENT_TLS_SSLMODE=require",
        "own clients of Postgres: prefer",
        "PGBOUNCER_CLIENT_TLS_SSLMODE=allow",
        "own clients of Postgres: prefer",
        "PGBOUNCER_CLIENT_TLS_SSLMODE=disable",
    ]


def test_a_round_ends_in_a_quiet_stretch_with_room_for_two_of_its_longest_move(walker: Recorded) -> None:
    found = walker.round(followers(walker))
    assert found.quiet.seconds >= 2 * max(step.window.seconds for step in found.steps)


def test_from_the_middle_of_a_rollout_the_start_and_the_end_are_reached(walker: Recorded) -> None:
    start = standing(walker)
    for move in walker.forward()[:7]:
        walker.set(move.key, move.value)
    walker.happened.clear()
    walker.to_end(followers(walker))
    assert walker.happened[0] == "apps.voice.DATABASE_SSL_MODE=verify-full"
    assert walker.happened[-2:] == ["own clients of Redis: tls=True", "REDIS_FORCE_TLS=true"]
    walker.to_start()
    assert standing(walker) == start


def test_a_config_file_is_read_as_the_engine_hands_it_over(tmp_path: Path) -> None:
    config: dict[str, Any] = {"internal-tls:a": "on", "internal-tls:b": 1, "internal-tls:c": {"d": [True]}}
    (tmp_path / "Pulumi.x.yaml").write_text(yaml.safe_dump({"config": config}))
    assert walk.raw_config(tmp_path / "Pulumi.x.yaml") == {"a": "on", "b": "1", "c": '{"d": [true]}'}


def test_changed_resources_are_read_from_the_closing_summary_alone() -> None:
    output = "3 created earlier\nResources:\n    + 2 created\n    ~ 1 updated\n    12 unchanged\n\nDuration: 4s"
    assert walk.changed_resources(output) == 3
    assert walk.changed_resources("Resources:\n    12 unchanged") == 0
    assert walk.changed_resources("error: no summary, 7 created") == 0


def test_a_moves_title_is_the_line_that_is_changed() -> None:
    assert Move(key="apps.api.DATABASE_SSL_MODE", value="verify-full", direction="forward").title == (
        "apps.api.DATABASE_SSL_MODE=verify-full"
    )
