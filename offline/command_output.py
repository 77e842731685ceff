"""What remote and local commands have in common: logging, outputs at preview, the text of a failure."""

import json
from collections.abc import Awaitable, Callable
from typing import Final

from offline.provider import Call, Diff, Failure, top_level
from offline.wire import UNKNOWN, Properties, Property, Secret, differences, has_unknown, plain

LOGGING: Final = ("stdout", "stderr", "stdoutAndStderr", "none")

OUTPUTS: Final = ("stdout", "stderr")


def quoted(text: str) -> str:
    """As Go's %q prints it, near enough for every command that is not binary."""
    return json.dumps(text, ensure_ascii=False)


def failure(what: str, command: str, output: str) -> str:
    """The original's text: what happened, the command, and all that it printed, whatever `logging` says."""
    return f"{what}: running {quoted(command)}:\n{output}"


def output(text: str) -> str:
    """One trailing newline is cut off, no more."""
    return text.removesuffix("\n")


async def discard(line: str) -> None:
    """What `logging` leaves out is still read, so that the command never waits for us."""


def loggers(
    call: Call, logging: str | None
) -> tuple[Callable[[str], Awaitable[None]], Callable[[str], Awaitable[None]]]:
    """Where stdout's and stderr's lines go. No `logging` means both."""
    return (
        call.log if logging in (None, "stdout", "stdoutAndStderr") else discard,
        call.log if logging in (None, "stderr", "stdoutAndStderr") else discard,
    )


def check_logging(inputs: Properties, what: str) -> list[Failure]:
    logging = inputs.get("logging")
    if logging is None or has_unknown(logging) or logging in LOGGING:
        return []
    return [Failure(f"{what}: logging must be one of {', '.join(LOGGING)}")]


def previous_outputs(inputs: Properties, state: Properties) -> dict[str, str]:
    """PULUMI_COMMAND_STDOUT and _STDERR, unless there were none or the input says no."""
    if inputs.get("addPreviousOutputInEnv") is False:
        return {}
    return {f"PULUMI_COMMAND_{name.upper()}": value for name in OUTPUTS if (value := plain(state.get(name)))}


def diff(state: Properties, news: Properties) -> Diff:
    """Any changed input (connection and logging included) is an update; a changed trigger replaces."""
    old_inputs = {key: value for key, value in state.items() if key not in OUTPUTS}
    changes = differences(old_inputs, news)
    return Diff(changes=changes, replaces=frozenset(path for path in changes if top_level(path) == "triggers"))


def preview_outputs(state: Properties | None, news: Properties) -> Properties:
    """stdout and stderr at preview: unknown on create; on update the last ones, unless an input changed.

    An input that is new (absent from the old state) does not count as changed; that is the original's rule
    (pulumi-go-provider infer/resource.go, markComputed).
    """
    if state is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    changed = any(has_unknown(news.get(key)) for key in news) or any(
        differences(state[key], news.get(key)) for key in state if key not in OUTPUTS
    )
    return {name: UNKNOWN if changed else state.get(name, "") for name in OUTPUTS}


def secret(value: Property) -> Property:
    """The value as a secret; wrapped once."""
    return value if isinstance(value, Secret) else Secret(value)
