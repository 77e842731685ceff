"""A walked rollout's figures come from its requests, and a round without room to compare in is no measurement."""

import pytest

from lab import figures
from lab.figures import Move, Round, Stepped
from lab.measure import LoadInvalid, Request, Window

from .test_measure import request, steady

ON = Move(key="POSTGRES_TLS_ENABLED", value="on", direction="forward")
OFF = Move(key="POSTGRES_TLS_ENABLED", value="off", direction="back")


def stepped(move: Move, start: float, end: float) -> Stepped:
    return Stepped(move=move, changed=2, seconds=end - start - 1, window=Window(start=start, end=end))


ROUND = Round(steps=(stepped(ON, 100, 105), stepped(OFF, 110, 120)), quiet=Window(start=120, end=140.1))
LOAD = steady(90, 150)


def test_each_move_is_compared_with_its_own_length_of_the_rounds_quiet_stretch() -> None:
    # Two quiet windows of 5 s are 120–125 and 125–130, two of 10 s are 120–130 and 130–140.
    requests = [*LOAD, request(102, 80.0), request(112, 90.0), request(121, 10.0), request(126, 30.0)]
    on, off = figures.rows([ROUND], requests)
    assert (on["worst_ms"], on["quiet_worst_ms"], on["added_stall_ms"], on["noise_ms"]) == (80.0, 10.0, 70.0, 20.0)
    assert (off["worst_ms"], off["quiet_worst_ms"], off["added_stall_ms"], off["noise_ms"]) == (90.0, 30.0, 60.0, 25.0)


def test_a_row_has_the_fields_that_the_design_names() -> None:
    (row, _) = figures.rows([ROUND], LOAD)
    named = ("step", "direction", "changed", "seconds", "requests", "failed")
    latencies = ("worst_ms", "p99_ms", "quiet_worst_ms", "added_stall_ms", "noise_ms")
    assert set(row) == {*named, *latencies}
    assert (row["step"], row["direction"], row["changed"]) == ("POSTGRES_TLS_ENABLED=on", "forward", 2)
    assert row["seconds"] == 4


def test_the_quiet_stretch_that_is_asked_for_is_long_enough_to_measure_in() -> None:
    steps = tuple(stepped(ON, 100, 100 + length) for length in (0.7, 3.3, 9.9))
    stretch = Window(start=130, end=130 + figures.quiet_seconds(steps))
    assert len(figures.rows([Round(steps=steps, quiet=stretch)], steady(90, 160))) == 3


def test_a_quiet_stretch_without_room_for_two_windows_is_no_measurement() -> None:
    short = Round(steps=ROUND.steps, quiet=Window(start=120, end=139))
    with pytest.raises(LoadInvalid, match=r"19\.0 s has no room for two windows of 10\.0 s"):
        figures.rows([short], LOAD)


def test_a_failure_in_the_quiet_stretch_is_no_measurement() -> None:
    with pytest.raises(LoadInvalid, match="quiet window"):
        figures.rows([ROUND], [*LOAD, request(127, 3.0, ok=False)])


def test_over_rounds_counts_add_up_worst_cases_stay_and_stalls_are_medians() -> None:
    rows = [
        {**figures.rows([ROUND], LOAD)[0], "added_stall_ms": stall, "worst_ms": worst, "failed": failed}
        for stall, worst, failed in ((10.0, 50.0, 0), (200.0, 240.0, 1), (20.0, 60.0, 0))
    ]
    (folded,) = figures.over_rounds(rows)
    assert (folded["rounds"], folded["failed"], folded["worst_ms"], folded["added_stall_ms"]) == (3, 1, 240.0, 20.0)
    assert folded["requests"] == 3 * rows[0]["requests"]


def test_each_kind_is_counted_in_its_own_unit() -> None:
    sent = [request(1, 5.0, kind="http-api"), request(2, 7.0, kind="http-api", ok=False), request(2, 9.0, kind="call")]
    call, http = figures.totals(sent)
    assert (call["kind"], call["unit"], call["requests"], call["failed"]) == ("call", "call", 1, 0)
    assert (http["kind"], http["unit"], http["requests"], http["failed"]) == ("http-api", "HTTP request", 2, 1)


def test_a_kind_that_nobody_gave_a_unit_is_an_error() -> None:
    with pytest.raises(ValueError, match="carrier-pigeon"):
        figures.totals([request(1, 5.0, kind="carrier-pigeon")])


def test_a_failed_request_is_told_with_the_move_in_which_it_failed() -> None:
    failed = [request(109, 1500.0, ok=False), request(107, 20.0, ok=False)]
    inside, outside = figures.failures(ROUND.steps, [*LOAD, *failed])
    assert inside == ("postgres-short failed after 1500 ms, 0.5 s into back POSTGRES_TLS_ENABLED=off: OperationalError")
    assert "outside of any step" in outside


def test_the_table_has_a_row_a_move_under_a_header() -> None:
    lines = figures.table(figures.rows([ROUND], LOAD), figures.MOVES).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert lines[0].startswith("step")


def test_requests_outside_of_a_round_do_not_count_in_it() -> None:
    elsewhere: list[Request] = [request(50, 9000.0), request(145, 9000.0)]
    assert figures.rows([ROUND], [*LOAD, *elsewhere]) == figures.rows([ROUND], LOAD)
