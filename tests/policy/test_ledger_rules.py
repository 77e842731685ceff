"""`rollout-state` and `rollout-move`: the ledger's own verdict as a violation, with what is allowed instead."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from policy.inputs import UNKNOWN
from policy.ledger_rules import remember, rollout_move, rollout_state
from rollout.declared import Declared
from rollout.ledger import Record, Refused, advance, record_fields
from tests.policy.resources import asking, ledger, record, refused, seen
from tests.unit.rollout.declarations import (
    CERTIFICATES,
    CLIENT_LEG,
    POSTGRES_OFFERS,
    PREPARED,
    REDIS_OFFERS,
    SERVER_LEG,
    declared,
    without_app,
)

ISSUED = record(PREPARED, CERTIFICATES)
OFFERED = record(PREPARED, CERTIFICATES, POSTGRES_OFFERS)


def said(before: Record | None, wanted: Declared, receipts: dict[str, str] | None = None) -> list[str]:
    """What both policies say where the ledger refuses this."""
    if receipts is None:
        receipts = dict(before.revisions) if before else {}
    resource = refused(before, asking(wanted), receipts)
    return [*rollout_state(resource), *rollout_move(resource, seen())]


@pytest.mark.parametrize(
    "states",
    [
        (),
        (PREPARED,),
        (PREPARED, CERTIFICATES),
        (PREPARED, CERTIFICATES, POSTGRES_OFFERS),
        (PREPARED, CERTIFICATES, POSTGRES_OFFERS, CERTIFICATES),
        (PREPARED, CERTIFICATES, REDIS_OFFERS, {**REDIS_OFFERS, "api_redis": "true"}),
    ],
    ids=["first", "prepared", "issued", "offers", "back", "an app"],
)
def test_a_record_that_the_ledger_accepted_is_accepted(states: tuple[dict[str, str], ...]) -> None:
    resource, memory = ledger(record(*states)), seen()
    remember(resource, memory)
    assert rollout_state(resource) == []
    assert rollout_move(resource, memory) == []
    assert memory.record == record(*states)


def test_a_pending_move_its_retry_and_the_way_back_are_accepted() -> None:
    pending = advance(ISSUED, asking(declared(**POSTGRES_OFFERS)), dict(ISSUED.revisions))
    back = advance(pending, asking(declared(**CERTIFICATES)), dict(ISSUED.revisions))
    for one in (pending, back):
        assert rollout_move(ledger(one), seen()) == []
        assert rollout_state(ledger(one)) == []


def test_an_unusable_state_is_refused_once_with_the_one_command() -> None:
    state = refused(ISSUED, asking(declared(**{**CERTIFICATES, "leg2": "verify-ca"})), dict(ISSUED.revisions))
    assert rollout_move(state, seen()) == []
    (told,) = rollout_state(state)
    assert "PgBouncer would find no TLS at Postgres" in told
    assert told.endswith(
        "allowed now: undo this change, then `pulumi config set POSTGRES_TLS_ENABLED on`, then `pulumi up`"
    )


def test_two_moves_at_once_are_refused_with_the_one_command() -> None:
    (told,) = said(ISSUED, declared(**SERVER_LEG))
    assert "2 things change at once" in told
    assert "`pulumi config set POSTGRES_TLS_ENABLED on`" in told


def test_while_a_move_is_pending_the_same_again_and_the_way_back_are_the_commands() -> None:
    pending = advance(OFFERED, asking(declared(**SERVER_LEG)), dict(OFFERED.revisions))
    (told,) = said(pending, declared(**CLIENT_LEG), dict(OFFERED.revisions))
    assert "is not confirmed by database" in told
    assert (
        "`pulumi config set PGBOUNCER_SERVER_TLS_SSLMODE verify-ca` or "
        "`pulumi config set PGBOUNCER_SERVER_TLS_SSLMODE disable`, then `pulumi up`" in told
    )


def test_a_lost_record_is_refused_with_the_way_to_get_it_back() -> None:
    told = "\n".join(said(None, declared(), {"database": "3"}))
    assert "the ledger has no record" in told
    assert "allowed now: `pulumi stack import" in told


def test_an_app_that_leaves_unsaid_is_refused() -> None:
    wanted = without_app(declared(**CERTIFICATES), "web")
    assert "app web removed" in "\n".join(said(ISSUED, wanted))


@pytest.mark.parametrize(
    "wanted",
    [
        SERVER_LEG,
        CLIENT_LEG,
        {**CERTIFICATES, "leg2": "verify-ca"},
        {**CERTIFICATES, "force_redis": "true"},
        {**CERTIFICATES, "gen": "3"},
        {**PREPARED, "gen": "1", "pg": "on", "redis": "true"},
    ],
    ids=str,
)
@pytest.mark.parametrize("pending", [False, True], ids=["confirmed", "pending"])
def test_every_command_that_is_told_is_accepted_by_the_ledger(wanted: dict[str, str], pending: bool) -> None:
    before, receipts = ISSUED, dict(ISSUED.revisions)
    if pending:
        before = advance(ISSUED, asking(declared(**REDIS_OFFERS)), receipts)
    told = "\n".join(said(before, declared(**wanted), receipts))
    commands = re.findall(r"`pulumi config set (?:--path )?(\S+) (\S+)`", told.partition("allowed now:")[2])
    assert commands, told
    for key, value in commands:
        following = replace(before.attempted, settings={**before.attempted.settings, key: value})
        try:
            advance(before, following, receipts)
        except Refused as error:  # pragma: no cover
            pytest.fail(f"{key}={value} was told to be allowed: {error}")


def test_a_next_step_that_would_be_refused_is_not_told() -> None:
    stuck = asking(declared(**{**CERTIFICATES, "force_redis": "true"}))
    before = replace(ISSUED, confirmed=stuck, attempted=stuck)
    told = "\n".join(said(before, declared(**{**CERTIFICATES, "force_redis": "true", "api_redis": "true"})))
    assert "REDIS_TLS_ENABLED true`" not in told
    assert "allowed now: the config as it was for the last move" in told


def test_a_record_of_an_illegal_move_is_refused_though_the_ledger_let_it_through() -> None:
    skipped = replace(ISSUED, attempted=asking(declared(**SERVER_LEG)))
    found = rollout_move(ledger(skipped), seen())
    assert "3 things change at once" in found[0]
    unusable = replace(ISSUED, attempted=asking(declared(**{**CERTIFICATES, "leg2": "verify-ca"})))
    assert "PgBouncer would find no TLS" in rollout_state(ledger(unusable))[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contents", {"web": "POSTGRES_FORCE_SSL=on\n"}),
        ("generation", "7"),
        ("standing", {}),
        ("revisions", {"web": "1"}),
    ],
)
def test_a_field_that_does_not_follow_from_the_record_is_refused(field: str, value: object) -> None:
    (told,) = rollout_move(ledger(ISSUED, **{field: value}), seen())
    assert field in told


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"attempted": {}},
        {"attempted": "x"},
        {"attempted": UNKNOWN},
        {"declared": {"settings": 1}},
        {**record_fields(ISSUED), "revisions": {"web": UNKNOWN}},
    ],
    ids=["empty", "empty record", "no record", "unknown", "not declared", "unknown within"],
)
def test_inputs_that_cannot_be_read_are_refused(inputs: dict[str, object]) -> None:
    resource = replace(ledger(ISSUED), inputs=inputs)
    memory = seen()
    assert "can be judged" in rollout_move(resource, memory)[0]
    remember(resource, memory)
    assert memory.record is None


def test_a_ledger_that_judged_nothing_is_refused() -> None:
    resource = refused(ISSUED, ISSUED.attempted, dict(ISSUED.revisions))
    assert "did not judge" in rollout_move(resource, seen())[0]


def test_a_second_ledger_is_refused_and_takes_the_words_of_both_away() -> None:
    memory = seen(ISSUED)
    second = replace(ledger(OFFERED), name="other", urn="urn:other")
    remember(second, memory)
    assert "second ledger" in rollout_move(second, memory)[0]
    assert memory.record is None
