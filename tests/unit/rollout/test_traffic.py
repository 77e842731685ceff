"""What steps do to traffic stands beside the table: every row has it, with a page that is there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rollout.declared import Declared
from rollout.moves import describe
from rollout.path import back, forward
from rollout.steps import ROWS, Row
from rollout.traffic import FREE, INVENTORY, REISSUE, rows_taken, told, traffic_of, unseen
from tests.unit.rollout.declarations import CERTIFICATES, CLIENT_LEG, NOTHING, declared, having, with_host, with_name

RUNBOOK = Path(__file__).resolve().parents[3] / "docs/runbook"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.key}={row.target}")
def test_every_row_says_what_traffic_meets_and_has_its_page(row: Row) -> None:
    traffic = traffic_of(row)
    assert traffic.forward.endswith(".")
    assert traffic.back.endswith(".")
    title = (RUNBOOK / traffic.page).read_text(encoding="utf-8").splitlines()[0]
    assert row.key in re.findall(r"[\w.<>-]+", title)


def walk(moves: tuple[tuple[str, str], ...], start: Declared) -> list[tuple[Declared, Declared]]:
    steps, stands = [], start
    for key, value in moves:
        following = replace(stands, settings={**stands.settings, key: value})
        steps.append((stands, following))
        stands = following
    return steps


def test_each_step_of_the_whole_way_tells_its_own_row_both_ways() -> None:
    way = walk(forward(NOTHING), NOTHING)
    for before, after in way:
        move = describe(before, after)
        (row,) = rows_taken(move)
        assert (row.key.rpartition(".")[2], row.target) == ((move.key or "").rpartition(".")[2], move.after)
        assert told(before, after) == (traffic_of(row).forward,)
    for before, after in walk(back(NOTHING), way[-1][1]):
        (row,) = rows_taken(describe(before, after))
        assert told(before, after) == (traffic_of(row).back,)


def test_a_step_on_the_way_to_a_row_tells_that_row() -> None:
    before, after = declared(**CLIENT_LEG), declared(**{**CLIENT_LEG, "api": "prefer"})
    assert "recreated one after another" in told(before, after)[0]


def test_a_move_over_two_rows_tells_both() -> None:
    assert len(told(declared(**CERTIFICATES), declared(**{**CERTIFICATES, "leg1": "require"}))) == 2


def test_a_reissue_reloads_and_takes_no_row() -> None:
    issued = declared(**CERTIFICATES)
    assert told(issued, declared(**{**CERTIFICATES, "gen": "2"})) == (REISSUE,)
    assert told(issued, with_name(issued, "more.internal")) == (REISSUE,)


def test_the_inventory_and_free_attributes_are_told_apart() -> None:
    assert told(NOTHING, with_host(NOTHING, "api3", "api")) == (INVENTORY,)
    assert told(NOTHING, having(NOTHING, QUIET_MINUTES="5")) == (FREE,)
    assert told(NOTHING, NOTHING) == ()


def test_only_kamailio_is_asked_for_its_build_and_only_on_the_way_forward() -> None:
    flip = describe(declared(redis="true"), declared(redis="true", api_redis="true"))
    assert any("hiredis_ssl" in one.wants for one in unseen(flip, "kamailio"))
    assert not any("hiredis_ssl" in one.wants for one in unseen(flip, "service"))
    returned = describe(declared(redis="true", api_redis="true"), declared(redis="true"))
    assert unseen(returned, "kamailio") == ()
