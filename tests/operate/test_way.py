"""Which moves `operate next` and `back` make from where a config stands."""

from __future__ import annotations

import pytest

from operate.errors import BadInput
from operate.way import way
from rollout.declared import Declared
from tests.operate.pull_requests import (
    ALL_FLIPPED,
    CLIENT_LEG,
    CLOSED,
    EXAMPLE,
    ISSUED,
    REDIS,
    Settings,
    declared,
    edited,
    flipped,
)


def at(settings: Settings) -> Declared:
    return declared("staging", edited(EXAMPLE, settings))


@pytest.mark.parametrize(
    ("stands", "track", "following", "back"),
    [
        ({}, "", "PREPARED=on", ""),
        ({}, "redis", "PREPARED=on", ""),
        ({"PREPARED": "on"}, "redis", "CERTIFICATE_GENERATION=1", "PREPARED=off"),
        (ISSUED, "", "POSTGRES_TLS_ENABLED=on", "CERTIFICATE_GENERATION=0"),
        (ISSUED, "redis", "REDIS_TLS_ENABLED=true", "CERTIFICATE_GENERATION=0"),
        (CLIENT_LEG, "", "apps.api.DATABASE_SSL_MODE=verify-full", "PGBOUNCER_CLIENT_TLS_SSLMODE=disable"),
        (
            {**CLIENT_LEG, **flipped("api")},
            "postgres",
            "apps.web.DATABASE_SSL_MODE=verify-full",
            "apps.api.DATABASE_SSL_MODE=disable",
        ),
        (ALL_FLIPPED, "", "PGBOUNCER_CLIENT_TLS_SSLMODE=require", "apps.worker.DATABASE_SSL_MODE=disable"),
        (CLOSED, "", "POSTGRES_FORCE_SSL=on", "PGBOUNCER_CLIENT_TLS_SSLMODE=allow"),
        ({**CLOSED, **REDIS}, "", "POSTGRES_FORCE_SSL=on", "REDIS_TLS_ENABLED=false"),
        ({**CLOSED, **REDIS}, "postgres", "POSTGRES_FORCE_SSL=on", "PGBOUNCER_CLIENT_TLS_SSLMODE=allow"),
        ({**CLOSED, "POSTGRES_FORCE_SSL": "on"}, "", "REDIS_TLS_ENABLED=true", "POSTGRES_FORCE_SSL=off"),
    ],
)
def test_one_step_each_way(stands: Settings, track: str, following: str, back: str) -> None:
    assert [f"{k}={v}" for k, v in way(at(stands), "next", track=track)] == [following]
    assert [f"{k}={v}" for k, v in way(at(stands), "back", track=track)] == ([back] if back else [])


def test_to_the_end_and_to_the_start_is_the_whole_way() -> None:
    forward = way(at({}), "next", to="end")
    assert forward[0] == ("PREPARED", "on")
    assert forward[-1] == ("REDIS_FORCE_TLS", "true")
    assert len(forward) == len(set(forward)) == 20
    stands = {**dict(forward), "PGBOUNCER_CLIENT_TLS_SSLMODE": "require"}
    back = way(at(stands), "back", to="start")
    assert [key for key, _ in back] == [key for key, _ in reversed(forward)]
    assert way(at(stands), "next", to="end") == way(at({}), "back", to="start") == ()


def test_a_tracks_start_leaves_what_both_share() -> None:
    assert way(at({**CLIENT_LEG, **REDIS}), "back", to="start", track="redis") == (("REDIS_TLS_ENABLED", "false"),)


@pytest.mark.parametrize("to", ["postgres 4", "postgres:4", "postgres 4/7", " postgres  4 "])
def test_a_steps_number_is_a_place(to: str) -> None:
    assert way(at(ISSUED), "next", to=to) == (
        ("POSTGRES_TLS_ENABLED", "on"),
        ("PGBOUNCER_SERVER_TLS_SSLMODE", "verify-ca"),
        ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow"),
    )
    assert way(at(CLIENT_LEG), "next", to=to) == ()
    assert way(at({**CLOSED}), "back", to=to)[:2] == (
        ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow"),
        ("apps.worker.DATABASE_SSL_MODE", "disable"),
    )


def test_a_variable_at_a_value_is_a_place_of_its_own_track() -> None:
    assert way(at(CLIENT_LEG), "next", to="apps.api.REDIS_TLS_ENABLED=true") == (
        ("REDIS_TLS_ENABLED", "true"),
        ("apps.api.REDIS_TLS_ENABLED", "true"),
    )
    assert way(at(CLOSED), "back", to="PGBOUNCER_CLIENT_TLS_SSLMODE=allow") == (
        ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow"),
    )
    # Beside the way: one move, for the rules to judge.
    assert way(at(ISSUED), "next", to="CERTIFICATE_GENERATION=2") == (("CERTIFICATE_GENERATION", "2"),)
    assert way(at(ISSUED), "next", to="CERTIFICATE_GENERATION=1") == ()


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("start", "operate back --to start does"),
        ("somewhere", "places are end, postgres 0…7, redis 0…4"),
        ("postgres 8", "the last step of postgres is 7"),
        ("POSTGRES_TLS=on", "did you mean POSTGRES_TLS_ENABLED?"),
        ("POSTGRES_TLS_ENABLED=maybe", "is one of off, on"),
        ("CERTIFICATE_GENERATION=0", "that is the other way: operate back"),
    ],
)
def test_what_is_no_place_is_said(to: str, says: str) -> None:
    with pytest.raises(BadInput, match=says.replace("?", r"\?")):
        way(at(ISSUED), "next", to=to)


def test_a_step_of_the_other_track_is_said() -> None:
    with pytest.raises(BadInput, match="it is no step of the track redis"):
        way(at(ISSUED), "next", to="postgres 5", track="redis")
