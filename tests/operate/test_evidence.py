"""What reports show: where the rollout stands by them, and every planted difference with the command that reconciles.

Each row plants one thing in the reports of an environment that does what it declares; that nothing differs before is
asserted for every place of the rollout.
"""

from __future__ import annotations

import json

import pytest

from operate.differences import Declaration, Difference, find
from operate.evidence import Seen, positions, seen
from operate.served import Unreadable, read_report
from rollout.declared import Declared
from rollout.path import forward, with_value
from rollout.rules import at_start, standing
from rollout.steps import TRACKS
from tests.operate import reports
from tests.operate.planted import (
    MEND,
    PLANTED,
    UNEDIT,
    Plant,
    by_hand,
    env_file_rewritten,
    redis_opened,
    server,
    setting_edited,
)
from tests.operate.pull_requests import (
    ALL_FLIPPED,
    CLOSED,
    EXAMPLE,
    REDIS,
    Settings,
    Walked,
    declared,
    edited,
    failing,
    stacks,
    walked,
)
from tests.operate.reports import Plain

END: Settings = {
    **CLOSED,
    **REDIS,
    "POSTGRES_FORCE_SSL": "on",
    "REDIS_FORCE_TLS": "true",
    **{f"apps.{app}.REDIS_TLS_ENABLED": "true" for app in ("api", "web", "voice", "ops", "worker", "telpro")},
}


def at(settings: Settings) -> Declared:
    return declared("staging", edited(EXAMPLE, settings)).as_kept()


def declaration(file: Declared, walk: Walked | None) -> Declaration:
    known = stacks(staging=walk).read["staging"] if walk else None
    return Declaration(stack="staging", file=file, known=known, why_unread="" if known else "pulumi is not on PATH")


def differences(file: Declared, plains: dict[str, Plain], walk: Walked | None = None) -> tuple[Difference, ...]:
    return find(declaration(file, walk or walked(file)), reports.read(plains)).differences


def readings(plains: dict[str, Plain]) -> list[Seen]:
    return [one for host, report in reports.read(plains).items() for one in seen(host, report)]


def places(declared: Declared, plains: dict[str, Plain]) -> dict[str, tuple[int, int]]:
    return {one.track: (one.least, one.most) for one in positions(declared, readings(plains), {})}


def test_at_every_place_nothing_differs_and_the_position_is_that_of_the_declaration() -> None:
    here = at_start(at({}))
    for key, value in forward(here):
        here = with_value(here, key, value)
        plains = reports.plains(here)
        found = find(declaration(here, walked(here)), reports.read(plains))
        assert not found.differences, (key, value)
        assert not found.unknown, (key, value)
        stands = {track: int(standing(here.settings, track)["step"]) for track in TRACKS}
        assert places(here, plains) == {track: (step, step) for track, step in stands.items()}, (key, value)


def test_a_declared_app_that_goes_in_plaintext_holds_the_position_back() -> None:
    here = at(ALL_FLIPPED)
    plains = reports.plains(here)
    plains["web"]["apps"][0]["sessions"]["postgres"] |= {"tls": 1, "plaintext": 1}
    assert places(here, plains)["postgres"] == (4, 4)


def test_what_is_not_known_is_neither_done_nor_undone() -> None:
    here = at(ALL_FLIPPED)
    plains = reports.plains(here)
    del plains["worker"]
    assert places(here, plains) == {"postgres": (4, 5), "redis": (1, 1)}
    (postgres, _) = positions(here, readings(plains), {"worker": "worker did not answer"})
    assert {(one.key, one.why) for one in postgres.unknown} >= {
        ("apps.worker.DATABASE_SSL_MODE", "worker did not answer")
    }
    for replica in plains["web"]["apps"][0]["replicas"]:
        replica["state"] = "exited"
    (postgres, _) = positions(here, readings(plains), {})
    assert any("web-1 is exited" in one.why for one in postgres.unknown)
    # A stopped app is no difference: its env file says what it will start with.
    assert differences(here, plains) == ()


def test_an_idle_pool_is_its_own_word_and_a_contradiction_is_unknown() -> None:
    plains = reports.plains(at(END))
    pgbouncer = plains["database"]["servers"]["pgbouncer"]

    def leg() -> Seen:
        return next(one for one in readings(plains) if one.key == "PGBOUNCER_SERVER_TLS_SSLMODE")

    assert (leg().value, leg().by) == ("verify-ca", "wire")
    pgbouncer["leg"] = {"tls": 0, "plaintext": 0, "old": 0}
    assert (leg().value, leg().by) == ("verify-ca", "word")
    pgbouncer["leg"] = {"tls": 1, "plaintext": 2, "old": 2}
    assert (leg().value, leg().by) == ("", "")
    pgbouncer["leg"] = {"tls": 0, "plaintext": 2, "old": 0}
    assert leg().value == "disable"
    pgbouncer["facts"]["server_tls_sslmode"] = "nonsense"
    assert (leg().value, leg().by) == ("", "")


@pytest.mark.parametrize(
    ("plant", "key", "says", "served", "reconcile"), PLANTED, ids=[row[0].__name__ for row in PLANTED]
)
def test_each_planted_difference_is_found_with_its_command(
    plant: Plant, key: str, says: str, served: str, reconcile: str
) -> None:
    here = at(END)
    plains = reports.plains(here)
    assert differences(here, plains) == ()
    plant(plains)
    found = differences(here, plains)
    of_key = [one for one in found if one.key == key]
    assert len(of_key) == 1, found
    assert of_key[0].declared.startswith(says)
    assert of_key[0].served.startswith(served)
    assert of_key[0].reconcile.startswith(reconcile)
    assert of_key[0].why
    assert of_key[0].there is reconcile.startswith(("/opt", "cp ", "cd ", "docker", "mend", "restart", "take"))
    # Told once: only an env file has a line a variable.
    assert len(found) == 1 or plant is env_file_rewritten, found


def test_who_set_it_by_hand_and_since_when_is_told() -> None:
    here = at(END)
    plains = reports.plains(here)
    by_hand(plains)
    (found,) = differences(here, plains)
    assert "mia@10.0.9.9" in found.why
    assert "2026-11-25T17:00:00Z" in found.why


def test_a_change_by_hand_that_the_file_declares_by_now_is_applied() -> None:
    plains = reports.plains(at(END))
    by_hand(plains)
    file = at({**END, "PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"})
    found = differences(file, plains, walked(at(END)))
    assert {one.key: one.reconcile for one in found} == {
        "file": "pulumi up --stack staging",
        "PGBOUNCER_CLIENT_TLS_SSLMODE": "pulumi up --stack staging",
    }


def test_an_edit_that_lies_on_a_host_is_not_applied_by_what_mends_something_else() -> None:
    here = at(END)
    plains = reports.plains(here)
    setting_edited(plains)
    redis_opened(plains)
    assert [one.reconcile for one in differences(here, plains)] == [UNEDIT, f"{UNEDIT} && {MEND}"]


def test_a_file_that_was_never_applied_and_a_move_that_is_not_confirmed() -> None:
    stands, file = at(ALL_FLIPPED), at(CLOSED)
    (found,) = differences(file, reports.plains(stands), walked(stands))
    assert "PGBOUNCER_CLIENT_TLS_SSLMODE is require there and allow in the stack" in found.why
    assert (found.host, found.reconcile) == ("", "pulumi up --stack staging")
    (found,) = differences(file, reports.plains(stands), failing(walked(stands), file))
    assert (found.host, found.key, found.reconcile) == ("database", "revision", "pulumi up --stack staging")


def test_without_the_stack_hosts_are_compared_with_the_file() -> None:
    here = at(END)
    plains = reports.plains(here)
    assert find(declaration(here, None), reports.read(plains)).differences == ()
    by_hand(plains)
    (found,) = find(declaration(here, None), reports.read(plains)).differences
    assert found.reconcile == "/opt/voiceai/update.sh --set PGBOUNCER_CLIENT_TLS_SSLMODE=require"


def test_a_host_between_two_states_is_not_judged_and_one_that_gives_no_answer_is_unknown() -> None:
    here = at(END)
    plains = reports.plains(here)
    redis_opened(plains)
    plains["database"]["underWay"] = True
    assert differences(here, plains) == ()
    plains = reports.plains(here)
    server(plains, "redis")["plaintext"] = {"verdict": "unknown", "answer": "LOADING"}
    found = find(declaration(here, walked(here)), reports.read(plains))
    assert found.differences == ()
    assert [(one.key, "LOADING" in one.why) for one in found.unknown] == [("REDIS_FORCE_TLS", True)]


def test_a_deployment_of_the_sites_own_does_as_the_site_says_until_it_is_prepared() -> None:
    text = EXAMPLE.replace(
        "roles: [postgres, pgbouncer, redis, otel]\n",
        "roles: [postgres, pgbouncer, redis, otel]\n      deployment: {directory: /srv/db}\n",
    )
    here = declared("staging", text).as_kept()
    assert here.hosts["database"].deployment is not None
    plains = reports.plains(here)
    server(plains, "postgres")["served"] = server(reports.plains(at(END)), "postgres")["served"]
    assert differences(here, plains) == ()
    plains["database"]["record"]["settings"]["PREPARED"] = "on"
    prepared = declared("staging", edited(text, {"PREPARED": "on"})).as_kept()
    (found,) = differences(prepared, plains)
    assert found.key == "POSTGRES_TLS_ENABLED"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no report"),
        ("[]", "format"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1}', "time is not in it"),
        ("Welcome\n{}", "no report"),
        (json.dumps({**reports.plain_of(at({}), "web"), "record": "none"}), "not as format 1"),
        (json.dumps({**reports.plain_of(at({}), "web"), "servers": {"redis": None}}), "not as format 1"),
    ],
)
def test_what_is_no_report_is_a_sentence(text: str, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        read_report(text)
