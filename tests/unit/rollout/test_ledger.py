"""The ledger's logic as scenario tables: each row is one deploy, who confirmed it, and what is expected of the next."""

from dataclasses import replace

import pytest

from rollout.declared import Declared
from rollout.ledger import Record, Refused, advance, unconfirmed_hosts

from .declarations import START, declared, with_name


def confirmed(record: Record) -> dict[str, str]:
    return dict(record.revisions)


def walk(*steps: Declared) -> Record:
    """The record after these declarations, each confirmed by every host."""
    record: Record | None = None
    receipts: dict[str, str] = {}
    for step in steps:
        record = advance(record, step, receipts)
        receipts = confirmed(record)
    assert record is not None
    return record


def test_first_deployment_gives_every_host_its_first_revision() -> None:
    record = advance(None, START, {})
    assert record.revisions == {"api": "1", "database": "1", "web": "1"}
    assert record.confirmed == START
    assert record.move == "first deployment, every variable at its initial value"


def test_only_the_hosts_that_a_move_touches_get_a_new_revision() -> None:
    record = walk(START, declared("1"), declared("1", "on"))
    assert record.revisions == {"api": "2", "database": "3", "web": "2"}
    assert record.move == "postgres 2/7: POSTGRES_TLS_ENABLED off → on"


def test_the_same_declaration_again_carries_everything_over() -> None:
    record = walk(START, declared("1"))
    assert advance(record, declared("1"), confirmed(record)) is record
    assert advance(record, declared("1"), {}) is record


def test_a_move_counts_as_confirmed_only_with_every_receipt() -> None:
    record = walk(START, declared("1"))
    following = advance(record, declared("1", "on"), confirmed(record))
    assert following.confirmed == declared("1")
    assert unconfirmed_hosts(following, confirmed(record)) == ("database",)


def test_the_next_step_is_refused_while_the_last_one_is_not_confirmed() -> None:
    record = walk(START, declared("1"))
    pending = advance(record, declared("1", "on"), confirmed(record))
    with pytest.raises(Refused, match="not confirmed by database") as refused:
        advance(pending, declared("1", "on", "verify-ca"), confirmed(record))
    assert "POSTGRES_TLS_ENABLED off → on" in str(refused.value)


def test_after_a_failure_the_way_back_runs_the_host_again() -> None:
    record = walk(START, declared("1"))
    pending = advance(record, declared("1", "on"), confirmed(record))
    back = advance(pending, declared("1"), confirmed(record))
    assert back.attempted == back.confirmed == declared("1")
    assert int(back.revisions["database"]) == int(pending.revisions["database"]) + 1
    assert back.revisions["api"] == record.revisions["api"]
    # and from there the step may be tried again
    again = advance(back, declared("1", "on"), confirmed(back))
    assert again.attempted == declared("1", "on")


def test_after_a_failure_the_same_step_again_is_a_retry() -> None:
    record = walk(START, declared("1"))
    pending = advance(record, declared("1", "on"), confirmed(record))
    assert advance(pending, declared("1", "on"), confirmed(record)) is pending


def test_a_failed_way_back_still_allows_only_itself() -> None:
    record = walk(START, declared("1"))
    pending = advance(record, declared("1", "on"), confirmed(record))
    back = advance(pending, declared("1"), confirmed(record))
    with pytest.raises(Refused, match="not confirmed"):
        advance(back, declared("1", "on"), confirmed(record))


def test_a_host_that_is_gone_may_leave_the_inventory_while_a_move_is_pending() -> None:
    record = walk(START, declared("1"))
    pending = advance(record, declared("1", "on"), confirmed(record))
    fewer = {name: roles for name, roles in START.hosts.items() if name != "web"}
    after = advance(pending, declared("1", "on", hosts=fewer), confirmed(record))
    assert "web" not in after.revisions
    assert after.confirmed == declared("1", hosts=fewer)
    back = advance(after, declared("1", hosts=fewer), confirmed(record))
    assert back.attempted == declared("1", hosts=fewer)


def test_a_new_host_converges_with_a_first_revision_and_touches_no_other() -> None:
    record = walk(START, declared("1"))
    more = {**START.hosts, "voice": ("voice",)}
    after = advance(record, declared("1", hosts=more), confirmed(record))
    assert after.revisions == {**record.revisions, "voice": "1"}
    assert after.move == "host voice added"


def test_receipts_without_a_record_are_refused() -> None:
    with pytest.raises(Refused, match="the ledger has no record, yet hosts are already set"):
        advance(None, START, {"database": "3"})


def test_a_first_deployment_may_not_skip_steps() -> None:
    with pytest.raises(Refused, match="one deploy makes one move"):
        advance(None, declared("1", "on"), {})


def test_a_refusal_gives_every_reason() -> None:
    record = walk(START)
    with pytest.raises(Refused) as refused:
        advance(record, declared("0", "on", "verify-ca"), confirmed(record))
    assert len(refused.value.reasons) >= 3


def test_a_reissue_touches_every_host_and_nothing_else_moves() -> None:
    record = walk(START, declared("1"), declared("1", "on"))
    after = advance(record, with_name(declared("1", "on"), "db2.internal"), confirmed(record))
    assert all(int(after.revisions[host]) == int(record.revisions[host]) + 1 for host in record.revisions)
    assert after.move == "certificate reissued: SAN added: db2.internal"


def test_a_record_survives_the_trip_through_plain_data() -> None:
    record = walk(START, declared("1"), declared("1", "on"))
    assert Record.from_plain(record.to_plain()) == record


def test_a_record_of_an_older_version_gains_new_variables_at_their_initial_value() -> None:
    plain = walk(START).to_plain()
    del plain["attempted"]["settings"]["PGBOUNCER_SERVER_TLS_SSLMODE"]
    assert Record.from_plain(plain).attempted == START


def test_attributes_that_touch_no_host_are_said_so() -> None:
    record = walk(START)
    after = advance(record, with_name(START, "later.internal"), confirmed(record))
    assert after.revisions == record.revisions
    assert after.move == "attributes change, no host is touched"


def test_way_back_needs_the_same_site() -> None:
    record = walk(START, declared("1"))
    pending = advance(record, declared("1", "on"), confirmed(record))
    elsewhere = replace(declared("1"), site=replace(START.site, region="eu-central-1"))
    with pytest.raises(Refused, match="not confirmed"):
        advance(pending, elsewhere, confirmed(record))
