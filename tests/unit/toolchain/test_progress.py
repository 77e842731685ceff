"""Progress: long parts are shown while they run, short ones leave no line, failures always do."""

import io
import time

import pytest

from toolchain import progress


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules, a hundred times faster."""
    monkeypatch.setattr(progress, "_WORTH_SECONDS", 0.02)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.05)


@pytest.mark.usefixtures("quick")
def test_a_long_part_says_that_it_began_that_it_goes_on_and_that_it_is_done() -> None:
    out = io.StringIO()
    with progress.part("building", stream=out):
        deadline = time.monotonic() + 5
        while out.getvalue().count("\n") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    lines = out.getvalue().splitlines()
    assert lines[0] == "  building …"
    assert lines[1].startswith("  building … ")
    assert lines[-1].startswith("  building: done, ")


def test_a_short_part_leaves_no_line() -> None:
    out = io.StringIO()
    with progress.part("looking", stream=out):
        pass
    assert out.getvalue() == ""


def test_a_short_part_that_fails_is_named() -> None:
    out = io.StringIO()
    with pytest.raises(RuntimeError), progress.part("looking", stream=out):
        raise RuntimeError
    assert out.getvalue() == "  looking: failed, 0 s\n"
