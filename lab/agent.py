"""The lab's SSH agent: it holds the key that hosts accept, so that the key itself is never an input of a resource.

The engine prints inputs in plaintext at `-v=9`, secret or not; what an agent holds never passes through it.
"""

import os
import re
import signal
import subprocess
from pathlib import Path

from lab.errors import LabError
from lab.layout import Layout

_SECONDS = 20.0
# sun_path of a Unix socket holds 108 bytes (unix(7)).
_LONGEST_SOCKET = 100


def socket(layout: Layout) -> Path:
    """Where the agent listens: in the lab's folder, or in /tmp where that path is too long for a socket."""
    path = layout.root / "agent.sock"
    return path if len(str(path)) <= _LONGEST_SOCKET else Path("/tmp") / f"{layout.name}.agent"  # noqa: S108


def ensure(layout: Layout) -> None:
    """Have the agent running with the lab's key. Raises LabError with OpenSSH's words."""
    # 0: has a key; 1: answers, without one; 2: does not answer (ssh-add(1)).
    status = _ssh_add(layout, "-l").returncode
    if status == 2:
        socket(layout).unlink(missing_ok=True)
        _pid_file(layout).write_text(_started(layout))
    if status != 0:
        added = _ssh_add(layout, "-q", str(layout.ssh_key))
        if added.returncode != 0:
            raise LabError(f"the SSH agent did not take the lab's key: {added.stderr.strip()}")


def stop(layout: Layout) -> None:
    """End the agent, if it runs: the process that was started, and no other that has its number now."""
    pid = _pid_file(layout)
    if pid.exists():
        number = int(pid.read_text())
        try:
            ours = str(socket(layout)).encode() in Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:
            ours = False
        if ours:
            os.kill(number, signal.SIGTERM)
        pid.unlink()
    socket(layout).unlink(missing_ok=True)


def _started(layout: Layout) -> str:
    done = _call(layout, ["ssh-agent", "-s", "-a", str(socket(layout))])
    found = re.search(r"SSH_AGENT_PID=(\d+)", done.stdout)
    if done.returncode != 0 or found is None:
        raise LabError(f"ssh-agent did not start: {done.stderr.strip()}")
    return found.group(1)


def _ssh_add(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _call(layout, ["ssh-add", *arguments])


def _call(layout: Layout, command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SSH_AUTH_SOCK": str(socket(layout))}
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{command[0]} is missing: install OpenSSH's client") from None


def _pid_file(layout: Layout) -> Path:
    return layout.root / "agent.pid"
