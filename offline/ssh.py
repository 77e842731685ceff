"""SSH connections of the `command` stand-in: dialling with retries, the host key, running one command.

The semantics are those of pulumi-command 1.2.1 (provider/pkg/provider/remote/connection.go): every failed dial counts,
`dialErrorLimit` of them are retried, with growing pauses. README.md lists where this module is stricter.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from offline.provider import ProviderError
from offline.wire import Properties, plain

if TYPE_CHECKING:
    import asyncssh

FIRST_PAUSE_SECONDS: Final = 0.1
PAUSE_GROWTH: Final = 1.5
LONGEST_PAUSE_SECONDS: Final = 5.0
"""The defaults of the engine's retry package, which the original uses."""

KEEPALIVE_SECONDS: Final = 15
KEEPALIVE_MISSES: Final = 4
"""A host that vanishes in the middle of a command is given up after a minute; the original waits for ever."""

TERMINATION_SECONDS: Final = 2.0
"""How long a cancelled remote command may take to end before its connection is closed over it."""

KNOWN_SETTINGS = frozenset(
    {"host", "port", "user", "password", "privateKey", "privateKeyPassword", "agentSocketPath", "hostKey"}
    | {"dialErrorLimit", "perDialTimeout"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The `connection` input, checked. Secrets are kept out of the repr."""

    host: str
    port: int = 22
    user: str = "root"
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    private_key_password: str | None = field(default=None, repr=False)
    agent_socket_path: str | None = None
    host_key: str | None = None
    dial_error_limit: int = 10
    per_dial_timeout: int = 15

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def connection_defaults() -> Properties:
    """What an input without these keys gets at check (Annotate of the original)."""
    return {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}


def parse_connection(inputs: Properties) -> Connection:
    """The connection from (plain or secret) inputs that have passed the check."""
    settings = plain(inputs)
    return Connection(
        host=settings["host"],
        port=int(settings.get("port", 22)),
        user=settings.get("user", "root"),
        password=settings.get("password"),
        private_key=settings.get("privateKey"),
        private_key_password=settings.get("privateKeyPassword"),
        agent_socket_path=settings.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK"),
        host_key=settings.get("hostKey"),
        dial_error_limit=int(settings.get("dialErrorLimit", 10)),
        per_dial_timeout=int(settings.get("perDialTimeout", 15)),
    )


class HostKeyMismatch(ProviderError):
    """The host that answered is not the one whose key is pinned. Not retried: another try gives the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A remote command's end. `status` is None where a signal (or a lost connection) ended it."""

    status: int | None
    signal: str | None
    stdout: str
    stderr: str
    combined: str


async def dial(connection: Connection, log: Callable[[str], Awaitable[None]]) -> "asyncssh.SSHClientConnection":
    """Connect, retrying. Raises ProviderError once the limit of failed dials is passed, HostKeyMismatch at once."""
    options = await asyncio.to_thread(client_options, connection)
    limit = connection.dial_error_limit
    failed = 0
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await dial_once(connection, options)
        except DialError as error:
            failed += 1
            if -1 < limit < failed:
                raise ProviderError(f"after {failed - 1} failed attempts: {error}") from None
            await log(f"Dial {failed}/{'inf' if limit < 0 else limit} failed: retrying")
        await asyncio.sleep(pause)
        pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)


class DialError(Exception):
    """One dial failed in a way that another may not."""


async def dial_once(connection: Connection, options: dict[str, object]) -> "asyncssh.SSHClientConnection":
    import asyncssh

    seen: list[asyncssh.SSHKey] = []

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(
            self,
            host: str,  # noqa: ARG002
            addr: str,  # noqa: ARG002
            port: int,  # noqa: ARG002
            key: asyncssh.SSHKey,
        ) -> bool:
            seen.append(key)
            return bool(key.public_data == pinned.public_data) if pinned else True

    pinned = asyncssh.import_public_key(connection.host_key) if connection.host_key else None
    try:
        async with asyncio.timeout(connection.per_dial_timeout or None), agent_keys(connection) as held:
            # asyncssh asks an agent only where it also reads ~/.ssh; the original never does, so keys are named.
            keys = [*cast("list[object]", options["client_keys"]), *held]
            return await asyncssh.connect(
                connection.host,
                connection.port,
                client_factory=Client,
                **{**options, "client_keys": keys or None},
            )
    except asyncssh.HostKeyNotVerifiable:
        raise HostKeyMismatch(mismatch_message(connection, pinned, seen)) from None
    except TimeoutError:
        raise DialError(
            f"dial tcp {connection.address}: no SSH connection within {connection.per_dial_timeout} s"
            " (connection.perDialTimeout)"
        ) from None
    except asyncssh.PermissionDenied as error:
        raise DialError(
            f"ssh: handshake with {connection.address} failed: unable to authenticate as"
            f" {connection.user!r}: {error.reason}"
        ) from None
    except asyncssh.DisconnectError as error:
        raise DialError(f"ssh: handshake with {connection.address} failed: {error.reason}") from None
    except OSError as error:
        # Asyncio puts the address into strerror; a name that does not resolve has a negative errno.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise DialError(f"dial tcp {connection.address}: connect: {reason[:1].lower()}{reason[1:]}") from None


def mismatch_message(connection: Connection, pinned: "asyncssh.SSHKey | None", seen: "list[asyncssh.SSHKey]") -> str:
    def named(key: "asyncssh.SSHKey | None") -> str:
        return f"{key.get_algorithm()} {key.get_fingerprint()}" if key else "no key"

    presented = seen[-1] if seen else None
    return (
        f"ssh: handshake failed: ssh: host key mismatch: {connection.address} presented {named(presented)},"
        f" but connection.hostKey is {named(pinned)}; if the host was rebuilt on purpose,"
        " put its new key into connection.hostKey"
    )


def client_options(connection: Connection) -> dict[str, object]:
    """Options of asyncssh.connect. Reads no file of the user's ~/.ssh; the original does not either."""
    import asyncssh

    keys: list[asyncssh.SSHKey] = []
    if connection.private_key is not None:
        try:
            keys.append(asyncssh.import_private_key(connection.private_key, connection.private_key_password))
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise ProviderError(f"connection.privateKey for {connection.address} can't be read: {error}") from None
    options: dict[str, object] = {
        "username": connection.user,
        "client_keys": keys,
        "password": connection.password,
        "agent_path": None,
        "config": [],
        "known_hosts": None,
        "gss_host": None,
        # Cheap on the CPU: OpenSSH's default key exchange costs three times as much (facts.md).
        "kex_algs": "^curve25519-sha256",
        "keepalive_interval": KEEPALIVE_SECONDS,
        "keepalive_count_max": KEEPALIVE_MISSES,
    }
    if connection.host_key is not None:
        try:
            pinned = asyncssh.import_public_key(connection.host_key)
        except asyncssh.KeyImportError as error:
            raise ProviderError(f"connection.hostKey for {connection.address} can't be read: {error}") from None
        # No known host at all, so that the client factory is asked about the one that answers.
        options["known_hosts"] = ([], [], [])
        # The pinned type first: a server with keys of several types then presents that one, and a server without it
        # another, which the mismatch can name.
        options["server_host_key_algs"] = "^" + ",".join(name.decode() for name in pinned.sig_algorithms)
    return options


@contextlib.asynccontextmanager
async def agent_keys(connection: Connection) -> AsyncIterator["list[asyncssh.SSHKeyPair]"]:
    """What the agent holds, usable while the block lasts; nothing where no agent is named."""
    import asyncssh

    path = connection.agent_socket_path
    if not path:
        yield []
        return
    try:
        agent = await asyncssh.connect_agent(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ProviderError(f"connection.agentSocketPath (or SSH_AUTH_SOCK): {path}: {reason.lower()}") from None
    if agent is None:
        raise ProviderError(f"connection.agentSocketPath (or SSH_AUTH_SOCK): {path} does not answer")
    async with agent:
        yield list(await agent.get_keys())


async def run_command(
    client: "asyncssh.SSHClientConnection",
    command: str,
    *,
    stdin: str,
    env: dict[str, str],
    on_stdout: Callable[[str], Awaitable[None]],
    on_stderr: Callable[[str], Awaitable[None]],
) -> Result:
    """Run `command`; cancelled, send it SIGTERM and leave. `on_…` is called with each line, without its end."""
    import asyncssh

    process = await client.create_process(command, env=env, encoding="utf-8", errors="replace")
    combined: list[str] = []

    async def read(stream: "asyncssh.SSHReader[str]", tell: Callable[[str], Awaitable[None]]) -> str:
        taken: list[str] = []
        pending = ""
        while block := await stream.read(65536):
            taken.append(block)
            combined.append(block)
            *lines, pending = (pending + block).split("\n")
            for line in lines:
                await tell(line)
        if pending:
            await tell(pending)
        return "".join(taken)

    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(stdin)
            process.stdin.write_eof()
        stdout, stderr = await asyncio.gather(read(process.stdout, on_stdout), read(process.stderr, on_stderr))
        await process.wait_closed()
    except asyncio.CancelledError:
        with contextlib.suppress(OSError, asyncssh.Error, TimeoutError):
            process.send_signal("TERM")
            async with asyncio.timeout(TERMINATION_SECONDS):
                await process.wait_closed()
        raise
    signal = process.exit_signal
    return Result(
        status=process.exit_status if signal is None else None,
        signal=signal[0] if signal else None,
        stdout=stdout,
        stderr=stderr,
        combined="".join(combined),
    )
