"""The stack's file on disk: read to the byte, replaced whole, put back to the byte; one operator at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from operate.errors import BadInput

_GIT_SECONDS = 30.0


class Taken(Exception):
    """Another operator works on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """`path` is the file itself, links resolved."""

    path: Path

    @classmethod
    def find(cls, folder: Path, stack: str, environment: dict[str, str]) -> ConfigFile:
        """The file that `pulumi` itself would read in `folder` for the stack; raises `BadInput` where there is none."""
        given = environment.get("PULUMI_OPTION_CONFIG_FILE", "")
        path = folder / (given or f"Pulumi.{stack.rpartition('/')[2]}.yaml")
        if not path.is_file():
            raise BadInput(
                f"{path}: there is no such file; name the stack by --stack, the project's folder by --project"
            )
        return cls(path=path.resolve())

    def read(self) -> str:
        """Its text, line ends as they are; raises `BadInput`."""
        try:
            return self.path.read_bytes().decode("utf-8")
        except OSError as error:
            raise BadInput(f"{self.path}: it can't be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise BadInput(f"{self.path}: it is no UTF-8 text") from None

    def replace(self, expected: str, text: str) -> None:
        """Have it hold `text`, by one rename, its mode kept; raises `BadInput` where it holds not `expected` now."""
        with undisturbed():
            if self.read() != expected:
                raise BadInput(
                    f"{self.path}: somebody else changed it meanwhile, so it is left as it is: look at it first"
                )
            try:
                _write(self.path, text.encode("utf-8"))
            except OSError as error:
                raise BadInput(f"{self.path}: it can't be written ({error.strerror}); nothing was changed") from None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No other `operate` of this user works on the file meanwhile; raises `Taken`. Pulumi has a lock for others."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        lock = Path(tempfile.gettempdir()) / f"operate-{os.getuid()}-{digest}.lock"
        with lock.open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Taken(
                    f"another `operate` works on {self.path.name} just now: wait for it to end and look again; nothing "
                    "was changed by this one"
                ) from None
            yield

    def uncommitted(self) -> bool:
        """Whether git has not the file as it stands: not at all, or not so."""
        return _git(self.path, "ls-files", "--error-unmatch") != 0 or _git(self.path, "diff", "--quiet", "HEAD") != 0


@contextlib.contextmanager
def undisturbed(*, deaf: bool = False) -> Iterator[None]:
    """Signals that would end us wait until the block has ended; with `deaf` they are forgotten.

    By handlers, not by a mask: with several threads a masked signal still finds one that takes it.
    """
    came = []
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came and not deaf:
        raise KeyboardInterrupt


def _write(path: Path, content: bytes) -> None:
    status = path.stat()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _git(path: Path, *arguments: str) -> int:
    try:
        done = subprocess.run(
            ["git", *arguments, "--", path.name],
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 1
    return done.returncode
