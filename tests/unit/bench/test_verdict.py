"""The bench fails when a request failed our way, and when nothing failed the naive way: then it proves nothing."""

from typing import Any

import pytest

from bench.__main__ import verdict
from bench.flips import OURS


def found(*, ours: int = 0, naive: int = 7, gated: int = 0, plain: int = 3, lost: int = 0) -> dict[str, Any]:
    return {
        "kinds": [{"kind": "http-api", "failed": 0}, {"kind": "redis-short", "failed": ours}],
        "calls": [{"calls": 20, "failed": lost}],
        "naive_kinds": [{"kind": "http-api", "failed": naive}],
        "server_leg_flips": [{"way": OURS, "failed": gated}, {"way": "plain RELOAD", "failed": plain}],
    }


def test_no_failure_our_way_and_some_the_naive_way_is_a_success() -> None:
    assert verdict(found()) == 0


def test_a_harmless_plain_reload_is_not_what_the_load_is_proved_by() -> None:
    assert verdict(found(plain=0)) == 0


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (found(ours=1), "1 requests or calls failed our way"),
        (found(gated=2), "2 requests or calls failed our way"),
        (found(lost=3), "3 requests or calls failed our way"),
        (found(naive=0), "proves nothing"),
    ],
)
def test_a_failure_our_way_or_a_harmless_naive_way_is_said(
    bad: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict(bad) == 1
    assert says in capsys.readouterr().out
