"""The rules, exhaustively, and the walk that is chosen from them."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from proof import space
from proof.certificates import material
from proof.matrix import CERTIFICATES, HOPS, SERVING, combinations
from proof.moves import pairs
from proof.space import Explored, explore, legal_moves, one_app
from proof.tour import made, tour
from rollout.path import with_value
from rollout.rules import move_violations


@pytest.fixture(scope="module")
def explored() -> Explored:
    return explore(one_app())


def test_from_every_state_the_rollout_can_be_finished_and_taken_back(explored: Explored) -> None:
    assert explored.dead_ends == ()
    assert explored.states > 500


def test_every_single_move_back_to_a_usable_state_is_allowed(explored: Explored) -> None:
    assert explored.blocked_back == ()
    assert 0 < explored.legal < explored.moves


def test_a_dead_end_and_a_blocked_way_back_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that refuse every move back of one variable."""

    def stricter(previous, following):  # type: ignore[no-untyped-def]
        before, after = (one.settings["POSTGRES_TLS_ENABLED"] for one in (previous, following))
        return ("refused",) if (before, after) == ("on", "off") else move_violations(previous, following)

    monkeypatch.setattr(space, "move_violations", stricter)
    found = explore(one_app())
    assert any("no way back" in one for one in found.dead_ends)
    assert any(one.startswith("POSTGRES_TLS_ENABLED on → off") for one in found.blocked_back)


def test_the_tour_makes_every_kind_of_legal_move_by_legal_moves_and_ends_at_the_start(explored: Explored) -> None:
    here = one_app()
    way = tour(here, explored.kinds)
    assert set(made(here, way)) >= explored.kinds
    for key, value in way:
        assert (key, value) in set(legal_moves(here))
        here = with_value(here, key, value)
    assert here == one_app()


def test_the_sample_of_pairs_changes_tracks_and_ends_at_the_start() -> None:
    here, way = one_app("worker"), pairs(30)
    tracks = ["redis" if "REDIS" in key else "postgres" for key, _ in way[2:30]]
    assert sum(one != other for one, other in pairwise(tracks)) > 20
    for key, value in way:
        there = with_value(here, key, value)
        assert move_violations(here, there) == ()
        here = there
    assert here == one_app("worker")


def test_the_matrix_has_every_value_of_every_axis_and_every_certificate_at_every_server() -> None:
    found = list(combinations(material(), datetime.now(UTC)))
    assert len(found) == 20 + 20 + 8 + len(SERVING) * len(CERTIFICATES)
    assert {one.hop for one in found} == {*HOPS, *SERVING}
    assert len({(one.hop, *one.tried.items()) for one in found}) == len(found)
    allowed = [one for one in found if not one.refusal]
    assert len(allowed) == 11 + 16 + 4 + len(SERVING)
