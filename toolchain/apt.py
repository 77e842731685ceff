"""Packages of Debian and Ubuntu: installed only as root, only what is missing, and announced."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from toolchain.errors import SetupError
from toolchain.locking import held
from toolchain.paths import LOGS, TOOLS
from toolchain.process import run_logged
from toolchain.progress import Progress, say

_OS_RELEASE = Path("/etc/os-release")
_TIMEOUT = 900.0


def is_debian_like(os_release: str) -> bool:
    """Whether the text of /etc/os-release names Debian, Ubuntu or a relative (os-release(5): ID, ID_LIKE)."""
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line and not line.startswith("#"))
    names = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").replace("'", "").split()
    return "debian" in names or "ubuntu" in names


def can_install() -> bool:
    """Whether this process may install packages here."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None or not _OS_RELEASE.exists():
        return False
    return is_debian_like(_OS_RELEASE.read_text())


def ensure_commands(wanted: Mapping[str, str], *, why: str, progress: Progress) -> None:
    """Install the packages of those commands (command → package) that are not on PATH.

    Raises SetupError that says what to install where this process can't.
    """
    missing = sorted({package for command, package in wanted.items() if shutil.which(command) is None})
    if missing:
        install(missing, why=why, progress=progress)


def install(packages: list[str], *, why: str, progress: Progress) -> None:
    """Install packages with apt-get, saying so first. Raises SetupError where this process can't."""
    names = " ".join(packages)
    if not can_install():
        raise SetupError(
            f"{why}: install {names} (on Debian or Ubuntu: `sudo apt-get install {names}`), then run this again"
        )
    say(f"{why}: installing with apt: {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # The system's own lock is waited for as well: an unattended upgrade may hold it on a fresh machine.
    options = ["-o", "DPkg::Lock::Timeout=300", "-y", "--no-install-recommends"]
    with held(TOOLS / "apt.lock", what="apt packages"), progress(f"installing {names}"):
        run_logged(
            ["apt-get", "-o", "DPkg::Lock::Timeout=300", "update"],
            log=LOGS / "apt-update.log",
            what="apt-get update",
            env=environment,
            timeout=_TIMEOUT,
        )
        run_logged(
            ["apt-get", "install", *options, *packages],
            log=LOGS / "apt-install.log",
            what=f"installing {names}",
            env=environment,
            timeout=_TIMEOUT,
        )
