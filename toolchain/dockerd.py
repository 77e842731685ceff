"""Docker: found, or (as root on Debian or Ubuntu) installed and started.

A daemon that this project started is known by the file `.tools/docker/started.json`; only that one is ever stopped.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from toolchain import apt
from toolchain.errors import SetupError
from toolchain.locking import held
from toolchain.paths import DOCKER
from toolchain.process import capture
from toolchain.progress import Progress, say

_STARTED = DOCKER / "started.json"
_LOG = DOCKER / "dockerd.log"
# There when systemd runs the machine, sd_booted(3).
_SYSTEMD = Path("/run/systemd/system")
_READY_SECONDS = 60.0
_STOP_SECONDS = 30.0
_spawned: dict[int, subprocess.Popen[bytes]] = {}
_WHERE_TO_GET = "install Docker (https://docs.docker.com/engine/install/), start it, then run this again"


def server_version() -> str | None:
    """The running daemon's version, or None when none answers."""
    answer = capture(["docker", "version", "--format", "{{.Server.Version}}"])
    return answer.strip() if answer and answer.strip() else None


def ensure(progress: Progress) -> None:
    """Have a daemon that answers. Raises SetupError that says what to do where this process can't."""
    if server_version() is not None:
        return
    with held(DOCKER / "lock", what="starting Docker"):
        if server_version() is not None:
            return
        reason = _why_not()
        if os.environ.get("DOCKER_HOST"):
            raise SetupError(
                f"DOCKER_HOST={os.environ['DOCKER_HOST']}: {reason}: start that daemon, or unset DOCKER_HOST"
            )
        if "permission denied" in reason.lower():
            raise SetupError(
                f"Docker: {reason}: run this as root, or add your user to the group `docker` and log in again"
            )
        if not apt.can_install():
            raise SetupError(f"Docker: {reason}: {_WHERE_TO_GET}")
        _install(progress)
        with progress("starting Docker"):
            _start()


def stop_if_ours() -> bool:
    """Stop the daemon that this project started. False when there is none."""
    pid = our_daemon()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        _await_end(pid)
    _STARTED.unlink(missing_ok=True)
    return pid is not None


def our_daemon() -> int | None:
    """The process number of the daemon that this project started and that still runs, or None."""
    try:
        record = json.loads(_STARTED.read_text())
        pid, since = int(record["pid"]), str(record["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A number is used again after a reboot; together with the time of its start it is not.
    return pid if _started_at(pid) == since else None


def _why_not() -> str:
    """Why no daemon answers, in docker's own words."""
    if shutil.which("docker") is None:
        return "it is not installed"
    try:
        done = subprocess.run(
            ["docker", "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return "it does not answer within 20 s"
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else "no daemon answers"


def _install(progress: Progress) -> None:
    why = "the lab runs real servers in Docker"
    apt.ensure_commands({"dockerd": "docker.io", "iptables": "iptables"}, why=why, progress=progress)
    # Newer releases have the client in a package of its own.
    apt.ensure_commands({"docker": "docker-cli"}, why=why, progress=progress)


def _start() -> None:
    if _SYSTEMD.is_dir():
        capture(["systemctl", "start", "docker"], timeout=_READY_SECONDS)
        if server_version() is not None:
            return
    if server_version() is not None:
        return
    DOCKER.mkdir(parents=True, exist_ok=True)
    say(f"  starting dockerd; its log is {_LOG}")
    with _LOG.open("ab") as sink:
        # A container inherits the daemon's limit of open files; PgBouncer and Redis take time over a huge one.
        child = subprocess.Popen(
            ["dockerd", "--default-ulimit", "nofile=1024:1024"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    # Held, because a daemon is meant to outlive the object that started it.
    _spawned[child.pid] = child
    _STARTED.write_text(json.dumps({"pid": child.pid, "since": _started_at(child.pid)}) + "\n")
    deadline = time.monotonic() + _READY_SECONDS
    while server_version() is None:
        if child.poll() is not None:
            _STARTED.unlink(missing_ok=True)
            raise SetupError(f"dockerd ended with status {child.returncode}; its log is {_LOG}:\n{_log_tail()}")
        if time.monotonic() > deadline:
            stop_if_ours()
            raise SetupError(f"dockerd was not ready after {_READY_SECONDS:.0f} s; its log is {_LOG}:\n{_log_tail()}")
        time.sleep(0.2)


def _log_tail() -> str:
    return "\n".join(f"    {line}" for line in _LOG.read_text(errors="replace").splitlines()[-8:])


def _started_at(pid: int) -> str | None:
    """When a process was started, in ticks since boot (proc(5): stat, field 22), or None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    child = _spawned.pop(pid, None)
    while (child is not None and child.poll() is None) or _started_at(pid) is not None:
        if time.monotonic() > deadline:
            raise SetupError(f"dockerd (process {pid}) did not end within {_STOP_SECONDS:.0f} s; its log is {_LOG}")
        time.sleep(0.1)
