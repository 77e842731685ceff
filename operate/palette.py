"""Colours, on a terminal alone. A text's width is counted before it is coloured: the codes have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

_STRONG, _FAINT, _RED, _GREEN, _YELLOW = 1, 2, 31, 32, 33


@dataclass(frozen=True, slots=True)
class Palette:
    """What a text means, as SGR codes around it (ECMA-48) where it is `on`, else the text as it is.

    Never the only sign of anything: the words say the same.
    """

    on: bool = False

    def good(self, text: str) -> str:
        """It passes, holds, is allowed."""
        return self._of(_GREEN, text)

    def bad(self, text: str) -> str:
        """It is refused, fails, differs."""
        return self._of(_RED, text)

    def doubtful(self, text: str) -> str:
        """It is not known, or somebody should look at it."""
        return self._of(_YELLOW, text)

    def faint(self, text: str) -> str:
        """What stands behind the answer."""
        return self._of(_FAINT, text)

    def strong(self, text: str) -> str:
        """What the eye should find first."""
        return self._of(_STRONG, text)

    def _of(self, code: int, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text


def palette_for(stream: TextIO, environ: Mapping[str, str]) -> Palette:
    """Off where the stream is no terminal, where NO_COLOR is set to anything (no-color.org), or TERM is dumb."""
    return Palette(stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb")


PLAIN = Palette()
