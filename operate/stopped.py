"""How `operate next` and `operate back` end where they do not end well: exceptions, exit codes, words."""

from __future__ import annotations

EXIT_REFUSED = 1
EXIT_BAD_INPUT = 2
EXIT_FAILED = 3
EXIT_BUSY = 4
EXIT_INTERRUPTED = 130


class Stopped(Exception):
    """The walk ends here. `why` are the reasons, `stands` says what is so now, `todo` what to do next."""

    def __init__(self, code: int, *why: str, stands: str = "", todo: str = "") -> None:
        self.code = code
        self.why = why
        self.stands = stands
        self.todo = todo
        super().__init__("; ".join(why))


class Failed(Exception):
    """The engine refused or failed: its text is why."""


class Busy(Failed):
    """Another update of the stack is under way."""
