"""`command:remote:Command`: one command on a host over SSH.

Semantics of pulumi-command 1.2.1, remote/commandController.go and commandOutputs.go: create at creation, update (or
create again) when any input changed, delete (if given) at removal. A failed create leaves no resource, a failed
update leaves the old state, so both run again at the next `up`.
"""

# ruff: noqa: ARG002  the methods of offline.provider.Resource, whether a type needs every argument or not

from offline.command_output import (
    check_logging,
    diff,
    failure,
    loggers,
    output,
    preview_outputs,
    previous_outputs,
    secret,
)
from offline.provider import Call, Diff, Failure, ProviderError, unique_id, unknown_inputs
from offline.ssh import KNOWN_SETTINGS, Result, connection_defaults, dial, parse_connection, run_command
from offline.wire import UNKNOWN, Properties, has_unknown, plain

WHAT = "command:remote:Command"

KNOWN = frozenset(
    {"connection", "create", "update", "delete", "stdin", "logging", "triggers", "addPreviousOutputInEnv"}
)


def check_connection(inputs: Properties, what: str) -> tuple[Properties, list[Failure]]:
    """The inputs with the connection's defaults, as a secret whole; failures name the key, never a value."""
    if "connection" not in inputs:
        return inputs, [Failure(f"{what}: missing required input 'connection'")]
    connection = plain(inputs["connection"])
    if connection is UNKNOWN:
        return inputs, []
    failures = [
        Failure(f"{what}: connection.{key} is not implemented by the stand-in provider (see offline/README.md)")
        for key in connection
        if key not in KNOWN_SETTINGS
    ]
    if "host" not in connection:
        failures.append(Failure(f"{what}: missing required input 'connection.host'"))
    for key in ("port", "dialErrorLimit", "perDialTimeout"):
        if not isinstance(connection.get(key, 0), int | float) and not has_unknown(connection[key]):
            failures.append(Failure(f"{what}: connection.{key} must be a number"))
    return {**inputs, "connection": secret({**connection_defaults(), **connection})}, failures


def exit_message(result: Result) -> str | None:
    """None where the command succeeded; otherwise as golang.org/x/crypto/ssh words it."""
    if result.status == 0:
        return None
    if result.signal is not None:
        return f"Process exited with status 128 from signal {result.signal}"
    if result.status is None:
        return "wait: remote command exited without exit status or exit signal"
    return f"Process exited with status {result.status}"


class RemoteCommand:
    """The resource type."""

    def check(self, call: Call, olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        failures = unknown_inputs(news, known=KNOWN | {"environment"}, what=WHAT)
        if news.get("environment"):
            # The original sets each variable and fails where sshd's AcceptEnv refuses it, before it runs anything.
            # The SSH library sends them without asking for an answer, so a command could run without them.
            failures.append(
                Failure(
                    f"{WHAT}: input 'environment' is not implemented by the stand-in provider: it can't tell whether"
                    " the host's AcceptEnv took it; pass values by 'stdin'"
                )
            )
        inputs, connection_failures = check_connection({"addPreviousOutputInEnv": True, **news}, WHAT)
        return inputs, [*failures, *connection_failures, *check_logging(news, WHAT)]

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
        """The original runs nothing at refresh: the state stands."""
        return state, inputs

    async def _run(self, call: Call, command: object, inputs: Properties, state: Properties) -> Properties:
        text = str(plain(command))
        on_stdout, on_stderr = loggers(call, plain(inputs.get("logging")))
        client = await dial(parse_connection(inputs["connection"]), call.log)
        async with client:
            result = await run_command(
                client,
                text,
                stdin=plain(inputs.get("stdin")) or "",
                env=previous_outputs(inputs, state),
                on_stdout=on_stdout,
                on_stderr=on_stderr,
            )
        if (message := exit_message(result)) is not None:
            raise ProviderError(failure(message, text, result.combined))
        return {"stdout": output(result.stdout), "stderr": output(result.stderr)}
