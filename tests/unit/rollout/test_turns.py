"""Which hosts of a move wait for which."""

from rollout.turns import turns

from .declarations import (
    CERTIFICATES,
    CLIENT_LEG,
    NOTHING,
    POSTGRES_OFFERS,
    PREPARED,
    REDIS_OFFERS,
    declared,
    having,
    with_host,
    with_name,
)

THREE = with_host(NOTHING, "api3", "api", address="10.0.0.23")
FLIPPED = {**CLIENT_LEG, "api": "verify-full"}


def test_an_apps_hosts_follow_one_another_forward_and_back() -> None:
    line = {"api2": ("api1",), "api3": ("api2",)}
    assert turns(declared(THREE, **CLIENT_LEG), declared(THREE, **FLIPPED)) == line
    assert turns(declared(THREE, **FLIPPED), declared(THREE, **CLIENT_LEG)) == line
    assert turns(declared(**REDIS_OFFERS), declared(**REDIS_OFFERS, api_redis="true")) == {"api2": ("api1",)}


def test_an_app_on_one_host_waits_for_nothing() -> None:
    assert turns(declared(**FLIPPED), declared(**FLIPPED, web="verify-full")) == {}


def test_redis_goes_before_the_collector_and_after_it_on_the_way_back() -> None:
    assert turns(declared(**CERTIFICATES), declared(**REDIS_OFFERS)) == {"web": ("database",)}
    assert turns(declared(**REDIS_OFFERS), declared(**CERTIFICATES)) == {"database": ("web",)}


def test_every_collector_waits_for_redis_and_redis_for_every_collector() -> None:
    two = with_host(NOTHING, "metrics", "otel")
    assert turns(declared(two, **CERTIFICATES), declared(two, **REDIS_OFFERS)) == {
        "metrics": ("database",),
        "web": ("database",),
    }
    assert turns(declared(two, **REDIS_OFFERS), declared(two, **CERTIFICATES)) == {"database": ("web", "metrics")}


def test_a_collector_beside_redis_goes_with_it() -> None:
    beside = with_host(NOTHING, "database", "postgres", "pgbouncer", "redis", "otel")
    assert turns(declared(beside, **REDIS_OFFERS), declared(beside, **CERTIFICATES)) == {"database": ("web",)}


def test_hosts_that_another_port_touches_too_wait_for_nothing() -> None:
    with_port = having(declared(**REDIS_OFFERS), REDIS_TLS_PORT="6390")
    assert turns(declared(**CERTIFICATES), with_port) == {"web": ("database",)}


def test_every_other_move_reaches_its_hosts_at_once() -> None:
    assert turns(declared(**PREPARED), declared(**CERTIFICATES)) == {}
    assert turns(declared(**CERTIFICATES), declared(**POSTGRES_OFFERS)) == {}
    before = declared(**CERTIFICATES)
    assert turns(before, with_name(before, "db2.internal")) == {}
    assert turns(before, having(before, apps__api__drainSeconds="5")) == {}
    assert turns(before, with_host(before, "api3", "api")) == {}
