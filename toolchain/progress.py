"""Progress of long parts, on stderr.

On a terminal one line ticks; elsewhere (a CI log) a line says that the part began, one follows every fifteen seconds,
and one says how long it took.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

# How a caller hands progress on: `with progress("building the image"): ...`
Progress = Callable[[str], AbstractContextManager[None]]

_TICK_SECONDS = 0.5
_LINE_SECONDS = 15.0


def say(text: str, *, stream: TextIO | None = None) -> None:
    """Write one line to stderr."""
    print(text, file=stream or sys.stderr, flush=True)


@contextmanager
def part(title: str, *, stream: TextIO | None = None) -> Iterator[None]:
    """Show that `title` is under way, and for how long, until the block ends."""
    out = stream or sys.stderr
    started = time.monotonic()
    ended = threading.Event()
    ticker = _tick_terminal if out.isatty() else _tick_lines
    thread = threading.Thread(target=ticker, args=(out, title, started, ended), daemon=True)
    thread.start()
    outcome = "interrupted"
    try:
        yield
        outcome = "done"
    except Exception:
        outcome = "failed"
        raise
    finally:
        ended.set()
        thread.join()
        lead = "\r\x1b[K" if out.isatty() else ""
        print(f"{lead}  {title}: {outcome}, {time.monotonic() - started:.0f} s", file=out, flush=True)


def _tick_terminal(out: TextIO, title: str, started: float, ended: threading.Event) -> None:
    while True:
        print(f"\r\x1b[K  {title} … {time.monotonic() - started:.0f} s", end="", file=out, flush=True)
        if ended.wait(_TICK_SECONDS):
            return


def _tick_lines(out: TextIO, title: str, started: float, ended: threading.Event) -> None:
    print(f"  {title} …", file=out, flush=True)
    while not ended.wait(_LINE_SECONDS):
        print(f"  {title} … {time.monotonic() - started:.0f} s", file=out, flush=True)
