"""Hosts that answer over SSH without a container: a server in a thread, one port a host, that keeps what it was told.

`update.sh --settings -` ends with the revision that stands on its stdin, as the real one does; a host that is named in
`broken` fails instead.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import asyncssh


@dataclass(slots=True, kw_only=True)
class SshHosts:
    """`ports` by host. `told` has each settings text that reached a host, in order."""

    ports: dict[str, int] = field(default_factory=dict)
    host_key: str
    private_key: str = field(repr=False)
    told: list[tuple[str, str]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def reached(self) -> list[str]:
        """Which hosts were told settings since the last question, sorted, each with its revision."""
        told, self.told = self.told, []
        return sorted(f"{host} {_revision(text)}" for host, text in told)


def _revision(text: str) -> str:
    return next((line.partition("=")[2] for line in text.splitlines() if line.startswith("REVISION=")), "")


class _Anyone(asyncssh.SSHServer):
    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True


@contextmanager
def ssh_hosts(*names: str) -> Iterator[SshHosts]:
    """The servers, listening on 127.0.0.1 until the end."""
    key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    hosts = SshHosts(
        host_key=" ".join(key.export_public_key().decode().split()[:2]),
        private_key=user_key.export_private_key().decode(),
    )
    servers: list[asyncssh.SSHAcceptor] = []

    async def listen(name: str) -> None:
        async def handle(process: asyncssh.SSHServerProcess[str]) -> None:
            text = await process.stdin.read()
            if "update.sh" not in (process.command or "")[-60:]:
                process.exit(0)
                return
            hosts.told.append((name, text))
            if name in hosts.broken:
                process.stderr.write(f"{name} is broken\n")
                process.exit(1)
                return
            process.stdout.write(f"{_revision(text)}\n")
            process.exit(0)

        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=_Anyone, process_factory=handle
        )
        servers.append(server)
        hosts.ports[name] = server.get_port()

    async def serve(ready: threading.Event, ended: threading.Event) -> None:
        for name in names:
            await listen(name)
        ready.set()
        await asyncio.to_thread(ended.wait)
        for server in servers:
            server.close()
            await server.wait_closed()

    ready, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve(ready, ended)), daemon=True)
    thread.start()
    try:
        assert ready.wait(20), "the hosts do not listen"
        yield hosts
    finally:
        ended.set()
        thread.join(20)
