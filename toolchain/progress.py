"""Progress of long parts, on stderr.

On a terminal one line ticks. Elsewhere (a CI log) a line says after two seconds what is under way, one follows every
fifteen seconds, and one says how long it took. What is over within two seconds leaves no line.
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
# A part that is over before this is not worth a line.
_WORTH_SECONDS = 2.0


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
        seconds = time.monotonic() - started
        if out.isatty():
            print("\r\x1b[K", end="", file=out, flush=True)
        if seconds >= _WORTH_SECONDS or outcome != "done":
            print(f"  {title}: {outcome}, {seconds:.0f} s", file=out, flush=True)


def _tick_terminal(out: TextIO, title: str, started: float, ended: threading.Event) -> None:
    while True:
        print(f"\r\x1b[K  {title} … {time.monotonic() - started:.0f} s", end="", file=out, flush=True)
        if ended.wait(_TICK_SECONDS):
            return


def _tick_lines(out: TextIO, title: str, started: float, ended: threading.Event) -> None:
    if ended.wait(_WORTH_SECONDS):
        return
    print(f"  {title} …", file=out, flush=True)
    while not ended.wait(_LINE_SECONDS):
        print(f"  {title} … {time.monotonic() - started:.0f} s", file=out, flush=True)
