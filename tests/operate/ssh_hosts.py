"""Hosts asked over real SSH: a server of this module stands for each, the client is the machine's own `ssh`."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import yaml

from tests.operate.pull_requests import EXAMPLE

HOLDS = (0, "ok      plaintext is refused\n1\n")
DOES_NOT = (
    4,
    "FAILED  Postgres serves the certificate\n  a server's log\nrevision 5 does not hold: another `certificate`\n",
)
BUSY = (5, "another update is under way\n")


@dataclass(slots=True, kw_only=True)
class Host:
    """A host's SSH server: its key, what it answers, and what it was told to run."""

    answer: tuple[int, str]
    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    port: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def public(self) -> str:
        return self.key.export_public_key().decode().strip()

    async def run(self, process: asyncssh.SSHServerProcess[str]) -> None:
        self.told.append(process.command or "")
        code, text = self.answer
        process.stdout.write(text)
        process.exit(code)


Start = Callable[..., dict[str, Host]]


def client_key(folder: Path) -> Path:
    """A new private key of the one who asks; its public half stands beside it, `.pub`."""
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "asking", "-f", path], check=True)
    return path


@contextlib.contextmanager
def starting(public: str) -> Iterator[Start]:
    """Starts a server for each host, which lets this key in; they end with the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    authorized = asyncssh.import_authorized_keys(public)
    servers: list[asyncssh.SSHAcceptor] = []

    async def listen(host: Host) -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host.key],
            authorized_client_keys=authorized,
            process_factory=host.run,
        )
        servers.append(server)
        host.port = server.get_port()

    def of(**answers: tuple[int, str]) -> dict[str, Host]:
        hosts = {name: Host(answer=answer) for name, answer in answers.items()}
        for host in hosts.values():
            asyncio.run_coroutine_threadsafe(listen(host), loop).result(timeout=20)
        return hosts

    async def end() -> None:
        for server in servers:
            server.close()
            await server.wait_closed()

    yield of
    asyncio.run_coroutine_threadsafe(end(), loop).result(timeout=20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=20)
    loop.close()


def inventory(hosts: dict[str, Host], *, key_file: Path | None = None, **pins: str) -> str:
    """A stack's file with these hosts, reached by this key; `pins` are host keys other than their own."""
    roles = {name: [name] for name in hosts} | {"database": ["postgres", "pgbouncer", "redis"]}
    document = yaml.safe_load(EXAMPLE)
    config = document["config"]
    config["internal-tls:apps"], config["internal-tls:furtherApps"] = {}, []
    config["internal-tls:hosts"] = {
        name: {
            "address": "127.0.0.1",
            "port": host.port,
            "user": "root" if name == "database" else "admin",
            "hostKey": pins.get(name, host.public),
            "roles": roles[name],
            "clientAddresses": [f"10.0.0.{number}"],
        }
        for number, (name, host) in enumerate(hosts.items(), start=1)
    }
    if key_file:
        config["internal-tls:sshPrivateKeyFile"] = str(key_file)
    return yaml.safe_dump(document)
