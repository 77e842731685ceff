"""The providers ready by the time that the engine asks for them.

The engine starts plugins one after another and waits for each to say its port: 0.15 s for a Python process that imports
gRPC, 0.35 s for one that imports the SDK, and meanwhile nothing else goes on. The language host has imported gRPC
already and waits for the program, so it sets up one instance of each provider in that time: the SDK's dynamic provider
as a child, `aws` and `command` in its own process. It writes their ports to `.tools/run/<engine's port>.<provider>`;
the wrapper in bin/ that the engine starts takes the file away and says that port. Without a file it starts a process of
its own. An offer is taken once, as the engine may want two instances of a provider that differ in configuration.
"""

import asyncio
import importlib
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import grpc.aio

from offline.children import Children

FOLDER: Final = Path(__file__).resolve().parent.parent / ".tools" / "run"

OWN_PROVIDERS: Final = ("aws", "command")
DYNAMIC: Final = "pulumi-python"


class Offers:
    """What one language host offers to the engine at `engine_address`."""

    def __init__(self, engine_address: str) -> None:
        self._engine_address = engine_address
        self._files: list[Path] = []
        self._servers: list[grpc.aio.Server] = []
        self._cancels: list[Callable[[], None]] = []
        self._children = Children()
        self._task: asyncio.Task[None] | None = None

    def begin(self, *, python: str, cwd: str, env: Mapping[str, str]) -> None:
        """Set the providers up beside what else is going on: the dynamic one with the program's `python`."""
        if self._task is None:
            self._task = asyncio.create_task(self._offer(python, cwd, env))

    async def end(self) -> None:
        """Withdraw what was not taken, end what was."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for file in self._files:
            file.unlink(missing_ok=True)
        for cancel in self._cancels:
            cancel()
        await self._children.end_all()

    async def _offer(self, python: str, cwd: str, env: Mapping[str, str]) -> None:
        # The slowest first, and no third process beside the program: two cores are what most machines have to spare.
        child = await self._children.start(
            [python, "-u", "-m", "pulumi.dynamic", self._engine_address],
            cwd=cwd,
            env=env,
            stdout=PIPE,
            # By the same pipe: where this host ends while it starts, nobody reads what it says of that.
            stderr=STDOUT,
        )
        assert child.stdout is not None
        port = (await child.stdout.readline()).strip()
        if port.isdigit():
            self._write(DYNAMIC, int(port))
        for name in OWN_PROVIDERS:
            # In a thread, so that calls are answered meanwhile.
            module = await asyncio.to_thread(importlib.import_module, f"offline.{name}_provider")
            provider = module.PROVIDER(self._engine_address)
            server, own_port = await provider.listen()
            self._servers.append(server)
            self._cancels.append(provider.operations.cancel)
            self._write(name, own_port)
        # What a user's provider prints is the engine's to show.
        while block := await child.stdout.read(65536):
            sys.stdout.buffer.write(block)
            sys.stdout.flush()

    def _write(self, name: str, port: int) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        file = FOLDER / f"{self._engine_address.rsplit(':', 1)[-1]}.{name}"
        self._files.append(file)
        unfinished = file.with_name(f"{file.name}.new")
        unfinished.write_text(f"{port} {os.getpid()}\n", encoding="ascii")
        unfinished.replace(file)
