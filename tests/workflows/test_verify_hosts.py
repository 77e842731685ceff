"""Hosts are asked over real SSH: a server of this test stands for each, the client is the machine's own `ssh`."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import asyncssh
import pytest
import yaml

from tests.operate.conftest import Repository
from tests.operate.pull_requests import EXAMPLE
from tests.workflows.conftest import Runner

HOLDS = (0, "revision 5 holds\n5\n")
DOES_NOT = (4, "FAILED  Postgres serves the certificate\nrevision 5 does not hold: another `certificate`\n")
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


@pytest.fixture
def client(runner: Runner) -> str:
    """The public half of the key that the step is given."""
    path = runner.work / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    runner.environment["SSH_PRIVATE_KEY"] = path.read_text()
    return path.with_suffix(".pub").read_text()


Start = Callable[..., dict[str, Host]]


@pytest.fixture
def start(client: str) -> Iterator[Start]:
    """Starts a server for each host; they end with the test."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    authorized = asyncssh.import_authorized_keys(client)
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


def inventory(hosts: dict[str, Host], **pins: str) -> str:
    """A stack's file with these hosts; `pins` are host keys other than their own."""
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
    return yaml.safe_dump(document)


def test_every_host_is_asked_to_verify_and_nothing_else(start: Start, repository: Repository, runner: Runner) -> None:
    hosts = start(database=HOLDS, api=HOLDS)
    repository.commit(staging=inventory(hosts))
    done = runner.run("verify-hosts.sh", "staging")
    assert done.code == 0, done.printed
    assert hosts["database"].told == ["/opt/voiceai/update.sh --verify-only"]
    assert hosts["api"].told == ["sudo -n /opt/voiceai/update.sh --verify-only"]
    assert "| database | ✅ | holds |" in done.summary
    assert runner.left_behind() == []


def test_a_host_that_does_not_hold_fails_the_night_and_the_others_are_still_asked(
    start: Start, repository: Repository, runner: Runner
) -> None:
    hosts = start(database=HOLDS, api=DOES_NOT, web=HOLDS)
    repository.commit(staging=inventory(hosts))
    done = runner.run("verify-hosts.sh", "staging")
    assert done.code == 1
    assert all(host.told for host in hosts.values())
    assert "| api | ⛔ | revision 5 does not hold: another certificate (exit 4) |" in done.summary
    assert "| web | ✅ | holds |" in done.summary
    assert "FAILED  Postgres serves the certificate" in done.printed


def test_a_host_with_another_key_than_the_pinned_one_is_told_nothing(
    start: Start, repository: Repository, runner: Runner
) -> None:
    hosts = start(database=HOLDS, api=HOLDS)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    repository.commit(staging=inventory(hosts, api=other))
    done = runner.run("verify-hosts.sh", "staging")
    assert done.code == 1
    assert (hosts["api"].told, len(hosts["database"].told)) == ([], 1)
    assert "Host key verification failed" in done.printed


def test_a_host_in_the_middle_of_an_update_is_told_of_and_fails_nothing(
    start: Start, repository: Repository, runner: Runner
) -> None:
    hosts = start(database=BUSY, api=HOLDS)
    repository.commit(staging=inventory(hosts))
    done = runner.run("verify-hosts.sh", "staging")
    assert done.code == 0, done.printed
    assert "| database | ▫️ | an update is under way" in done.summary


def test_a_host_that_cannot_be_reached_fails_the_night(start: Start, repository: Repository, runner: Runner) -> None:
    hosts = start(database=HOLDS, api=HOLDS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        hosts["api"].port = free.getsockname()[1]
        repository.commit(staging=inventory(hosts))
        done = runner.run("verify-hosts.sh", "staging")
    assert done.code == 1
    assert "Connection refused (exit 255)" in done.summary


def test_a_host_that_never_answers_is_not_waited_for_forever(
    start: Start, repository: Repository, runner: Runner
) -> None:
    hosts = start(database=HOLDS, api=HOLDS)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hosts["api"].port = silent.getsockname()[1]
        repository.commit(staging=inventory(hosts))
        runner.environment["HOST_SECONDS"] = "2"
        done = runner.run("verify-hosts.sh", "staging")
    assert done.code == 1
    assert "no answer within 2 s" in done.summary


def test_a_config_that_is_refused_asks_nobody(start: Start, repository: Repository, runner: Runner) -> None:
    hosts = start(database=HOLDS)
    repository.commit(staging=inventory(hosts).replace("databaseDns", "databaseDsn"))
    done = runner.run("verify-hosts.sh", "staging")
    assert done.code == 1
    assert "did you mean databaseDns?" in done.printed
    assert hosts["database"].told == []
