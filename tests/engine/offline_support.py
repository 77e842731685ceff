"""What the tests of the engine's parts share: stacks whose processes can be watched, an SSH host, a scan for secrets.

The tests assert what is true of the official parts and of the stand-ins in offline/; where both can't agree they carry
the marker `standin` (conftest.py).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from lab.images import host_image
from tests.engine.stacks import ROOT, Ran, Stack
from tests.waiting import wait_until
from toolchain.env import engine_environment

MARK = "INTERNAL_TLS_TEST_PROCESS"
"""An environment variable that every process of a stack inherits, so that what is left of it can be found."""

ENGINE_ENDS_SECONDS = 30.0
"""After an interrupt. The engine itself waits five seconds for a plugin that does not end; two of them are a bug."""


@cache
def is_stand_in(part: str) -> bool:
    """Whether the engine would run offline/'s `part` (`pulumi-resource-command`)."""
    found = shutil.which(part, path=engine_environment()["PATH"])
    return found is not None and (ROOT / "offline") in Path(found).resolve().parents


@dataclass(slots=True, kw_only=True)
class WatchedStack(Stack):
    """A stack whose processes carry a mark of their own."""

    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.environment[MARK] = self.mark
        Stack.__post_init__(self)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """`pulumi …` under way, both outputs in one; killed if it is still there in the end."""
        process = subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=self.project,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)

    def checkpoint(self) -> dict[str, dict[str, Any]]:
        """The state's resources by name, read from its file; a secret is an object with its ciphertext."""
        path = self.folder / "state" / ".pulumi" / "stacks" / "trial" / "dev.json"
        latest = json.loads(path.read_text())["checkpoint"]["latest"] or {}
        return {resource["urn"].rsplit("::", 1)[1]: resource for resource in latest.get("resources") or []}

    def state_files(self) -> dict[str, bytes]:
        """The backend's files, backups and history included."""
        return {str(path): path.read_bytes() for path in (self.folder / "state").rglob("*") if path.is_file()}

    def exported(self) -> dict[str, Any]:
        return dict(self.checkpoint()["trial-dev"].get("outputs", {}))

    def processes(self) -> dict[int, str]:
        """The stack's processes that are alive: id -> command line."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                environment = (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"{MARK}={self.mark}".encode() in environment.split(b"\0") and command:
                found[int(folder.name)] = command
        return found


PROGRAM = '''
import json
from pathlib import Path

import pulumi
import pulumi_command as command


def unsealed(value):
    """{"secret": …}, {"file": …}, {"stdout of": …} … of resources.json become what they stand for."""
    if isinstance(value, dict) and len(value) == 1:
        [(kind, inner)] = value.items()
        make = {
            "secret": pulumi.Output.secret,
            "file": pulumi.FileAsset,
            "folder": pulumi.FileArchive,
            "text": pulumi.StringAsset,
            "stdout of": lambda name: made[name].stdout,
        }.get(kind)
        return make(inner) if make else value
    return value


types = {
    "remote": command.remote.Command,
    "copy": command.remote.CopyToRemote,
    "local": command.local.Command,
    "copyfile": command.remote.CopyFile,
}
made = {}
for name, spec in json.loads(Path("resources.json").read_text()).items():
    arguments = {key: unsealed(value) for key, value in spec["arguments"].items()}
    made[name] = types[spec["type"]](name, **arguments)
    if spec["type"] in ("remote", "local"):
        pulumi.export(name, made[name].stdout)
'''


@dataclass(slots=True, kw_only=True)
class CommandStack(WatchedStack):
    """A stack whose resources are exactly those that the last `declare` named."""

    program: str = PROGRAM

    def __post_init__(self) -> None:
        (self.folder / "project").mkdir()
        self.declare({})
        WatchedStack.__post_init__(self)

    def declare(self, resources: Mapping[str, tuple[str, Mapping[str, object]]]) -> None:
        """name -> (type, arguments in the SDK's spelling)."""
        spec = {name: {"type": kind, "arguments": arguments} for name, (kind, arguments) in resources.items()}
        (self.folder / "project" / "resources.json").write_text(json.dumps(spec))

    def applied(self, resources: Mapping[str, tuple[str, Mapping[str, object]]]) -> Ran:
        self.declare(resources)
        return self.up()

    def planned(self) -> dict[str, dict[str, Any]]:
        """The preview's steps by the resource's name: `op`, `newState`, `detailedDiff`."""
        steps = json.loads(self.ok("preview", "--json").stdout)["steps"]
        return {step["urn"].rsplit("::", 1)[1]: step for step in steps}


@dataclass(frozen=True, slots=True, kw_only=True)
class SshHost:
    """A real OpenSSH server in a container of the lab's host image."""

    container: str
    port: int
    private_key: str = field(repr=False)
    host_key: str

    def connection(self, **changes: object) -> dict[str, object]:
        """The `connection` argument; the SDK's spelling."""
        settings: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "root",
            "private_key": self.private_key,
            "host_key": self.host_key,
            "dial_error_limit": 0,
        }
        return {**settings, **changes}

    def command(self, create: str, **arguments: object) -> tuple[str, dict[str, object]]:
        return "remote", {"connection": self.connection(), "create": create, **arguments}

    def run(self, command: str) -> str:
        """What `sh -c` prints in the container, beside SSH."""
        done = subprocess.run(
            ["docker", "exec", self.container, "sh", "-c", command],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout


@contextmanager
def ssh_host(folder: Path) -> Iterator[SshHost]:
    """Start sshd with an ed25519 host key alone and one authorized key; accepts PULUMI_COMMAND_* (AcceptEnv)."""
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    keys = folder / "ssh"
    keys.mkdir(mode=0o700)
    host_key.write_private_key(keys / "host_key")
    (keys / "host_key").chmod(0o600)
    (keys / "authorized_keys").write_bytes(user_key.export_public_key())
    options = {
        "HostKey": "/keys/host_key",
        "AuthorizedKeysFile": "/keys/authorized_keys",
        "StrictModes": "no",
        "PermitRootLogin": "prohibit-password",
        "AcceptEnv": "PULUMI_COMMAND_*",
        "Subsystem": "sftp internal-sftp",
        "PidFile": "none",
    }
    (keys / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in options.items()))
    name = f"internal-tls-test-{uuid.uuid4().hex[:8]}"
    start = ["docker", "run", "--detach", "--rm", "--name", name, "--publish", "127.0.0.1::22"]
    mount = ["--volume", f"{keys}:/keys:ro", "--entrypoint", "/usr/sbin/sshd"]
    started = subprocess.run(
        [*start, *mount, host_image(), "-D", "-e", "-f", "/keys/sshd_config"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if started.returncode:
        pytest.fail(f"no SSH host (the lab's images are built by `make setup`): {started.stderr.strip()}")
    try:
        published = subprocess.run(
            ["docker", "port", name, "22/tcp"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        port = int(published.split(":")[1].split()[0])
        wait_until("sshd greets", lambda: greets(port))
        yield SshHost(
            container=name,
            port=port,
            private_key=user_key.export_private_key().decode(),
            host_key=host_key.export_public_key().decode().strip(),
        )
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=True, timeout=60)


def greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def closed_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def found_in(files: Mapping[str, bytes], needle: str) -> list[str]:
    """The files that hold `needle`, as it is or escaped as JSON."""
    forms = {needle.encode(), json.dumps(needle)[1:-1].encode()}
    return [name for name, content in files.items() if any(form in content for form in forms)]
