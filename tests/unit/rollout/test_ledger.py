"""The ledger's logic as scenario tables: each row is one deploy, who confirmed it, and what is expected of the next."""

from dataclasses import replace
from typing import Any

import pytest

from rollout.declared import Declared, default_app
from rollout.ledger import Record, Refused, advance, record_fields, unconfirmed_hosts
from rollout.path import back, forward

from .declarations import (
    APPS_FLIPPED,
    CERTIFICATES,
    CLIENT_LEG,
    CLOSED,
    NOTHING,
    POSTGRES_OFFERS,
    PREPARED,
    REDIS_OFFERS,
    SERVER_LEG,
    declared,
    having,
    with_app,
    with_host,
    with_name,
    without_app,
    without_host,
)

START, ISSUED, OFFERS = declared(**PREPARED), declared(**CERTIFICATES), declared(**POSTGRES_OFFERS)
API_FLIPPED = {**CLIENT_LEG, "api": "verify-full"}


def confirmed(record: Record, *, but: tuple[str, ...] = (), before: Record | None = None) -> dict[str, str]:
    """Every host's receipt; those in `but` still have the one of `before`."""
    old = before.revisions if before else {}
    return {host: old[host] if host in but else revision for host, revision in record.revisions.items()}


def walk(*steps: Declared) -> Record:
    """The record after these declarations, each confirmed by every host."""
    record: Record | None = None
    receipts: dict[str, str] = {}
    for step in steps:
        record = advance(record, step, receipts)
        receipts = confirmed(record)
    assert record is not None
    return record


def standing_at(state: Declared) -> Record:
    """A record of a deployment that stands here, confirmed."""
    return Record(confirmed=state, attempted=state, revisions=dict.fromkeys(state.hosts, "5"), move="earlier")


def test_first_deployment_gives_every_host_its_first_revision_and_reaches_all_at_once() -> None:
    record = advance(None, NOTHING, {})
    assert record.revisions == {"api1": "1", "api2": "1", "database": "1", "web": "1"}
    assert record.confirmed == NOTHING
    assert record.move == "first deployment, every variable at its initial value"
    assert record.order == {}


def test_only_the_hosts_that_a_move_touches_get_a_new_revision() -> None:
    record = walk(START, ISSUED, OFFERS)
    assert record.revisions == {"api1": "2", "api2": "2", "database": "3", "web": "2"}
    assert record.move == "postgres 2/7: POSTGRES_TLS_ENABLED off → on"


def test_an_apps_flip_touches_its_own_hosts_only() -> None:
    record = advance(standing_at(declared(**CLIENT_LEG)), declared(**API_FLIPPED), dict.fromkeys(NOTHING.hosts, "5"))
    assert record.revisions == {"api1": "6", "api2": "6", "database": "5", "web": "5"}
    assert record.order == {"api2": ("api1",)}


def test_the_same_declaration_again_carries_everything_over() -> None:
    record = walk(START, ISSUED)
    assert advance(record, ISSUED, confirmed(record)) is record
    assert advance(record, ISSUED, {}) is record


def test_a_move_counts_as_confirmed_only_with_every_receipt() -> None:
    record = walk(START, ISSUED)
    following = advance(record, OFFERS, confirmed(record))
    assert following.confirmed == ISSUED
    assert unconfirmed_hosts(following, confirmed(record)) == ("database",)


def test_the_next_step_is_refused_while_the_last_one_is_not_confirmed() -> None:
    record = walk(START, ISSUED)
    pending = advance(record, OFFERS, confirmed(record))
    with pytest.raises(Refused, match="not confirmed by database") as refused:
        advance(pending, declared(**SERVER_LEG), confirmed(record))
    assert "POSTGRES_TLS_ENABLED off → on" in str(refused.value)


def test_a_step_of_the_other_track_is_refused_while_one_is_not_confirmed() -> None:
    record = walk(START, ISSUED)
    pending = advance(record, OFFERS, confirmed(record))
    with pytest.raises(Refused, match="not confirmed by database"):
        advance(pending, declared(**{**POSTGRES_OFFERS, "redis": "true"}), confirmed(record))


def test_after_a_failure_the_way_back_runs_the_host_again() -> None:
    record = walk(START, ISSUED)
    pending = advance(record, OFFERS, confirmed(record))
    returned = advance(pending, ISSUED, confirmed(record))
    assert returned.attempted == returned.confirmed == ISSUED
    assert int(returned.revisions["database"]) == int(pending.revisions["database"]) + 1
    assert returned.revisions["api1"] == record.revisions["api1"]
    # and from there the step may be tried again
    again = advance(returned, OFFERS, confirmed(returned))
    assert again.attempted == OFFERS


def test_after_a_failure_the_same_step_again_is_a_retry() -> None:
    record = walk(START, ISSUED)
    pending = advance(record, OFFERS, confirmed(record))
    assert advance(pending, OFFERS, confirmed(record)) is pending


def test_a_failed_way_back_still_allows_only_itself() -> None:
    record = walk(START, ISSUED)
    pending = advance(record, OFFERS, confirmed(record))
    returned = advance(pending, ISSUED, confirmed(record))
    with pytest.raises(Refused, match="not confirmed"):
        advance(returned, OFFERS, confirmed(record))


def rolling_and_failed() -> tuple[Record, Record, dict[str, str]]:
    """api's flip after its first host confirmed and its second failed: before, now, the receipts of before.

    Receipts are all or nothing an `up`, so the first host's is the old one too.
    """
    before = standing_at(declared(**CLIENT_LEG))
    return before, advance(before, declared(**API_FLIPPED), confirmed(before)), confirmed(before)


def test_a_retry_of_a_rolling_move_keeps_its_order() -> None:
    _, pending, receipts = rolling_and_failed()
    assert advance(pending, declared(**API_FLIPPED), receipts).order == {"api2": ("api1",)}


def test_the_way_back_from_a_rolling_move_rolls_too() -> None:
    _, pending, receipts = rolling_and_failed()
    returned = advance(pending, declared(**CLIENT_LEG), receipts)
    assert returned.order == {"api2": ("api1",)}
    assert returned.move == "postgres 5/7 (api, 1 of 2) back: apps.api.DATABASE_SSL_MODE verify-full → disable"


FREE: list[dict[str, Any]] = [
    {"apps__api__acceptRestart": "true"},
    {"apps__api__healthCommand": "exit 0"},
    {"QUIET_MINUTES": "0"},
    {"DRAIN_STRAGGLERS": "on"},
]


@pytest.mark.parametrize("free", FREE, ids=lambda free: next(iter(free)))
@pytest.mark.parametrize("state", [API_FLIPPED, CLIENT_LEG], ids=["retry", "back"])
def test_a_free_attribute_may_change_with_a_retry_and_with_the_way_back(
    free: dict[str, str], state: dict[str, str]
) -> None:
    _, pending, receipts = rolling_and_failed()
    after = advance(pending, having(declared(**state), **free), receipts)
    assert after.order == {"api2": ("api1",)}
    assert after.confirmed == having(declared(**CLIENT_LEG), **free)
    assert "apps.api.DATABASE_SSL_MODE" in after.move
    assert unconfirmed_hosts(after, receipts) >= ("api1", "api2")


def test_an_attribute_of_a_step_may_not_change_with_a_retry() -> None:
    record = walk(START, ISSUED)
    pending = advance(record, declared(**REDIS_OFFERS), confirmed(record))
    with pytest.raises(Refused, match="not confirmed"):
        advance(pending, having(declared(**REDIS_OFFERS), REDIS_TLS_PORT="6390"), confirmed(record))


def test_a_wrong_contract_may_be_put_right_while_its_flip_is_pending() -> None:
    _, pending, receipts = rolling_and_failed()
    right = replace(default_app("api"), env_file="/opt/api/app.env")
    after = advance(pending, replace(declared(**API_FLIPPED), apps={**NOTHING.apps, "api": right}), receipts)
    assert after.attempted.apps["api"] == right
    assert after.confirmed.settings == pending.confirmed.settings
    assert after.order == {"api2": ("api1",)}


def test_a_host_that_is_gone_may_leave_the_inventory_while_a_move_is_pending() -> None:
    record = walk(START, ISSUED)
    pending = advance(record, OFFERS, confirmed(record))
    after = advance(pending, without_host(OFFERS, "api2"), confirmed(record))
    assert "api2" not in after.revisions
    assert after.confirmed == without_host(ISSUED, "api2")
    returned = advance(after, without_host(ISSUED, "api2"), confirmed(record))
    assert returned.attempted == without_host(ISSUED, "api2")


def test_nobody_waits_for_a_host_that_has_left() -> None:
    _, pending, receipts = rolling_and_failed()
    assert advance(pending, without_host(declared(**API_FLIPPED), "api1"), receipts).order == {}
    longer = replace(pending, order={"api2": ("api0",), "web": ("api1", "api2"), "api0": ("database",)})
    after = advance(longer, without_host(declared(**API_FLIPPED), "api1"), receipts)
    assert after.order == {"api2": ("database",), "web": ("api2",)}


def test_an_app_may_leave_while_a_move_is_pending_only_with_its_word() -> None:
    record = walk(START, ISSUED)
    pending = advance(record, OFFERS, confirmed(record))
    with pytest.raises(Refused, match="app web removed"):
        advance(pending, without_app(OFFERS, "web"), confirmed(record))
    after = advance(pending, without_app(OFFERS, "web", leaving=("web",)), confirmed(record))
    assert "apps.web.DATABASE_SSL_MODE" not in after.attempted.settings


def test_a_new_app_must_be_usable_also_while_a_move_is_pending() -> None:
    record = standing_at(declared(**APPS_FLIPPED))
    pending = advance(record, declared(**CLOSED), confirmed(record))
    with pytest.raises(Refused, match="PgBouncer would refuse worker"):
        advance(pending, with_app(declared(**CLOSED), "worker"), confirmed(record))


def test_a_new_host_converges_with_a_first_revision_and_touches_the_servers_that_will_see_it() -> None:
    record = walk(START, ISSUED)
    after = advance(record, with_host(ISSUED, "api3", "api"), confirmed(record))
    assert after.revisions == {**record.revisions, "api3": "1", "database": "3"}
    assert after.move == "host api3 added"
    assert after.order == {}


def test_receipts_without_a_record_are_refused() -> None:
    with pytest.raises(Refused, match="the ledger has no record, yet hosts are already set"):
        advance(None, NOTHING, {"database": "3"})


def test_a_first_deployment_on_the_way_is_taken_over_servers_first() -> None:
    record = advance(None, OFFERS, {})
    assert set(record.revisions.values()) == {"0"}
    assert record.move.startswith("first deployment, taken over")
    assert record.order == {host: ("database",) for host in OFFERS.hosts if host != "database"}
    # From there it is a rollout like any other.
    following = advance(record, declared(**SERVER_LEG), confirmed(record))
    assert following.confirmed == OFFERS
    assert following.revisions["database"] == "1"


def test_a_first_deployment_whose_state_is_not_usable_is_refused() -> None:
    with pytest.raises(Refused, match="CERTIFICATE_GENERATION is 0"):
        advance(None, declared(**PREPARED, pg="on"), {})


def test_what_no_host_runs_may_be_declared_otherwise() -> None:
    record = advance(None, declared(**CLIENT_LEG), {})
    assert advance(record, OFFERS, {}).attempted == OFFERS
    assert advance(record, NOTHING, {}).revisions == dict.fromkeys(NOTHING.hosts, "1")
    # Once a host has confirmed, what is declared is what runs.
    with pytest.raises(Refused):
        advance(record, OFFERS, {"database": "0"})


def test_a_refusal_gives_every_reason() -> None:
    record = walk(START)
    with pytest.raises(Refused) as refused:
        advance(record, declared(**PREPARED, pg="on", leg1="allow"), confirmed(record))
    assert len(refused.value.reasons) >= 3


def test_a_reissue_touches_every_host_and_nothing_else_moves() -> None:
    record = walk(START, ISSUED, OFFERS)
    after = advance(record, with_name(OFFERS, "db2.internal"), confirmed(record))
    assert all(int(after.revisions[host]) == int(record.revisions[host]) + 1 for host in record.revisions)
    assert after.move == "certificate reissued: SAN added: db2.internal"


def test_attributes_that_touch_no_host_are_said_so() -> None:
    record = walk(START)
    after = advance(record, with_name(START, "later.internal"), confirmed(record))
    assert after.revisions == record.revisions
    assert after.move == "attributes change, no host is touched"
    assert after.order == {}


@pytest.mark.parametrize("state", [OFFERS, ISSUED], ids=["retry", "back"])
def test_neither_a_retry_nor_the_way_back_brings_another_site_or_a_reissue(state: Declared) -> None:
    record = walk(START, ISSUED)
    pending = advance(record, OFFERS, confirmed(record))
    for other in (replace(state, site=replace(START.site, region="eu-central-1")), with_name(state, "db2.internal")):
        with pytest.raises(Refused, match="not confirmed"):
            advance(pending, other, confirmed(record))


def test_the_whole_way_is_accepted_failing_once_and_going_back_once_at_every_step() -> None:
    record = advance(None, NOTHING, {})
    receipts = confirmed(record)
    for key, value in (*forward(NOTHING), *back(NOTHING)):
        before = record.attempted
        following = replace(before, settings={**before.settings, key: value})
        pending = advance(record, following, receipts)
        assert unconfirmed_hosts(pending, receipts)
        returned = advance(pending, before, receipts)
        assert unconfirmed_hosts(returned, receipts) == unconfirmed_hosts(pending, receipts)
        receipts = confirmed(returned)
        record = advance(returned, following, receipts)
        assert advance(record, following, receipts) is record
        receipts = confirmed(record)
    assert record.attempted == NOTHING


def test_a_record_survives_the_trip_through_plain_data_whatever_the_order_of_its_keys() -> None:
    pending = rolling_and_failed()[1]
    assert Record.from_plain(pending.to_plain()) == pending

    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: backwards(inner) for key, inner in reversed(value.items())}
        return value

    record = Record.from_plain(backwards(pending.to_plain()))
    assert record == pending
    assert list(record.attempted.settings) == list(pending.attempted.settings)
    assert list(record.attempted.apps) == list(pending.attempted.apps)
    assert list(record.attempted.hosts) == list(pending.attempted.hosts)


def test_a_record_of_an_older_version_gains_what_is_new_at_its_initial_value() -> None:
    plain = walk(NOTHING).to_plain()
    receipts = {"database": "3", "apps": "3"}
    older = {
        "settings": {
            "CERTIFICATE_GENERATION": "1",
            "POSTGRES_TLS_ENABLED": "on",
            "PGBOUNCER_SERVER_TLS_SSLMODE": "disable",
        },
        "certificate": plain["attempted"]["certificate"],
        "site": {key: value for key, value in plain["attempted"]["site"].items() if key != "protected"},
        "hosts": {"database": ["pgbouncer", "postgres", "redis"], "apps": ["batch", "telpro", "web"]},
    }
    record = Record.from_plain({"confirmed": older, "attempted": older, "revisions": receipts, "move": "m"})
    assert record.order == {}
    assert record.attempted.site.protected is False
    assert dict(record.attempted.apps) == {name: default_app(name) for name in ("web", "telpro", "batch")}
    assert list(record.attempted.apps) == ["web", "telpro", "batch"]
    assert record.attempted.settings["POSTGRES_TLS_ENABLED"] == "on"
    assert record.attempted.settings["PREPARED"] == "off"
    assert record.attempted.settings["apps.batch.DATABASE_SSL_MODE"] == "disable"
    assert record.attempted.attributes["REDIS_TLS_PORT"] == "6380"
    # From there prepare is a move, and so is the way back, which needs no order.
    assert advance(
        record, replace(record.attempted, settings={**record.attempted.settings, "PREPARED": "on"}), receipts
    )
    assert advance(
        record,
        replace(record.attempted, settings={**record.attempted.settings, "POSTGRES_TLS_ENABLED": "off"}),
        receipts,
    )


def test_marking_an_environment_protected_is_a_move_of_its_own_that_touches_no_host() -> None:
    before = walk(NOTHING)
    receipts = dict(before.revisions)
    marked = replace(before.attempted, site=replace(before.attempted.site, protected=True))
    record = advance(before, marked, receipts)
    assert record.revisions == before.revisions
    assert "protected" in record.move
    assert Record.from_plain(record.to_plain()) == record
    both = replace(marked, settings={**marked.settings, "PREPARED": "on"})
    with pytest.raises(Refused, match="2 things change at once"):
        advance(before, both, receipts)


def test_what_hosts_and_readers_need_follows_from_the_record() -> None:
    record = walk(NOTHING)
    fields = record_fields(record)
    assert fields.keys() > record.to_plain().keys()
    assert fields["contents"].keys() == record.attempted.hosts.keys()
    assert fields["generation"] == record.attempted.settings["CERTIFICATE_GENERATION"]
    assert fields["standing"].keys() == {"postgres", "redis"}
