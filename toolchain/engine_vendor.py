"""The engine by the vendor's installer, get.pulumi.com's script, into `.tools/engine/vendor/`."""

import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from toolchain import apt, versions
from toolchain.engine import Declined, Engine, official, pinned_version
from toolchain.errors import SetupError
from toolchain.paths import ENGINE, LOGS
from toolchain.process import run_logged
from toolchain.progress import Progress, say

_INSTALLER = "https://get.pulumi.com/"
# Seconds until a silent server counts as out of reach, and for the whole script (some ten kilobytes).
_CONNECT = 10.0
_WHOLE = 30.0
_LARGEST = 1 << 20
_INSTALL_TIMEOUT = 900.0


def install(progress: Progress) -> Engine:
    """Fetch and run the installer, then the provider plugins. Raises Declined or CommandFailed."""
    try:
        # Not shown as a part: it takes seconds at most, and out of reach is an answer, not a failure.
        script = _fetch()
    except Declined as reason:
        say(f"  the vendor's installer: {reason}")
        raise
    if shutil.which("curl") is None and shutil.which("wget") is None:
        try:
            apt.install(
                ["curl", "ca-certificates"], why="the vendor's installer downloads with curl", progress=progress
            )
        except SetupError as error:
            raise Declined(str(error)) from None
    ENGINE.mkdir(parents=True, exist_ok=True)
    path = ENGINE / "install.sh"
    path.write_bytes(script)
    root = ENGINE / "vendor"
    shutil.rmtree(root, ignore_errors=True)
    version = versions.show(pinned_version())
    with progress(f"installing Pulumi {version} by the vendor's installer"):
        run_logged(
            ["sh", path, "--version", version, "--install-root", root, "--no-edit-path"],
            log=LOGS / "engine-vendor.log",
            what="the vendor's installer",
            timeout=_INSTALL_TIMEOUT,
        )
    return official(_bin(root), path="", origin="the vendor's installer", progress=progress)


def _bin(root: Path) -> Path:
    if not (root / "bin" / "pulumi").exists():
        raise Declined(f"the vendor's installer left no {root / 'bin' / 'pulumi'}")
    return root / "bin"


def _fetch() -> bytes:
    """The installer's script. Raises Declined when it can't be had in time or is no shell script."""
    deadline = time.monotonic() + _WHOLE
    content = b""
    try:
        with urllib.request.urlopen(_INSTALLER, timeout=_CONNECT) as answer:
            while chunk := answer.read(16384):
                content += chunk
                if len(content) > _LARGEST or time.monotonic() > deadline:
                    raise Declined(f"{_INSTALLER} sends more, or takes longer, than an installer would")
    except (OSError, urllib.error.URLError) as error:
        cause = getattr(error, "reason", error)
        raise Declined(f"{_INSTALLER} can't be reached: {getattr(cause, 'strerror', None) or cause}") from None
    if not content.startswith(b"#!"):
        raise Declined(f"{_INSTALLER} answers with something that is no script")
    return content
