"""The virtual environment `.venv`, filled with exactly what requirements-dev.txt pins."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

from toolchain import apt
from toolchain.errors import SetupError
from toolchain.paths import LOGS, PIP_CACHE, REQUIREMENTS, VENV
from toolchain.process import capture, run_logged
from toolchain.progress import Progress

PYTHON = VENV / "bin" / "python"

# Holds what the environment was filled from; written when it is complete.
_STAMP = VENV / ".requirements.sha256"
# There while pip is at work. An environment that still has it was interrupted and can't be trusted.
_UNFINISHED = VENV / ".unfinished"
_TIMEOUT = 1800.0


def is_current() -> bool:
    """Whether the environment is complete and made from today's requirements."""
    return _STAMP.exists() and not _UNFINISHED.exists() and _STAMP.read_text() == _wanted() and PYTHON.exists()


def ensure(progress: Progress) -> None:
    """Make or complete the environment. A second call costs nothing.

    Raises SetupError when Python's `venv` is missing and can't be installed, CommandFailed when pip fails.
    """
    if is_current():
        return
    if _UNFINISHED.exists() or capture([PYTHON, "-c", "import pip"]) is None:
        _create(progress)
    _UNFINISHED.touch()
    with progress("installing the pinned Python packages (about two minutes the first time)"):
        run_logged(
            [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", "-r", REQUIREMENTS],
            log=LOGS / "pip.log",
            what="the Python packages",
            env=pip_environment(),
            timeout=_TIMEOUT,
        )
    _STAMP.write_text(_wanted())
    _UNFINISHED.unlink()
    # Kept until now, so that an interrupted set-up downloads nothing twice.
    shutil.rmtree(PIP_CACHE, ignore_errors=True)


def pip_environment() -> dict[str, str]:
    """pip's own environment, with its cache among what the set-up may write."""
    return {**os.environ, "PIP_CACHE_DIR": str(PIP_CACHE)}


def _create(progress: Progress) -> None:
    if capture([sys.executable, "-c", "import venv, ensurepip"]) is None:
        minor = f"python3.{sys.version_info.minor}-venv"
        # The plain name belongs to the system's own python3; another one's package carries its version.
        package = "python3-venv" if Path(sys.executable).resolve() == Path("/usr/bin/python3").resolve() else minor
        apt.install([package], why="Python's venv module is missing", progress=progress)
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    _UNFINISHED.touch()
    with progress("making the virtual environment"):
        run_logged(
            [sys.executable, "-m", "venv", VENV], log=LOGS / "venv.log", what="the virtual environment", timeout=300
        )
    if not PYTHON.exists():
        raise SetupError(f"the virtual environment {VENV} has no {PYTHON.name}; the log is {LOGS / 'venv.log'}")


def _wanted() -> str:
    """What the environment has to be made from."""
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
