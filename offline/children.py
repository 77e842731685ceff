"""The language host's child processes: the program, policy packs and plugins. None outlives the host.

Children stay in the host's process group, so that the engine's last resort (SIGKILL to the group) reaches them.
"""

import asyncio
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence

TERMINATION_SECONDS = 2.0
"""From SIGTERM to SIGKILL. Less than the five seconds after which the engine kills the host itself."""


class Children:
    """Starts processes and ends those that are still running."""

    def __init__(self) -> None:
        self._running: set[Process] = set()
        self._closed = False

    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Process:
        """Start `argv`; stdout and stderr are inherited unless given. Raises OSError, or Cancelled after `end_all`."""
        if self._closed:
            raise asyncio.CancelledError
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=cwd, env=dict(env), stdin=DEVNULL, stdout=stdout, stderr=stderr
        )
        self._running.add(process)
        return process

    async def wait(self, process: Process) -> int:
        """The exit code (negative: the signal that ended it). A cancelled wait ends the process."""
        try:
            return await process.wait()
        finally:
            await self.end(process)

    async def end(self, process: Process) -> None:
        """SIGTERM (which Python obeys without printing a traceback), then SIGKILL."""
        self._running.discard(process)
        if process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), TERMINATION_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def end_all(self) -> None:
        """End every child, and refuse to start another."""
        self._closed = True
        await asyncio.gather(*(self.end(process) for process in tuple(self._running)))
