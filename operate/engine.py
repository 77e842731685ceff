"""Pulumi, by its Automation API: preview and `up` of one stack, in the project's folder.

The program, its config file and the backend are what the operator's own `pulumi` would find there: nothing is passed
but the stack's name and the policy pack, so variables such as PULUMI_BACKEND_URL and PULUMI_OPTION_CONFIG_FILE (a
config file kept elsewhere: the API can't name one for all its commands, the CLI takes every flag from such a variable)
mean the same here. Differences to the API's defaults, each on purpose:

* the stack is named in every command and never *selected*: that would change what the operator's own shell works on;
* secrets are never asked for: `up`'s summary is read without them, its outputs not at all, a state by
  `operate.stacks`;
* the CLI runs in a session of its own. Ctrl-C reaches it once, as SIGINT, and we wait until it has ended in order; a
  second one is passed on too, and ends it at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi.automation import (
    CommandError,
    CommandResult,
    ConcurrentUpdateError,
    EngineEvent,
    LocalWorkspace,
    OpType,
    OutputMap,
    PulumiCommand,
    Stack,
)
from pulumi.automation.errors import create_command_error

from operate.errors import BadInput
from operate.stopped import Busy, Failed

Line = Callable[[str, str], None]
"""Takes a host's name, "" for none, and a line about it."""

_COLOUR = re.compile(r"<\{%[^%]*%\}>")
_HOST = re.compile(r".*::hosts\.(?P<host>[^.:]+)$")
_STILL = (OpType.SAME, OpType.READ, OpType.REFRESH)


@dataclass(slots=True, kw_only=True)
class Engine:
    """One stack. `tell` is given progress as it comes."""

    stack: str
    folder: Path
    tell: Line = field(default=lambda _host, _line: None)
    _stack: Stack | None = None

    @property
    def policy_packs(self) -> list[str]:
        """The project's own policy pack, where it has one."""
        pack = self.folder / "policy"
        return [str(pack)] if (pack / "PulumiPolicy.yaml").is_file() else []

    def preview(self) -> list[str]:
        """The names of what an `up` would change; raises `Failed` with the reasons where it is refused."""
        seen = _Seen(self.tell, quiet=True)
        with self._errors(seen):
            self._opened().preview(policy_packs=self.policy_packs, color="never", on_event=seen.event)
        return seen.changed

    def up(self) -> list[str]:
        """Apply; the names of what changed. Raises `Failed`, `Busy`, or KeyboardInterrupt once the CLI has ended."""
        seen = _Seen(self.tell)
        with self._errors(seen):
            self._opened().up(policy_packs=self.policy_packs, color="never", on_event=seen.event, show_secrets=False)
        return seen.changed

    def _opened(self) -> Stack:
        if self._stack is None:
            self._stack = Stack.select(self.stack, _workspace(self.folder))
        return self._stack

    @contextlib.contextmanager
    def _errors(self, seen: _Seen) -> Any:
        with warnings.catch_warnings():
            # Of an event that this SDK's version can't read.
            warnings.simplefilter("ignore")
            try:
                yield
            except ConcurrentUpdateError:
                raise Busy("another `pulumi up` of this stack is under way and holds its lock") from None
            except CommandError as error:
                raise Failed("\n".join(seen.reasons) or _last_words(str(error))) from None


def selected_stack(folder: Path) -> str:
    """The stack that `pulumi` works on in the folder; raises `BadInput` where none is selected."""
    try:
        selected = _workspace(folder).stack()
    except CommandError as error:
        raise BadInput(
            f"the stacks of {folder} can't be listed: {_last_words(str(error))}; name one by --stack"
        ) from None
    if selected is None:
        raise BadInput("no stack is selected here: name one by --stack, or `pulumi stack select`")
    return selected.name


def _workspace(folder: Path) -> LocalWorkspace:
    try:
        return _Workspace(work_dir=str(folder), pulumi_command=_Command())
    except (OSError, subprocess.SubprocessError):
        raise BadInput("pulumi is not on PATH, or does not say its version: install it, or `make setup`") from None


class _Workspace(LocalWorkspace):
    """One whose stacks are named, never selected, and whose outputs stay unread."""

    def select_stack(self, stack_name: str) -> None:
        """Nothing: see above."""

    def stack_outputs(self, stack_name: str) -> OutputMap:  # noqa: ARG002 - the SDK's signature
        """None: after each `up` the API would ask for them with their secrets, and nobody here wants them."""
        return {}


class _Command(PulumiCommand):
    """The CLI in a session of its own."""

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """As the SDK's own; raises KeyboardInterrupt, where one came, once the CLI has ended."""
        said: tuple[list[str], list[str]] = ([], [])
        process = subprocess.Popen(
            [self.command, "--non-interactive", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"},
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        readers = [
            threading.Thread(target=_read, args=(stream, heard, lines), daemon=True)
            for stream, heard, lines in zip((process.stdout, process.stderr), (on_output, on_error), said, strict=True)
        ]
        for reader in readers:
            reader.start()
        interrupted = False
        while process.poll() is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                interrupted = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
        for reader in readers:
            reader.join(5)
        if interrupted:
            raise KeyboardInterrupt
        result = CommandResult(stdout="\n".join(said[0]), stderr="\n".join(said[1]), code=process.returncode)
        if process.returncode != 0:
            raise create_command_error(result)
        return result


def _read(stream: Any, heard: Callable[[str], Any] | None, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip())
        if heard:
            heard(line.rstrip())


class _Seen:
    """What the engine's events say: what changes, and why it is refused."""

    def __init__(self, tell: Line, *, quiet: bool = False) -> None:
        self.changed: list[str] = []
        self.reasons: list[str] = []
        self._tell = tell
        self._quiet = quiet

    def event(self, event: EngineEvent) -> None:
        """Takes one."""
        if event.policy_event and event.policy_event.enforcement_level != "advisory":
            self._why(event.policy_event.message)
        if event.diagnostic_event:
            self._said(event.diagnostic_event)
        if event.resource_pre_event:
            self._steps(event.resource_pre_event.metadata)

    def _steps(self, step: Any) -> None:
        if step.op not in _STILL and not step.type.startswith("pulumi:"):
            self.changed.append(step.urn.rpartition("::")[2])

    def _said(self, one: Any) -> None:
        text = _COLOUR.sub("", one.message).rstrip()
        match = _HOST.match(one.urn or "")
        host = match["host"] if match else ""
        if one.severity == "error":
            self._why(f"{host}: {text}" if host else text)
        elif not self._quiet and host and not one.ephemeral:
            for line in text.splitlines():
                self._tell(host, line)

    def _why(self, text: str) -> None:
        for line in _COLOUR.sub("", text).splitlines():
            # A failed command repeats its own text before what it said; what counts stood in the host's lines.
            if line.strip() and line not in self.reasons:
                self.reasons.append(line.rstrip())


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line] or lines[-3:]
    return "\n".join(line.strip() for line in told) or "pulumi ended without a word"
