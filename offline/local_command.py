"""`command:local:Command`: one command on this machine. Semantics of pulumi-command 1.2.1, local/commandOutputs.go."""

# ruff: noqa: ARG002  the methods of offline.provider.Resource, whether a type needs every argument or not

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable
from typing import Final

from offline.command_output import (
    check_logging,
    diff,
    failure,
    loggers,
    output,
    preview_outputs,
    previous_outputs,
)
from offline.provider import Call, Diff, Failure, ProviderError, unique_id, unknown_inputs
from offline.wire import Properties, plain

WHAT: Final = "command:local:Command"

KNOWN: Final = frozenset(
    {"create", "update", "delete", "stdin", "environment", "dir", "interpreter", "logging", "triggers"}
    | {"addPreviousOutputInEnv"}
)

SHELL: Final = ("/bin/sh", "-c")

TERMINATION_SECONDS: Final = 2.0
"""From SIGTERM to SIGKILL when the update is cancelled."""

LINE_LIMIT: Final = 1024 * 1024


class LocalCommand:
    """The resource type."""

    def check(self, call: Call, olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        failures = [*unknown_inputs(news, known=KNOWN, what=WHAT), *check_logging(news, WHAT)]
        return {"addPreviousOutputInEnv": True, **news}, failures

    def diff(self, state: Properties, news: Properties) -> Diff:
        return diff(state, news)

    async def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        if call.preview:
            return "", {**inputs, **preview_outputs(None, inputs)}
        outputs = {"stdout": "", "stderr": ""}
        if "create" in inputs:
            outputs = await self._run(call, inputs["create"], inputs, {})
        return unique_id(call.name), {**inputs, **outputs}

    async def update(self, call: Call, id: str, state: Properties, news: Properties) -> Properties:
        if call.preview:
            return {**news, **preview_outputs(state, news)}
        outputs = {name: state.get(name, "") for name in ("stdout", "stderr")}
        command = news.get("update", news.get("create"))
        if command is not None:
            outputs = await self._run(call, command, news, state)
        return {**news, **outputs}

    async def delete(self, call: Call, id: str, state: Properties) -> None:
        if "delete" in state:
            await self._run(call, state["delete"], state, state)

    async def read(self, id: str, state: Properties, inputs: Properties) -> tuple[Properties, Properties]:
        return state, inputs

    async def _run(self, call: Call, command: object, inputs: Properties, state: Properties) -> Properties:
        text = str(plain(command))
        on_stdout, on_stderr = loggers(call, plain(inputs.get("logging")))
        stdin: str = plain(inputs.get("stdin")) or ""
        env = {**os.environ, **plain(inputs.get("environment", {})), **previous_outputs(inputs, state)}
        argv = [*(plain(inputs.get("interpreter")) or SHELL), text]
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=plain(inputs.get("dir")),
                env=env,
                stdin=PIPE if stdin else DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                limit=LINE_LIMIT,
                # A group of its own, so that cancelling reaches what a shell has started.
                start_new_session=True,
            )
        except OSError as error:
            raise ProviderError(failure(f"{argv[0]}: {error.strerror}", text, "")) from None
        combined: list[bytes] = []
        try:
            _, stdout, stderr, status = await asyncio.gather(
                feed(process, stdin.encode()),
                collect(process.stdout, combined, on_stdout),
                collect(process.stderr, combined, on_stderr),
                process.wait(),
            )
        finally:
            await end_group(process)
        if status:
            what = f"exit status {status}" if status > 0 else f"signal: {signal.Signals(-status).name}"
            raise ProviderError(failure(what, text, b"".join(combined).decode(errors="replace")))
        return {"stdout": output(stdout), "stderr": output(stderr)}


async def feed(process: Process, stdin: bytes) -> None:
    """Write stdin; a command that does not read it to its end is not in error."""
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def collect(
    stream: asyncio.StreamReader | None, combined: list[bytes], tell: Callable[[str], Awaitable[None]]
) -> str:
    """The stream's text; each line is told as it comes."""
    assert stream is not None
    taken: list[bytes] = []
    while line := await stream.readline():
        taken.append(line)
        combined.append(line)
        await tell(line.decode(errors="replace").removesuffix("\n"))
    return b"".join(taken).decode(errors="replace")


async def end_group(process: Process) -> None:
    """Nothing to do after a normal end; otherwise SIGTERM to the command's group, then SIGKILL."""
    if process.returncode is not None:
        return
    for number, seconds in ((signal.SIGTERM, TERMINATION_SECONDS), (signal.SIGKILL, TERMINATION_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), seconds)
        except TimeoutError:
            continue
        return
