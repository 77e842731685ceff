"""Child processes: run with a log and a bound, or captured. Nothing goes through a shell."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain.errors import SetupError

_TAIL_LINES = 15
_GRACE_SECONDS = 5.0


class CommandFailed(SetupError):
    """A child that failed, with the end of what it wrote."""


def capture(argv: Sequence[str | Path], *, timeout: float = 20.0, env: Mapping[str, str] | None = None) -> str | None:
    """Standard output of a short command, or None when it can't be started, fails, or takes over `timeout` seconds."""
    try:
        done = subprocess.run(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, env=env, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def run_logged(
    argv: Sequence[str | Path],
    *,
    log: Path,
    what: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> None:
    """Run `argv` with its output in `log`.

    Raises CommandFailed, naming `what`, the log and its last lines, when the command fails, can't be started, or takes
    over `timeout` seconds. When this process is interrupted, the child is ended before the interrupt goes on.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        try:
            child = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                # A group of its own, so that the child can be ended together with everything that it started.
                process_group=0,
            )
        except OSError as error:
            raise CommandFailed(f"{what}: {argv[0]} can't be started: {error.strerror}") from None
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            _end(child)
            raise CommandFailed(f"{what}: no end after {timeout:.0f} s{_tail(log)}") from None
        except BaseException:
            _end(child)
            raise
    if status != 0:
        raise CommandFailed(f"{what}: {Path(argv[0]).name} ended with status {status}{_tail(log)}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and what it started: as Ctrl-C would, so that it tidies up; by force when it does not listen."""
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_SECONDS)
    # Whatever the child left running in its group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    shown = "".join(f"\n    {line}" for line in lines)
    return f". The end of {log}:{shown}" if lines else f" ({log} is empty)"
