"""What `operate next` and `operate back` show: lines on standard output; what is under way on standard error.

With `--json` every line goes to standard error, and what was shown is kept as a story.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TextIO

from operate.asking import Said
from operate.palette import Palette, palette_for
from operate.report import Finding
from operate.stopped import Stopped
from operate.story import Step, Story
from operate.text import finding_text, labelled, paint_of, wrapped
from toolchain.progress import part

_MOST = 14
"""Lines of one host, or of one reason, that are shown."""
_DEEP = " " * 14


@dataclass(slots=True)
class Screen:
    """`out` is standard output; after `aside` everything but `write` goes to standard error, `as_json` even that."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    as_json: bool = False
    story: Story = field(default_factory=Story)
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

    def note(self, text: str) -> None:
        """A sentence on the whole, when it is over."""
        self.story.notes.append(text)
        self.line(text)

    def host(self, host: str, text: str) -> None:
        """A line of what a host does."""
        if self.story.steps:
            self.story.steps[-1].told.append((host, text))
        self._print(f"    {host}: {text}")

    def step(self, finding: Finding, change: str) -> None:
        """The step before it is taken."""
        self.story.steps.append(Step(finding=finding, diff=change))
        palette = self._palette
        self._print(finding_text(finding, palette).rstrip("\n"))
        lines = [line for line in change.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        for number, line in enumerate(lines):
            paint = palette.good if line[0] == "+" else palette.bad
            self._print(f"  {'change' if number == 0 else '':9} {paint(f'{line[0]} {line[1:].strip()}')}")

    def asked(self, answers: Sequence[Said]) -> None:
        """What hosts answered before anything is changed."""
        self.story.steps[-1].asked = answers
        self._said("asked now", answers)

    def previewed(self, changed: Sequence[str]) -> None:
        """What would change."""
        self.story.steps[-1].preview = changed
        self.line(
            f"preview: {len(changed)} resources change: {', '.join(changed)}" if changed else "preview: nothing changes"
        )

    def verified(self, answers: Sequence[Said]) -> None:
        """What hosts answered afterwards."""
        self.story.steps[-1].verified = answers
        self._said("verified", answers)

    def done(self) -> None:
        """The step is taken."""
        self.story.steps[-1].done = True
        self.line(self._palette.good("done"))

    def stopped(self, stopped: Stopped) -> int:
        """Why it ends here, what stands, what to do; returns the exit code."""
        self.story.stopped = stopped
        palette = self._palette
        self.line(palette.bad("stopped"))
        for why in stopped.why[:_MOST]:
            self._lines(labelled("why", why, palette.bad))
        self._lines(labelled("now", stopped.stands))
        self._lines(labelled("do", stopped.todo, palette.strong))
        return stopped.code

    def ended(self, command: str, code: int, sentence: str) -> int:
        """One sentence, on standard error, where there is no more to tell; returns the exit code."""
        self.story.stopped = Stopped(code, sentence)
        print(f"operate {command}: {sentence}", file=sys.stderr, flush=True)
        return code

    def write(self, text: str) -> None:
        """For a program to read."""
        if not self.as_json:
            self.out.write(text)
            self.out.flush()

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._aside or self.as_json else self.out

    @property
    def _palette(self) -> Palette:
        return palette_for(self._stream, os.environ)

    def _said(self, label: str, answers: Sequence[Said]) -> None:
        palette = self._palette
        for number, one in enumerate(answers):
            self._print(f"  {label if number == 0 else '':9} {one.host} {paint_of(one, palette)(one.verdict)}")
            for line in one.lines[-_MOST:]:
                self._lines(wrapped(line.strip(), _DEEP, palette.faint if one.good else str))

    def _lines(self, lines: Sequence[str]) -> None:
        if lines:
            self._print("\n".join(lines))

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
