"""The picture's data: second by second what the worst-off client saw, and where each move began."""

import json

import pytest

from bench import timeline
from bench.timeline import Mark, Second, Timeline
from lab.figures import Move, Stepped
from lab.measure import Request, Window
from rollout.steps import ROWS, Row, for_app


def request(start: float, ms: float, *, ok: bool = True, intended_ms: float = 0.0) -> Request:
    return Request(kind="http-api", start=start, ms=ms, ok=ok, intended_ms=intended_ms)


def stepped(key: str, value: str, start: float, end: float) -> Stepped:
    move = Move(key=key, value=value, direction="forward")
    return Stepped(move=move, changed=1, seconds=end - start, window=Window(start=start, end=end))


STEPS = [stepped("PREPARED", "on", 105, 108), stepped("REDIS_FORCE_TLS", "true", 109, 112)]


def seconds(*requests: Request) -> dict[int, Second]:
    return {second.at: second for second in timeline.timeline("a way", STEPS, requests).seconds}


def test_a_walk_begins_a_margin_before_its_first_move_and_ends_one_after_its_last() -> None:
    found = timeline.timeline("a way", STEPS, [request(second, 1.0) for second in range(90, 130)])
    assert [second.at for second in found.seconds] == list(range(17))
    assert found.marks == (Mark(at=5.0, label="prepare"), Mark(at=9.0, label="Redis: force"))
    assert found.requests == 17


def test_a_second_shows_the_slowest_of_its_requests() -> None:
    found = seconds(request(103.1, 5.0), request(103.2, 80.0), request(104.0, 7.0))
    assert (found[3].worst_ms, found[4].worst_ms) == (80.0, 7.0)


def test_a_request_that_waits_through_an_outage_is_slow_in_each_of_its_seconds() -> None:
    found = seconds(request(103.5, 3000.0))
    assert {at: second.worst_ms for at, second in found.items()} == dict.fromkeys(range(3, 7), 3000.0)


def test_a_request_that_sleeps_on_purpose_is_not_slow() -> None:
    assert seconds(request(103.5, 1530.0, intended_ms=1500.0))[4].worst_ms == 30.0


def test_a_failed_request_is_counted_once_in_the_second_in_which_it_ended() -> None:
    found = seconds(request(103.5, 3000.0, ok=False), request(106.1, 2.0, ok=False))
    assert {at: second.failed for at, second in found.items()} == {3: 0, 4: 0, 5: 0, 6: 2}


def test_a_second_without_a_request_is_left_out() -> None:
    assert set(seconds(request(103.5, 1.0), request(106.5, 1.0))) == {3, 6}


def test_failures_are_counted_over_the_whole_walk() -> None:
    found = timeline.timeline("a way", STEPS, [request(104, 1.0, ok=False), request(105, 1.0), request(90, 1.0)])
    assert (found.requests, found.failed) == (2, 1)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.key}={row.target}")
def test_every_step_of_the_table_has_a_short_label(row: Row) -> None:
    key, target = for_app(row.key, "api"), row.target
    assert 0 < len(timeline.label(Move(key=key, value=target, direction="forward"))) <= 15


def test_a_timeline_is_drawn_again_from_what_was_written() -> None:
    one = timeline.timeline("a way", STEPS, [request(104, 1.0, ok=False), request(105, 1.0)])
    assert Timeline.from_plain(json.loads(json.dumps(one.to_plain()))) == one
