"""Hosts asked over the system's own ssh: side by side, each only by the key that the config pins for it.

As the program connects: by the inventory's address, port and user, with `sshPrivateKeyFile` or the agent. A client
config of the operator's is read only where it is given (`--ssh-config`): for a bastion, a ProxyJump. A key that is
encrypted in the config is not read: add it to the agent.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rollout.config import Ssh
from rollout.inventory import Host

UPDATE = "/opt/voiceai/update.sh"
NOT_REACHED = 255
"""ssh's own exit code."""
TIMED_OUT, KILLED = 124, 137
"""timeout(1)'s: it was ended, or had to be killed."""

_AT_ONCE = 32
_CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a host said: update.sh's exit code (or ssh's 255, or timeout's 124), its lines out and its lines err."""

    host: str
    code: int
    out: tuple[str, ...]
    err: tuple[str, ...]


def remedy(answer: Answer) -> str:
    """What to do about an answer that is none."""
    if answer.code == NOT_REACHED:
        return "see that ssh reaches it with the key of the config or of your agent (--ssh-config for a bastion)"
    if any("what should be done" in line for line in (*answer.out, *answer.err)) or answer.code in (126, 127):
        return "it has another version's update.sh, or none: `pulumi up` with nothing changed ships this one"
    if answer.code in (TIMED_OUT, KILLED):
        return "see what it waits for: update.sh --status there"
    return "see update.sh --status there"


@dataclass(slots=True, kw_only=True)
class Remote:
    """Asks the hosts of one inventory. `config` is an ssh_config(5) file, "" for none."""

    ssh: Ssh
    config: str = ""
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ask(self, hosts: Sequence[Host], arguments: str, texts: Mapping[str, str], *, seconds: int) -> list[Answer]:
        """`update.sh ARGUMENTS` on each host, its standard input from `texts`; answers in the order of `hosts`."""
        with self._pinned(hosts) as known, ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            try:
                asked = [
                    pool.submit(self._ask, host, known, arguments, texts.get(host.name, ""), seconds) for host in hosts
                ]
                return [one.result() for one in asked]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in self._running:
                    with contextlib.suppress(OSError):
                        process.terminate()
                raise

    def command(self, host: Host, known: str) -> list[str]:
        """The ssh(1) command up to the remote one."""
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null",
            # The pinned key counts, whatever name or address a client config makes of the host.
            "HostKeyAlias": host.name,
            "UpdateHostKeys": "no",
            "ConnectTimeout": str(_CONNECT_SECONDS),
            "ServerAliveInterval": "15",
        }
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        if self.ssh.private_key_file:
            flags += ["-i", str(Path(self.ssh.private_key_file).expanduser()), "-o", "IdentitiesOnly=yes"]
        return ["ssh", "-F", self.config or "/dev/null", *flags, "-p", str(host.port), "-l", host.user, host.address]

    @contextlib.contextmanager
    def _pinned(self, hosts: Sequence[Host]) -> Iterator[str]:
        with tempfile.NamedTemporaryFile("w", prefix="operate-known-hosts-", encoding="utf-8") as file:
            file.write("".join(f"{host.name} {host.host_key}\n" for host in hosts))
            file.flush()
            yield file.name

    def _ask(self, host: Host, known: str, arguments: str, text: str, seconds: int) -> Answer:
        remote = f"{host.sudo}timeout --kill-after=15 {seconds} {UPDATE} {arguments}"
        try:
            process = subprocess.Popen(
                [*self.command(host, known), remote],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except FileNotFoundError:
            return Answer(
                host=host.name, code=NOT_REACHED, out=(), err=("ssh is not on PATH: install OpenSSH's client",)
            )
        self._running.append(process)
        try:
            out, err = process.communicate(text.encode(), timeout=seconds + 3 * _CONNECT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Answer(host=host.name, code=TIMED_OUT, out=(), err=(f"it did not answer within {seconds} s",))
        return Answer(host=host.name, code=process.returncode, out=_lines(out), err=_lines(err))


def _lines(raw: bytes) -> tuple[str, ...]:
    # What a host prints is shown on a terminal: no control characters.
    lines = (
        "".join(c if c.isprintable() else " " for c in line).rstrip()
        for line in raw.decode("utf-8", errors="replace").splitlines()
    )
    return tuple(line for line in lines if line)
