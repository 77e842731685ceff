"""Colours: on a terminal, and nowhere else."""

from __future__ import annotations

import io
import re

import pytest

from operate.palette import Palette, palette_for
from operate.screen import Screen
from operate.stopped import Stopped
from operate.text import as_text
from tests.operate.pull_requests import RIGHT, WRONG, PullRequest


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "on"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1", "TERM": "xterm"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_a_terminal_that_wants_them(stream: io.StringIO, environ: dict[str, str], on: bool) -> None:
    assert palette_for(stream, environ).on is on


def test_a_colour_ends_where_its_text_ends() -> None:
    assert Palette(on=True).bad("REFUSED") == "\x1b[31mREFUSED\x1b[0m"
    assert Palette(on=True).bad("") == ""
    assert Palette(on=False).bad("REFUSED") == "REFUSED"


@pytest.mark.parametrize("one", [WRONG[0], RIGHT[0]])
def test_colours_add_nothing_to_a_screen_but_themselves(one: PullRequest) -> None:
    report = one.report()
    coloured = as_text(report, Palette(on=True))
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == as_text(report)


def test_a_refusal_is_red_on_a_terminal_and_the_same_words_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        Screen(out=stream).stopped(Stopped(1, "voice is in plaintext", stands="nothing was changed", todo="wait"))
    assert "\x1b[31mvoice is in plaintext\x1b[0m" in terminal.getvalue()
    assert re.sub(r"\x1b\[\d+m", "", terminal.getvalue()) == file.getvalue()
