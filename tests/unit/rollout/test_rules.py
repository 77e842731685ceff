"""The rules of states and moves: every combination against an oracle written without the table, and named scenarios."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rollout.rules import at_start, move_violations, standing, state_violations
from rollout.steps import SSLMODES, VARIABLES, generic

from . import oracle
from .declarations import (
    APPS_FLIPPED,
    CERTIFICATES,
    CLIENT_LEG,
    CLOSED,
    FORCED,
    NOTHING,
    POSTGRES_OFFERS,
    PREPARED,
    REDIS_CLOSED,
    REDIS_FLIPPED,
    REDIS_OFFERS,
    SERVER_LEG,
    SHORT,
    declared,
    settings,
    with_name,
)

MODES = ("disable", "prefer", "verify-full")
POSTGRES_VALUES = {
    "prepared": ("off", "on"),
    "gen": ("0", "1", "2"),
    "pg": ("off", "on"),
    "leg2": SSLMODES,
    "leg1": ("disable", "allow", "prefer", "require"),
    "api": MODES,
    "web": MODES,
    "force": ("off", "on"),
}
REDIS_VALUES = {
    "prepared": ("off", "on"),
    "gen": ("0", "1", "2"),
    "redis": ("false", "true"),
    "api_redis": ("false", "true"),
    "web_redis": ("false", "true"),
    "force_redis": ("false", "true"),
}
TRACKS = {"postgres": POSTGRES_VALUES, "redis": REDIS_VALUES}

State = tuple[str, ...]


def states(track: str) -> Iterator[dict[str, str]]:
    """Every combination of a track's variables, by short name."""
    values = TRACKS[track]
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def neighbours(track: str, state: dict[str, str]) -> Iterator[dict[str, str]]:
    """Every state in which exactly one variable differs, all values that it has included."""
    for name in TRACKS[track]:
        for value in VARIABLES[generic(SHORT[name])].values or ("0", "1", "2", "3"):
            if value != state[name]:
                yield {**state, name: value}


@pytest.mark.parametrize("track", TRACKS)
def test_state_is_usable_exactly_when_every_hop_works(track: str) -> None:
    for state in states(track):
        assert (state_violations(settings(**state)) == ()) is oracle.usable(settings(**state)), state


@pytest.mark.parametrize("track", TRACKS)
def test_move_of_one_variable_is_legal_exactly_when_the_oracle_says_so(track: str) -> None:
    judged = {True: 0, False: 0}
    for state in states(track):
        before = declared(**state)
        for neighbour in neighbours(track, state):
            after = declared(**neighbour)
            legal = move_violations(before, after) == ()
            assert legal is oracle.legal(before.settings, after.settings), (state, neighbour)
            judged[legal] += 1
    assert min(judged.values()) > 30


@pytest.mark.parametrize("track", TRACKS)
def test_every_reachable_state_can_go_all_the_way_forward_and_all_the_way_back(track: str) -> None:
    edges = _legal_moves(track)
    values = TRACKS[track]
    start = tuple(allowed[0] for allowed in values.values())
    done = {**FORCED, **REDIS_CLOSED}
    end = tuple(done[name] for name in values)
    reachable = _closure(edges, start)
    assert end in reachable
    backward: dict[State, set[State]] = {state: set() for state in edges}
    for state, following in edges.items():
        for one in following:
            backward[one].add(state)
    assert reachable <= _closure(backward, start), "no way back"
    assert reachable <= _closure(backward, end), "no way forward"


def _legal_moves(track: str) -> dict[State, set[State]]:
    """From each usable state the states that one legal move leads to, among the values listed above."""
    usable = {tuple(state.values()): declared(**state) for state in states(track) if oracle.usable(settings(**state))}
    edges: dict[State, set[State]] = {}
    for state, before in usable.items():
        named = dict(zip(TRACKS[track], state, strict=True))
        following = {tuple(neighbour.values()) for neighbour in neighbours(track, named)} & usable.keys()
        edges[state] = {one for one in following if move_violations(before, usable[one]) == ()}
    return edges


def _closure(edges: dict[State, set[State]], start: State) -> set[State]:
    seen, todo = {start}, [start]
    while todo:
        for following in edges[todo.pop()] - seen:
            seen.add(following)
            todo.append(following)
    return seen


# name, from, to, None or a part of the refusal
MOVES: list[tuple[str, dict[str, str], dict[str, str], str | None]] = [
    ("prepare first", {}, PREPARED, None),
    ("certificates before prepare", {}, {"gen": "1"}, "PREPARED is off and comes before it"),
    ("certificates", PREPARED, CERTIFICATES, None),
    ("nothing changes", SERVER_LEG, SERVER_LEG, None),
    ("postgres offers", CERTIFICATES, POSTGRES_OFFERS, None),
    ("pgbouncer verifies", POSTGRES_OFFERS, SERVER_LEG, None),
    ("pgbouncer verifies the name too", SERVER_LEG, {**SERVER_LEG, "leg2": "verify-full"}, None),
    ("pgbouncer offers", SERVER_LEG, CLIENT_LEG, None),
    ("pgbouncer offers before its own leg", POSTGRES_OFFERS, {**POSTGRES_OFFERS, "leg1": "allow"}, "_SERVER_TLS"),
    ("allow to prefer is no step", CLIENT_LEG, {**CLIENT_LEG, "leg1": "prefer"}, None),
    ("first app", CLIENT_LEG, {**CLIENT_LEG, "api": "verify-full"}, None),
    ("app out of order", CLIENT_LEG, {**CLIENT_LEG, "web": "verify-full"}, "apps.api.DATABASE_SSL_MODE is disable and"),
    ("app before pgbouncer offers", SERVER_LEG, {**SERVER_LEG, "api": "verify-full"}, "api would find no TLS at PgB"),
    ("app half way, out of order", SERVER_LEG, {**SERVER_LEG, "api": "prefer"}, "PGBOUNCER_CLIENT_TLS_SSLMODE is dis"),
    ("require", APPS_FLIPPED, CLOSED, None),
    ("require over a plaintext app", CLIENT_LEG, {**CLIENT_LEG, "leg1": "require"}, "PgBouncer would refuse api"),
    (
        "require while an app is half way",
        {**APPS_FLIPPED, "web": "prefer"},
        {**CLOSED, "web": "prefer"},
        "apps.web.DATABASE_SSL_MODE is prefer and comes before it",
    ),
    ("both client steps at once", SERVER_LEG, {**SERVER_LEG, "leg1": "require"}, "apps.web.DATABASE_SSL_MODE is disab"),
    ("force", CLOSED, FORCED, None),
    ("force before require", APPS_FLIPPED, {**APPS_FLIPPED, "force": "on"}, "PGBOUNCER_CLIENT_TLS_SSLMODE is allow"),
    ("force over a plaintext leg", CERTIFICATES, {**CERTIFICATES, "force": "on"}, "would refuse PgBouncer"),
    ("redis needs nothing of postgres", CERTIFICATES, REDIS_OFFERS, None),
    ("postgres needs nothing of redis", REDIS_CLOSED, {**REDIS_CLOSED, "pg": "on"}, None),
    ("redis without certificate", PREPARED, {**PREPARED, "redis": "true"}, "Redis would have no certificate"),
    ("app before redis offers", CERTIFICATES, {**CERTIFICATES, "api_redis": "true"}, "no TLS listener at Redis"),
    ("redis closes", REDIS_FLIPPED, REDIS_CLOSED, None),
    (
        "redis closes over a plaintext app",
        REDIS_OFFERS,
        {**REDIS_OFFERS, "force_redis": "true"},
        "api would find no pl",
    ),
    ("back from verify-ca", SERVER_LEG, POSTGRES_OFFERS, None),
    ("back to prefer only", SERVER_LEG, {**POSTGRES_OFFERS, "leg2": "prefer"}, None),
    ("back from on", POSTGRES_OFFERS, CERTIFICATES, None),
    ("back to no certificate", CERTIFICATES, PREPARED, None),
    ("back to nothing", PREPARED, {}, None),
    ("prepare goes last", CERTIFICATES, {"gen": "1"}, "set CERTIFICATE_GENERATION to 0 first"),
    ("back from force", FORCED, CLOSED, None),
    ("back from require", CLOSED, APPS_FLIPPED, None),
    (
        "back through both client steps while apps fall back",
        {**CLOSED, "api": "prefer", "web": "prefer"},
        {**SERVER_LEG, "api": "prefer", "web": "prefer"},
        None,
    ),
    ("pgbouncer stops offering in one go", {**CLIENT_LEG, "leg1": "prefer"}, SERVER_LEG, None),
    ("one app alone goes back", APPS_FLIPPED, {**APPS_FLIPPED, "api": "disable"}, None),
    ("an app goes back under require", CLOSED, {**CLOSED, "web": "disable"}, "PGBOUNCER_CLIENT_TLS_SSLMODE is require"),
    ("an app goes back to prefer under require", CLOSED, {**CLOSED, "web": "prefer"}, None),
    ("a redis app alone goes back", REDIS_FLIPPED, {**REDIS_FLIPPED, "api_redis": "false"}, None),
    ("a redis app goes back under force", REDIS_CLOSED, {**REDIS_CLOSED, "api_redis": "false"}, "REDIS_FORCE_TLS to f"),
    ("redis stops under its apps", REDIS_FLIPPED, {**REDIS_FLIPPED, "redis": "false"}, "apps.web.REDIS_TLS_ENABLED to"),
    ("reissue while serving", FORCED, {**FORCED, "gen": "2"}, None),
    ("reissue taken back issues again", {**FORCED, "gen": "2"}, FORCED, None),
    ("reissue of a deployment that was never prepared", {"gen": "1"}, {"gen": "2"}, None),
    ("a generation skipped", CERTIFICATES, {**CERTIFICATES, "gen": "3"}, "set CERTIFICATE_GENERATION to 2"),
    ("postgres without certificate", PREPARED, {**PREPARED, "pg": "on"}, "CERTIFICATE_GENERATION is 0, and Postgres"),
    ("pgbouncer before postgres", CERTIFICATES, {**CERTIFICATES, "leg2": "verify-ca"}, "POSTGRES_TLS_ENABLED is off"),
    ("prefer out of order", CERTIFICATES, {**CERTIFICATES, "leg2": "prefer"}, "POSTGRES_TLS_ENABLED is off and comes"),
    ("postgres off under a verifying leg", SERVER_LEG, {**SERVER_LEG, "pg": "off"}, "_SERVER_TLS_SSLMODE to disable"),
    ("certificate gone under postgres", POSTGRES_OFFERS, {**POSTGRES_OFFERS, "gen": "0"}, "no certificate to serve"),
    ("certificate gone under redis", REDIS_OFFERS, {**REDIS_OFFERS, "gen": "0"}, "set REDIS_TLS_ENABLED to false"),
    ("two steps at once", CERTIFICATES, SERVER_LEG, "one deploy makes one move"),
    ("a step of each track at once", CERTIFICATES, {**POSTGRES_OFFERS, "redis": "true"}, "one deploy makes one move"),
    ("two steps back at once", SERVER_LEG, CERTIFICATES, "one deploy makes one move"),
    ("two apps at once", CLIENT_LEG, APPS_FLIPPED, "one deploy makes one move"),
    ("reissue with a step", CERTIFICATES, {**POSTGRES_OFFERS, "gen": "2"}, "2 things change at once"),
]


@pytest.mark.parametrize(("name", "before", "after", "refusal"), MOVES, ids=[move[0] for move in MOVES])
def test_move(name: str, before: dict[str, str], after: dict[str, str], refusal: str | None) -> None:
    violations = move_violations(declared(**before), declared(**after))
    if refusal is None:
        assert violations == ()
    else:
        assert refusal in "\n".join(map(str, violations))


def test_one_cause_is_told_once() -> None:
    assert len(move_violations(declared(**CERTIFICATES), declared(**CERTIFICATES, leg2="verify-ca"))) == 1
    assert len(move_violations(declared(), declared(gen="1"))) == 1


def test_all_violations_are_told_at_once() -> None:
    violations = move_violations(declared(), declared(leg2="verify-ca", leg1="allow", redis="true"))
    assert {violation.key for violation in violations} >= {SHORT["leg1"], SHORT["leg2"], SHORT["redis"]}
    assert len(violations) >= 4


def test_every_app_in_the_way_is_named() -> None:
    violations = move_violations(declared(**CLIENT_LEG), declared(**{**CLIENT_LEG, "leg1": "require"}))
    told = "\n".join(map(str, violations))
    assert "apps.api.DATABASE_SSL_MODE to verify-full" in told
    assert "apps.web.DATABASE_SSL_MODE to verify-full" in told


# before, after, the whole refusal
SENTENCES = [
    (
        CERTIFICATES,
        {**CERTIFICATES, "leg2": "verify-ca"},
        "PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca: POSTGRES_TLS_ENABLED is off, and PgBouncer would find no TLS at "
        "Postgres and every login would fail; set POSTGRES_TLS_ENABLED to on first, or leave "
        "PGBOUNCER_SERVER_TLS_SSLMODE at disable",
    ),
    (
        CLOSED,
        {**CLOSED, "web": "disable"},
        "apps.web.DATABASE_SSL_MODE=disable: PGBOUNCER_CLIENT_TLS_SSLMODE is require, and PgBouncer would refuse web, "
        "which connects in plaintext; set PGBOUNCER_CLIENT_TLS_SSLMODE to allow first",
    ),
    (
        REDIS_FLIPPED | {"api_redis": "false"},
        REDIS_CLOSED | {"api_redis": "false"},
        "REDIS_FORCE_TLS=true: apps.api.REDIS_TLS_ENABLED is false, and api would find no plaintext listener at Redis "
        "and every connection would fail; set apps.api.REDIS_TLS_ENABLED to true first, or leave REDIS_FORCE_TLS at "
        "false",
    ),
    (
        CERTIFICATES,
        {"gen": "1"},
        "PREPARED=off: CERTIFICATE_GENERATION is 1, and the containers would lose the place from which they read "
        "certificates; set CERTIFICATE_GENERATION to 0 first",
    ),
]


@pytest.mark.parametrize(("before", "after", "sentence"), SENTENCES)
def test_a_violation_says_what_was_asked_what_is_so_and_what_to_do(
    before: dict[str, str], after: dict[str, str], sentence: str
) -> None:
    (violation,) = move_violations(declared(**before), declared(**after))
    assert str(violation) == sentence


# which variable is weak while all others stand at their strongest; which ones are told to need more of it
NEEDED = {
    "gen": ("pg", "leg1", "redis"),
    "pg": ("leg2", "force"),
    "leg2": ("force",),
    "leg1": ("api", "web"),
    "api": ("leg1",),
    "redis": ("api_redis", "web_redis", "force_redis"),
    "web_redis": ("force_redis",),
    "force": (),
    "force_redis": (),
    "prepared": (),
}


@pytest.mark.parametrize("weak", NEEDED)
def test_everything_that_stands_on_a_variable_is_told(weak: str) -> None:
    initial = NOTHING.settings[SHORT[weak]]
    violations = state_violations(settings(**{**FORCED, **REDIS_CLOSED, weak: initial}))
    assert sorted(violation.key for violation in violations) == sorted(SHORT[name] for name in NEEDED[weak])
    assert all(f"{SHORT[weak]} is {initial}" in violation.so for violation in violations)


def test_a_san_alone_is_a_reissue_and_with_a_step_is_refused() -> None:
    before = declared(**CERTIFICATES)
    assert move_violations(before, with_name(before, "db2.internal")) == ()
    both = with_name(declared(**POSTGRES_OFFERS), "db2.internal")
    assert "SAN added: db2.internal" in str(move_violations(before, both)[0])


def test_a_san_together_with_the_next_generation_is_one_reissue() -> None:
    again = with_name(declared(**{**SERVER_LEG, "gen": "2"}), "db2.internal")
    assert move_violations(declared(**SERVER_LEG), again) == ()


def test_the_request_may_change_freely_while_nothing_is_issued() -> None:
    assert move_violations(declared(**PREPARED), with_name(declared(**CERTIFICATES), "db2.internal")) == ()


def test_a_site_change_is_no_part_of_a_step() -> None:
    before, after = declared(**CERTIFICATES), declared(**POSTGRES_OFFERS)
    elsewhere = replace(NOTHING.site, region="eu-central-1")
    assert move_violations(before, replace(before, site=elsewhere)) == ()
    assert "2 things change at once" in str(move_violations(before, replace(after, site=elsewhere))[0])
    # A reissue brings its dialed names along, and nothing else of the site.
    reissued = with_name(before, "db2.internal")
    assert move_violations(before, replace(reissued, site=replace(NOTHING.site, dialed_names=("db2.internal",)))) == ()
    assert "2 things change at once" in str(move_violations(before, replace(reissued, site=elsewhere))[0])


# settings, track, step, next, back
STANDINGS = [
    ({}, "postgres", "0", "PREPARED=on", ""),
    (PREPARED, "postgres", "0", "CERTIFICATE_GENERATION=1", "PREPARED=off"),
    (CERTIFICATES, "redis", "1", "REDIS_TLS_ENABLED=true", "CERTIFICATE_GENERATION=0"),
    (POSTGRES_OFFERS, "postgres", "2", "PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca", "POSTGRES_TLS_ENABLED=off"),
    (CLIENT_LEG, "postgres", "4", "apps.api.DATABASE_SSL_MODE=verify-full", "PGBOUNCER_CLIENT_TLS_SSLMODE=disable"),
    (
        {**CLIENT_LEG, "api": "verify-full"},
        "postgres",
        "4",
        "apps.web.DATABASE_SSL_MODE=verify-full",
        "apps.api.DATABASE_SSL_MODE=disable",
    ),
    (
        {**APPS_FLIPPED, "api": "disable"},
        "postgres",
        "4",
        "apps.api.DATABASE_SSL_MODE=verify-full",
        "apps.web.DATABASE_SSL_MODE=disable",
    ),
    (APPS_FLIPPED, "postgres", "5", "PGBOUNCER_CLIENT_TLS_SSLMODE=require", "apps.web.DATABASE_SSL_MODE=disable"),
    (CLOSED, "postgres", "6", "POSTGRES_FORCE_SSL=on (optional)", "PGBOUNCER_CLIENT_TLS_SSLMODE=allow"),
    (FORCED, "postgres", "7", "", "POSTGRES_FORCE_SSL=off"),
    (REDIS_CLOSED, "redis", "4", "", "REDIS_FORCE_TLS=false"),
    # the other track still stands on the certificates
    (REDIS_OFFERS, "postgres", "1", "POSTGRES_TLS_ENABLED=on", ""),
]


@pytest.mark.parametrize(("state", "track", "step", "following", "back"), STANDINGS)
def test_standing_names_the_next_and_the_way_back(
    state: dict[str, str], track: str, step: str, following: str, back: str
) -> None:
    of = {"postgres": "7", "redis": "4"}[track]
    assert standing(settings(**state), track) == {"step": step, "of": of, "next": following, "back": back}


def test_at_start_keeps_all_but_the_settings() -> None:
    assert at_start(declared(**SERVER_LEG)) == NOTHING
