"""The whole way as config changes: each is one legal move, forward and back."""

from dataclasses import replace

from rollout.declared import Declared
from rollout.path import Moves, ahead, back, behind, forward
from rollout.rules import move_violations

from .declarations import APPS_FLIPPED, FORCED, NOTHING, REDIS_CLOSED, declared, with_app


def walked(start: Declared, moves: Moves) -> Declared:
    """The declaration at the end; every move is legal and changes something."""
    for key, value in moves:
        following = replace(start, settings={**start.settings, key: value})
        assert following != start
        assert move_violations(start, following) == (), (key, value)
        start = following
    return start


def test_the_way_goes_through_both_tracks_in_order() -> None:
    assert forward(NOTHING) == (
        ("PREPARED", "on"),
        ("CERTIFICATE_GENERATION", "1"),
        ("POSTGRES_TLS_ENABLED", "on"),
        ("PGBOUNCER_SERVER_TLS_SSLMODE", "verify-ca"),
        ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow"),
        ("apps.api.DATABASE_SSL_MODE", "verify-full"),
        ("apps.web.DATABASE_SSL_MODE", "verify-full"),
        ("PGBOUNCER_CLIENT_TLS_SSLMODE", "require"),
        ("POSTGRES_FORCE_SSL", "on"),
        ("REDIS_TLS_ENABLED", "true"),
        ("apps.api.REDIS_TLS_ENABLED", "true"),
        ("apps.web.REDIS_TLS_ENABLED", "true"),
        ("REDIS_FORCE_TLS", "true"),
    )


def test_every_move_of_the_way_is_legal_both_ways() -> None:
    start = with_app(with_app(NOTHING, "telpro"), "worker")
    end = walked(start, forward(start))
    assert set(end.settings.values()) == {"on", "1", "verify-ca", "verify-full", "require", "true"}
    assert walked(end, back(end)) == start


def test_the_way_is_the_same_wherever_the_rollout_stands() -> None:
    end = declared(**{**FORCED, **REDIS_CLOSED})
    assert forward(end) == forward(NOTHING)
    assert back(end) == back(NOTHING)


def test_what_is_ahead_and_behind_depends_on_where_it_stands() -> None:
    middle = declared(**APPS_FLIPPED)
    assert ahead(middle) == forward(middle)[7:]
    assert behind(middle) == back(middle)[6:]
    assert walked(middle, behind(middle)) == NOTHING
    assert behind(NOTHING) == ()
    assert ahead(declared(**{**FORCED, **REDIS_CLOSED})) == ()
