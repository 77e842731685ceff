"""A lock between processes, so that two set-ups (or two labs building one image) do not work on the same thing."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain.progress import part


@contextmanager
def held(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock `path` for the block. While another process has it, wait and say for what and for whom.

    The kernel lets go of the lock when its holder ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Appending, because truncating would wipe the holder's number while somebody else holds the lock.
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            with part(f"waiting for process {lock.read().strip() or '?'}, which is busy with {what}"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
