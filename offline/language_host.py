"""A stand-in for the vendor's `pulumi-language-python`: runs programs, policy packs and plugins in Python.

What a program sees is the SDK's own executor (`pulumi-language-python-exec`, looked up on PATH); this module is only
the gRPC server between it and the engine. What differs from the vendor's host is listed in README.md.
"""

# ruff: noqa: ARG002  the engine decides what its calls take

import asyncio
import json
import os
import platform
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from offline import VERSION_SUFFIX
from offline.children import Children
from offline.offers import Offers
from offline.policy_pack import PolicyPackProxy
from offline.serving import Context, run, serve

VERSION = f"3.250.0+{VERSION_SUFFIX}"
"""The version whose language host this stands in for, which is the engine's."""

EXECUTOR = "pulumi-language-python-exec"

ALREADY_REPORTED_EXIT_CODE = 32
"""The executor's word for: the user has seen what is wrong, say no more (the SDK's pulumi-language-python-exec)."""

KNOWN_OPTIONS = frozenset({"virtualenv", "toolchain"})


class HostError(Exception):
    """Something that the user can put right; the message is shown as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The Python that runs a program, and the environment that goes with it."""

    python: str
    env: Mapping[str, str]


def find_interpreter(options: Struct, root: str, *, project_file: str, env: Mapping[str, str]) -> Interpreter:
    """The interpreter that `project_file`'s runtime options name; without `virtualenv`, the first on PATH.

    Raises HostError for an option that this stand-in does not implement, or a virtualenv that is none.
    """
    unknown = sorted(set(options.fields) - KNOWN_OPTIONS)
    if unknown:
        raise HostError(
            f"{project_file}: runtime option {unknown[0]!r} is not implemented by the stand-in language host; "
            "remove it, or use the vendor's host"
        )
    toolchain = options.fields["toolchain"].string_value if "toolchain" in options.fields else "pip"
    if toolchain.lower() != "pip":
        raise HostError(
            f"{project_file}: toolchain {toolchain!r} is not implemented by the stand-in language host (only pip)"
        )
    virtualenv = options.fields["virtualenv"].string_value if "virtualenv" in options.fields else ""
    if not virtualenv:
        return Interpreter(python=python_on_path(env), env=env)
    directory = Path(root) / virtualenv
    python = directory / "bin" / "python"
    if not python.is_file():
        what = "doesn't appear to be a virtual environment" if directory.is_dir() else "doesn't exist"
        raise HostError(
            f"The 'virtualenv' option in {project_file} is set to {virtualenv!r}, but {str(directory)!r} {what}. "
            f"Create it and install the dependencies into it:\n"
            f"    1. python3 -m venv {directory}\n"
            f"    2. {python} -m pip install -r {Path(root) / 'requirements.txt'}"
        )
    activated = {name: value for name, value in env.items() if name != "PYTHONHOME"}
    activated["PATH"] = f"{directory / 'bin'}{os.pathsep}{env.get('PATH', '')}"
    activated["VIRTUAL_ENV"] = str(directory)
    return Interpreter(python=str(python), env=activated)


def python_on_path(env: Mapping[str, str]) -> str:
    wanted = [env["PULUMI_PYTHON_CMD"]] if env.get("PULUMI_PYTHON_CMD") else ["python3", "python"]
    for name in wanted:
        if found := shutil.which(name, path=env.get("PATH")):
            return found
    raise HostError(f"none of {', '.join(wanted)} is on PATH; install Python, or name a 'virtualenv' in Pulumi.yaml")


def find_executor() -> str:
    """The SDK's executor script. Its shebang is not used: the program's own interpreter runs it."""
    if found := shutil.which(EXECUTOR):
        return found
    raise HostError(
        f"{EXECUTOR} is not on PATH; it comes with the Pulumi SDK for Go "
        "(sdk/v3@VERSION/python/cmd in the Go module cache), and the set-up script puts it in .tools/engine"
    )


def program_arguments(request: language_pb2.RunRequest, engine_address: str) -> list[str]:
    """The executor's command line."""
    options = {
        "monitor": request.monitor_address,
        "engine": engine_address,
        "project": request.project,
        "root_directory": request.info.root_directory,
        "stack": request.stack,
        "organization": request.organization,
        "pwd": request.pwd,
        "dry_run": "true" if request.dryRun else "false",
        "parallel": str(request.parallel),
    }
    arguments = [word for name, value in options.items() if value for word in (f"--{name}", value)]
    program = Path(request.info.program_directory) / (request.info.entry_point or ".")
    return [*arguments, str(program), *request.args]


def program_environment(request: language_pb2.RunRequest) -> dict[str, str]:
    """Configuration goes by the environment, which is where the SDK reads it, and never by the command line."""
    return {
        "PULUMI_CONFIG": json.dumps(dict(request.config)),
        "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
    }


def plugin_arguments(request: language_pb2.RunPluginRequest) -> list[str]:
    """A policy pack takes its directory last, any other plugin first (as the vendor's host passes them)."""
    directory = request.info.program_directory
    if request.kind == "analyzer":
        return ["-u", "-m", "pulumi.policy", *request.args, directory]
    return ["-u", directory, *request.args]


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """One method a call of the engine; those not defined here answer UNIMPLEMENTED, which the engine tolerates."""

    def __init__(self, engine_address: str) -> None:
        self.engine_address = engine_address
        self.children = Children()
        self.offers = Offers(engine_address)

    async def end(self) -> None:
        """End what runs here, the providers that the engine took included."""
        await self.offers.end()
        await self.children.end_all()

    async def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: Context
    ) -> language_pb2.LanguageHandshakeResponse:
        return language_pb2.LanguageHandshakeResponse()

    async def GetPluginInfo(self, request: Empty, context: Context) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=VERSION)

    async def GetRequiredPackages(
        self, request: language_pb2.GetRequiredPackagesRequest, context: Context
    ) -> language_pb2.GetRequiredPackagesResponse:
        """None: the providers are on PATH, and the vendor's host takes half a second to list packages."""
        return language_pb2.GetRequiredPackagesResponse()

    async def GetRequiredPlugins(
        self, request: language_pb2.GetRequiredPluginsRequest, context: Context
    ) -> language_pb2.GetRequiredPluginsResponse:
        return language_pb2.GetRequiredPluginsResponse()

    async def About(self, request: language_pb2.AboutRequest, context: Context) -> language_pb2.AboutResponse:
        try:
            interpreter = find_interpreter(
                request.info.options, request.info.root_directory, project_file="Pulumi.yaml", env=os.environ
            )
        except HostError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return language_pb2.AboutResponse(
            executable=interpreter.python,
            version=platform.python_version(),
            metadata={"language host": f"stand-in {VERSION} (offline/README.md)"},
        )

    async def InstallDependencies(
        self, request: language_pb2.InstallDependenciesRequest, context: Context
    ) -> AsyncIterator[language_pb2.InstallDependenciesResponse]:
        await context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            "the stand-in language host installs no dependencies: run `make setup`, "
            "or `python -m pip install -r requirements.txt` in the program's virtual environment",
        )
        yield language_pb2.InstallDependenciesResponse()

    async def Run(self, request: language_pb2.RunRequest, context: Context) -> language_pb2.RunResponse:
        try:
            interpreter = find_interpreter(
                request.info.options, request.info.root_directory, project_file="Pulumi.yaml", env=os.environ
            )
            executor = find_executor()
        except HostError as error:
            return language_pb2.RunResponse(error=str(error))
        child = await self.children.start(
            [interpreter.python, "-u", executor, *program_arguments(request, self.engine_address)],
            cwd=request.pwd,
            env={**interpreter.env, **program_environment(request)},
        )
        self.offers.begin(python=interpreter.python, cwd=request.pwd, env=interpreter.env)
        code = await self.children.wait(child)
        if code == ALREADY_REPORTED_EXIT_CODE:
            return language_pb2.RunResponse(bail=True)
        if code < 0:
            return language_pb2.RunResponse(error=f"Program was ended by signal {-code}")
        return language_pb2.RunResponse(error=f"Program exited with non-zero exit code: {code}" if code else "")

    async def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: Context
    ) -> AsyncIterator[language_pb2.RunPluginResponse]:
        """Stream a plugin's output; the engine ends the plugin by closing the stream."""
        analyzer = request.kind == "analyzer"
        env = dict(entry.split("=", 1) for entry in request.env if "=" in entry)
        try:
            interpreter = find_interpreter(
                request.info.options,
                request.info.root_directory,
                project_file="PulumiPolicy.yaml" if analyzer else "PulumiPlugin.yaml",
                env=env,
            )
        except HostError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        proxy = PolicyPackProxy() if analyzer else None
        env = dict(interpreter.env)
        try:
            if proxy:
                yield language_pb2.RunPluginResponse(stdout=b"%d\n" % await proxy.start())
                env |= await proxy.environment()
            async for response in self._plugin_output(request, interpreter.python, env, proxy):
                yield response
        finally:
            if proxy:
                await proxy.stop()

    async def _plugin_output(
        self,
        request: language_pb2.RunPluginRequest,
        python: str,
        env: Mapping[str, str],
        proxy: PolicyPackProxy | None,
    ) -> AsyncIterator[language_pb2.RunPluginResponse]:
        child = await self.children.start(
            [python, *plugin_arguments(request)], cwd=request.pwd, env=env, stdout=PIPE, stderr=PIPE
        )
        assert child.stdout is not None
        assert child.stderr is not None
        output: asyncio.Queue[language_pb2.RunPluginResponse | None] = asyncio.Queue(maxsize=64)

        async def pump(stream: asyncio.StreamReader, *, is_stdout: bool) -> None:
            while block := await stream.read(65536):
                await output.put(
                    language_pb2.RunPluginResponse(stdout=block)
                    if is_stdout
                    else language_pb2.RunPluginResponse(stderr=block)
                )
            await output.put(None)

        if proxy:
            # A pack's first line is its port, which is ours to know and not the engine's. Without a port
            # (an exception at import) the pack ends, the stream ends, and the engine shows its stderr.
            first_line = await child.stdout.readline()
            if first_line.strip().isdigit():
                proxy.attach(int(first_line))
            else:
                proxy.fail()
                if first_line:
                    yield language_pb2.RunPluginResponse(stdout=first_line)
        pumps = [
            asyncio.create_task(pump(child.stdout, is_stdout=True)),
            asyncio.create_task(pump(child.stderr, is_stdout=False)),
        ]
        try:
            open_streams = len(pumps)
            while open_streams:
                response = await output.get()
                if response is None:
                    open_streams -= 1
                else:
                    yield response
            yield language_pb2.RunPluginResponse(exitcode=await child.wait())
        finally:
            for task in pumps:
                task.cancel()
            await self.children.end(child)

    async def Cancel(self, request: Empty, context: Context) -> Empty:
        """End what runs, before the engine sends SIGINT to the whole group and Python answers with tracebacks."""
        await self.children.end_all()
        return Empty()


def main(arguments: list[str]) -> None:
    """`arguments`: options that the engine may add (tracing, verbosity), then the engine's address."""
    if not arguments:
        raise SystemExit("pulumi-language-python (stand-in): started without an engine address; pulumi starts it")

    async def serve_host() -> None:
        host = LanguageHost(arguments[-1])
        await serve(
            lambda server: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server),
            host.end,
        )

    run(serve_host())


if __name__ == "__main__":
    main(sys.argv[1:])
