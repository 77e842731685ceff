"""What `operate next` and `operate back` show: lines on standard output; what is under way on standard error."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TextIO

from operate.asking import Said
from operate.report import Finding
from operate.stopped import Stopped
from operate.text import finding_text
from toolchain.progress import part

_WIDTH = 120
_MOST = 14
"""Lines of one host, or of one reason, that are shown."""


@dataclass(slots=True)
class Screen:
    """`out` is standard output; after `aside` everything but `write` goes to standard error."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    _aside: bool = False

    def aside(self) -> None:
        """From now on standard output is kept for what a program reads."""
        self._aside = True

    def part(self, title: str) -> AbstractContextManager[None]:
        """Shows that something is under way."""
        return part(title)

    def line(self, text: str) -> None:
        """One line below a step."""
        self._print(f"  {text}")

    def host(self, host: str, text: str) -> None:
        """A line of what a host does."""
        self._print(f"    {host}: {text}")

    def step(self, finding: Finding, change: str) -> None:
        """The step before it is taken."""
        self._print(finding_text(finding).rstrip("\n"))
        lines = [line for line in change.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        for number, line in enumerate(lines):
            self._print(f"  {'change' if number == 0 else '':9} {line[0]} {line[1:].strip()}")

    def said(self, label: str, answers: Sequence[Said]) -> None:
        """What hosts answered."""
        for number, one in enumerate(answers):
            self._print(f"  {label if number == 0 else '':9} {one.host} {one.verdict}")
            for line in one.lines[-_MOST:]:
                self._wrapped(line.strip(), " " * 14, " " * 14)

    def stopped(self, stopped: Stopped) -> None:
        """Why it ends here, what stands, what to do."""
        self._print("  stopped")
        for why in stopped.why[:_MOST]:
            self._wrapped(why, f"  {'why':9} ", " " * 12)
        for label, text in (("now", stopped.stands), ("do", stopped.todo)):
            if text:
                self._wrapped(text, f"  {label:9} ", " " * 12)

    def write(self, text: str) -> None:
        """For a program to read."""
        self.out.write(text)
        self.out.flush()

    def _wrapped(self, text: str, first: str, further: str) -> None:
        lines = textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=first,
            subsequent_indent=further,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self._print("\n".join(lines))

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr if self._aside else self.out, flush=True)
