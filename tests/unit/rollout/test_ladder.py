"""The ladder between environments: forward waits for what is confirmed below, back for nothing."""

from dataclasses import replace

import pytest

from rollout.ladder import below, ladder_violations
from tests.unit.rollout.declarations import (
    APPS_FLIPPED,
    CERTIFICATES,
    CLIENT_LEG,
    CLOSED,
    NOTHING,
    POSTGRES_OFFERS,
    PREPARED,
    REDIS_FLIPPED,
    SERVER_LEG,
    declared,
    having,
    with_app,
    with_host,
    without_app,
)

WAY = [PREPARED, CERTIFICATES, POSTGRES_OFFERS, SERVER_LEG, CLIENT_LEG, APPS_FLIPPED, CLOSED]


def refused(before: dict[str, str], after: dict[str, str], confirmed: dict[str, str] | None) -> tuple[str, ...]:
    known = None if confirmed is None else declared(**confirmed)
    found = ladder_violations(declared(**before), declared(**after), lower="staging", confirmed=known)
    return tuple(str(violation) for violation in found)


@pytest.mark.parametrize("place", range(1, len(WAY)))
def test_a_step_needs_the_same_step_confirmed_below(place: int) -> None:
    before, after = WAY[place - 1], WAY[place]
    assert refused(before, after, after) == ()
    assert refused(before, after, WAY[-1]) == ()
    assert refused(before, after, before) != ()


@pytest.mark.parametrize("place", range(1, len(WAY)))
@pytest.mark.parametrize("confirmed", [None, {}, WAY[-1]])
def test_back_is_never_blocked(place: int, confirmed: dict[str, str] | None) -> None:
    assert refused(WAY[place], WAY[place - 1], confirmed) == ()


def test_a_refusal_says_what_stands_below_and_what_to_do() -> None:
    (said,) = refused(SERVER_LEG, CLIENT_LEG, SERVER_LEG)
    assert said == (
        "PGBOUNCER_CLIENT_TLS_SSLMODE=allow: staging comes first on the ladder, and has confirmed "
        "PGBOUNCER_CLIENT_TLS_SSLMODE=disable; take PGBOUNCER_CLIENT_TLS_SSLMODE to allow in staging first and let "
        "every host confirm it"
    )


def test_forward_is_refused_where_nobody_knows_what_stands_below() -> None:
    (said,) = refused(SERVER_LEG, CLIENT_LEG, None)
    assert "what it has confirmed is not known" in said


def test_a_value_below_the_one_asked_for_is_not_enough() -> None:
    assert refused(CLIENT_LEG, {**CLIENT_LEG, "api": "verify-full"}, {**CLIENT_LEG, "api": "require"})
    assert not refused(CLIENT_LEG, {**CLIENT_LEG, "api": "require"}, {**CLIENT_LEG, "api": "verify-full"})


def test_a_reissue_is_each_environments_own() -> None:
    third = {**CERTIFICATES, "gen": "3"}
    assert refused({**CERTIFICATES, "gen": "2"}, third, CERTIFICATES) == ()
    assert refused(PREPARED, CERTIFICATES, {**PREPARED, "gen": "2"}) == ()


def test_an_app_that_is_not_below_goes_after_all_that_are() -> None:
    before = with_app(declared(**APPS_FLIPPED), "batch")
    after = replace(before, settings={**before.settings, "apps.batch.DATABASE_SSL_MODE": "verify-full"})
    some = declared(**{**CLIENT_LEG, "api": "verify-full"})
    assert ladder_violations(before, after, lower="staging", confirmed=declared(**APPS_FLIPPED)) == ()
    (refusal,) = ladder_violations(before, after, lower="staging", confirmed=some)
    assert "has confirmed apps.web.DATABASE_SSL_MODE=disable" in str(refusal)


def test_what_has_no_order_is_not_on_the_ladder() -> None:
    base = declared(**REDIS_FLIPPED)
    for other in (
        having(base, QUIET_MINUTES="5"),
        with_host(base, "api3", "api"),
        without_app(base, "web", leaving=("web",)),
    ):
        assert ladder_violations(base, other, lower="staging", confirmed=NOTHING) == ()


def test_the_environment_below_is_the_one_before() -> None:
    ladder = ("dev", "staging", "production")
    assert [below(ladder, name) for name in (*ladder, "elsewhere")] == ["", "dev", "staging", ""]
