"""The rules, as matrices and as named scenarios."""

import itertools
from dataclasses import replace

import pytest

from rollout.rules import at_start, describe, move_violations, standing, state_violations
from rollout.steps import SSLMODES, initial_settings, offered_steps, place_of, step_of

from .declarations import START, declared, with_name

STATES = [
    {"CERTIFICATE_GENERATION": gen, "POSTGRES_TLS_ENABLED": pg, "PGBOUNCER_SERVER_TLS_SSLMODE": leg2}
    for gen, pg, leg2 in itertools.product(("0", "1", "2"), ("off", "on"), SSLMODES)
]


def usable_by_hand(state: dict[str, str]) -> bool:
    """The same question answered without the table, from what the servers do (facts: a wrong leg is an outage)."""
    issued = state["CERTIFICATE_GENERATION"] != "0"
    offers = state["POSTGRES_TLS_ENABLED"] == "on"
    mode = state["PGBOUNCER_SERVER_TLS_SSLMODE"]
    if offers and not issued:
        return False
    if mode in ("require", "verify-ca", "verify-full") and not offers:
        return False
    return not (mode in ("verify-ca", "verify-full") and not issued)


@pytest.mark.parametrize("state", STATES, ids=lambda state: "-".join(state.values()))
def test_state_is_usable_exactly_when_every_hop_works(state: dict[str, str]) -> None:
    assert (state_violations(state) == ()) is usable_by_hand(state)


# name, from, to, None or a part of the refusal
MOVES = [
    ("certificates first", ("0", "off", "disable"), ("1", "off", "disable"), None),
    ("postgres offers", ("1", "off", "disable"), ("1", "on", "disable"), None),
    ("pgbouncer verifies", ("1", "on", "disable"), ("1", "on", "verify-ca"), None),
    ("pgbouncer verifies the name too", ("1", "on", "verify-ca"), ("1", "on", "verify-full"), None),
    ("nothing changes", ("1", "on", "disable"), ("1", "on", "disable"), None),
    ("back from verify-ca", ("1", "on", "verify-ca"), ("1", "on", "disable"), None),
    ("back to prefer only", ("1", "on", "verify-ca"), ("1", "on", "prefer"), None),
    ("back from on", ("1", "on", "disable"), ("1", "off", "disable"), None),
    ("back to no certificate", ("1", "off", "disable"), ("0", "off", "disable"), None),
    ("reissue while serving", ("1", "on", "verify-ca"), ("2", "on", "verify-ca"), None),
    ("reissue taken back issues again", ("2", "on", "verify-ca"), ("1", "on", "verify-ca"), None),
    ("postgres without certificate", ("0", "off", "disable"), ("0", "on", "disable"), "CERTIFICATE_GENERATION is 0"),
    ("pgbouncer before postgres", ("1", "off", "disable"), ("1", "off", "verify-ca"), "POSTGRES_TLS_ENABLED is off"),
    ("prefer out of order", ("1", "off", "disable"), ("1", "off", "prefer"), "POSTGRES_TLS_ENABLED is off and comes"),
    ("postgres off under a verifying leg", ("1", "on", "verify-ca"), ("1", "off", "verify-ca"), "set POSTGRES_TLS"),
    ("certificate gone under postgres", ("1", "on", "disable"), ("0", "on", "disable"), "no certificate to serve"),
    ("two steps at once", ("1", "off", "disable"), ("1", "on", "verify-ca"), "one deploy makes one move"),
    ("two steps back at once", ("1", "on", "verify-ca"), ("1", "off", "disable"), "one deploy makes one move"),
    ("a generation skipped", ("1", "off", "disable"), ("3", "off", "disable"), "set CERTIFICATE_GENERATION to 2"),
    ("reissue with a step", ("1", "off", "disable"), ("2", "on", "disable"), "2 things change at once"),
]


@pytest.mark.parametrize(("name", "before", "after", "refusal"), MOVES, ids=[move[0] for move in MOVES])
def test_move(name: str, before: tuple[str, ...], after: tuple[str, ...], refusal: str | None) -> None:
    violations = move_violations(declared(*before), declared(*after))
    if refusal is None:
        assert violations == ()
    else:
        assert refusal in "\n".join(map(str, violations))


def test_one_cause_is_told_once() -> None:
    violations = move_violations(declared("1", "off", "disable"), declared("1", "off", "verify-ca"))
    assert len(violations) == 1


def test_all_violations_are_told_at_once() -> None:
    violations = move_violations(declared("0", "off", "disable"), declared("0", "on", "verify-ca"))
    assert {violation.key for violation in violations} >= {"POSTGRES_TLS_ENABLED", "PGBOUNCER_SERVER_TLS_SSLMODE"}
    assert len(violations) >= 3


def test_a_violation_says_what_was_asked_what_is_so_and_what_to_do() -> None:
    (violation,) = move_violations(declared("1", "off"), declared("1", "off", "verify-ca"))
    assert str(violation) == (
        "PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca: POSTGRES_TLS_ENABLED is off, and PgBouncer would find no TLS at "
        "Postgres and every login would fail; set POSTGRES_TLS_ENABLED to on first, or keep "
        "PGBOUNCER_SERVER_TLS_SSLMODE below require"
    )


def test_a_san_alone_is_a_reissue_and_with_a_step_is_refused() -> None:
    before = declared("1", "off")
    assert move_violations(before, with_name(before, "db2.internal")) == ()
    both = with_name(declared("1", "on"), "db2.internal")
    assert "SAN added: db2.internal" in str(move_violations(before, both)[0])


def test_a_san_together_with_the_next_generation_is_one_reissue() -> None:
    assert move_violations(declared("1", "on"), with_name(declared("2", "on"), "db2.internal")) == ()


def test_the_request_may_change_freely_while_nothing_is_issued() -> None:
    assert move_violations(declared("0"), with_name(declared("1"), "db2.internal")) == ()


def test_an_inventory_change_is_a_move_of_its_own() -> None:
    before = declared("1", "off")
    more = {**START.hosts, "voice": ("voice",)}
    assert move_violations(before, replace(before, hosts=more)) == ()
    assert "host voice added" in str(move_violations(before, declared("1", "on", hosts=more))[0])


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (("1", "off"), ("1", "on"), "postgres 2/7: POSTGRES_TLS_ENABLED off → on"),
        (("1", "on"), ("1", "off"), "postgres 2/7 back: POSTGRES_TLS_ENABLED on → off"),
        (("0",), ("1",), "postgres 1/7: CERTIFICATE_GENERATION 0 → 1"),
    ],
)
def test_the_line_of_a_move(before: tuple[str, ...], after: tuple[str, ...], line: str) -> None:
    assert describe(declared(*before), declared(*after)).line == line


def test_the_line_of_a_reissue_says_why() -> None:
    before = declared("1", "on")
    assert describe(before, with_name(before, "db2.internal")).line == "certificate reissued: SAN added: db2.internal"


def test_standing_names_the_next_and_the_way_back() -> None:
    assert standing(declared("1", "on").settings, "postgres") == {
        "step": "2",
        "of": "7",
        "next": "PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca",
        "back": "POSTGRES_TLS_ENABLED=off",
    }
    assert standing(initial_settings(), "postgres")["back"] == ""
    assert "not in this version" in standing(declared("1", "on", "verify-ca").settings, "postgres")["next"]


def test_every_reachable_state_can_go_all_the_way_forward_and_all_the_way_back() -> None:
    states = {tuple(state.values()): declared(*state.values()) for state in STATES if state_violations(state) == ()}
    edges = {
        a: {b for b, after in states.items() if a != b and move_violations(before, after) == ()}
        for a, before in states.items()
    }
    start, end = ("0", "off", "disable"), ("1", "on", "verify-ca")
    for state in _reachable(edges, start):
        assert start in _reachable(edges, state), f"no way back from {state}"
        assert end in _reachable(edges, state), f"no way forward from {state}"


def _reachable(edges: dict[tuple[str, ...], set[tuple[str, ...]]], start: tuple[str, ...]) -> set[tuple[str, ...]]:
    seen, todo = {start}, [start]
    while todo:
        for following in edges[todo.pop()] - seen:
            seen.add(following)
            todo.append(following)
    return seen


def test_every_back_move_to_a_usable_state_is_allowed() -> None:
    for before, after in itertools.product(STATES, STATES):
        changed = [key for key in before if before[key] != after[key]]
        if len(changed) != 1 or state_violations(before) or state_violations(after):
            continue
        step = step_of(changed[0])
        if step.rank(after[step.key]) < step.rank(before[step.key]):
            assert move_violations(declared(*before.values()), declared(*after.values())) == (), (before, after)


def test_the_table_is_whole() -> None:
    for step in offered_steps():
        assert step.rank(step.initial) == 0
        assert not step.done(step.initial)
        assert step.done(step.target)
        for need in step.needs:
            own, other = place_of(step.key), place_of(need.key)
            assert own[0] == other[0]
            assert other[1] < own[1], f"{step.key} needs {need.key}, which comes later"


def test_at_start_keeps_all_but_the_settings() -> None:
    assert at_start(declared("1", "on")) == START
