"""What a step cost is told from requests alone, and what proves nothing is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import measure
from lab.measure import LoadInvalid, Request, Window


def request(
    start: float, ms: float, *, ok: bool = True, intended_ms: float = 0.0, kind: str = "postgres-short"
) -> Request:
    error = "" if ok else "OperationalError"
    return Request(kind=kind, start=start, ms=ms, ok=ok, intended_ms=intended_ms, error=error)


def steady(start: float, end: float, ms: float = 5.0) -> list[Request]:
    """Ten requests a second."""
    return [request(start + number / 10, ms) for number in range(int((end - start) * 10))]


STEP = Window(start=110, end=115)
QUIET = Window(start=100, end=105)


def test_a_step_is_measured_against_the_quiet_window() -> None:
    requests = [*steady(95, 120), request(112, 80.0)]
    assert measure.measure_step(requests, STEP, QUIET) == {
        "seconds": 5,
        "requests": 51,
        "failed": 0,
        "worst_ms": 80.0,
        "p99_ms": 80.0,
        "quiet_worst_ms": 5.0,
        "added_stall_ms": 75.0,
    }


def test_a_request_that_began_before_the_step_and_fails_in_it_is_the_steps() -> None:
    requests = [*steady(95, 120), request(109.5, 1000.0, ok=False)]
    assert measure.measure_step(requests, STEP, QUIET)["failed"] == 1


def test_a_request_that_began_in_the_step_and_ends_after_it_is_the_steps() -> None:
    requests = [*steady(95, 120), request(114.9, 15_000.0)]
    assert measure.measure_step(requests, STEP, QUIET)["worst_ms"] == 15_000.0


def test_requests_that_only_touch_a_window_are_not_in_it() -> None:
    window = Window(start=10, end=20)
    assert measure.overlapping([request(9, 1000.0), request(20, 5.0)], window) == []


def test_a_long_transaction_counts_only_what_it_took_beyond_its_sleep() -> None:
    requests = [*steady(95, 120), request(111, 1530.0, intended_ms=1500.0, kind="postgres-long")]
    assert measure.measure_step(requests, STEP, QUIET)["added_stall_ms"] == 25.0


def test_a_load_that_sends_nothing_is_no_measurement() -> None:
    with pytest.raises(LoadInvalid, match="the load does not run"):
        measure.measure_step(steady(95, 108), STEP, QUIET)
    with pytest.raises(LoadInvalid, match="the load does not run"):
        measure.measure_step(steady(108, 120), STEP, QUIET)


def test_a_quiet_window_with_a_failure_is_no_measurement() -> None:
    requests = [*steady(95, 120), request(101, 3.0, ok=False)]
    with pytest.raises(LoadInvalid, match=r"1 of 51 requests failed in a quiet window.*OperationalError"):
        measure.measure_step(requests, STEP, QUIET)
    with pytest.raises(LoadInvalid, match="quiet window"):
        measure.noise_ms(requests, QUIET, STEP)


def test_windows_of_different_lengths_are_no_measurement() -> None:
    with pytest.raises(LoadInvalid, match="can't be compared"):
        measure.measure_step(steady(95, 120), STEP, Window(start=100, end=103))


def test_a_kind_of_client_that_was_silent_is_named() -> None:
    measure.check_kinds(steady(0, 1), ["postgres-short"])
    with pytest.raises(LoadInvalid, match="redis-connect, redis-short"):
        measure.check_kinds(steady(0, 1), ["postgres-short", "redis-short", "redis-connect"])


def test_noise_is_how_far_two_quiet_windows_lie_apart() -> None:
    requests = [*steady(95, 120), request(101, 12.0), request(111, 30.0)]
    assert measure.noise_ms(requests, QUIET, STEP) == 18.0
    assert measure.noise_ms(requests, STEP, QUIET) == 18.0


def test_quiet_windows_lie_one_after_another_inside_the_stretch() -> None:
    windows = measure.quiet_windows(Window(start=0, end=10.5), 3)
    assert [(window.start, window.end) for window in windows] == [(0, 3), (3, 6), (6, 9)]
    assert measure.quiet_windows(Window(start=0, end=2), 3) == []


def test_a_line_that_is_still_being_written_is_left_out() -> None:
    line = json.dumps({"kind": "a", "start": 1.0, "ms": 2.0, "intended_ms": 0, "ok": True, "error": ""})
    assert measure.parse_requests(f"{line}\n{line[:20]}") == [Request(kind="a", start=1.0, ms=2.0, ok=True)]
    assert measure.parse_requests(line[:20]) == []


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1), st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_one_of_the_values_and_enough_lie_at_or_below_it(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = measure.percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9
