"""The gRPC half that both provider stand-ins share; what a resource type does lies in `Resource` classes."""

# ruff: noqa: ARG002  the engine decides what its calls take
import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from offline.serving import Context, channel, listen, run, serve
from offline.wire import Properties, decode_struct, encode_struct

T = TypeVar("T")

LOG_SECONDS: Final = 10.0
"""A log line that the engine does not take within this time is dropped: output must not hold up a command."""

KINDS = {
    "add": (provider_pb2.PropertyDiff.ADD, provider_pb2.PropertyDiff.ADD_REPLACE),
    "delete": (provider_pb2.PropertyDiff.DELETE, provider_pb2.PropertyDiff.DELETE_REPLACE),
    "update": (provider_pb2.PropertyDiff.UPDATE, provider_pb2.PropertyDiff.UPDATE_REPLACE),
}


class ProviderError(Exception):
    """Shown to the user as it is. Must not carry a secret."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that is refused at preview. An empty property keeps the engine from printing the value."""

    reason: str
    property: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What changed: property paths -> 'add', 'delete' or 'update', and those of them that force a replacement."""

    changes: Mapping[str, str]
    replaces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One create, update or delete: which resource, and the way to tell the user something meanwhile."""

    urn: str
    name: str
    log: Callable[[str], Awaitable[None]]
    preview: bool = False


class Resource(Protocol):
    """A resource type. States and inputs are wire properties (offline.wire), secrets wrapped."""

    def check(self, call: Call, olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        """The inputs with their defaults."""

    def diff(self, state: Properties, news: Properties) -> Diff: ...

    async def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """The id and the state; at preview the id is ignored and what is not known yet is UNKNOWN."""

    async def update(self, call: Call, id: str, state: Properties, news: Properties) -> Properties: ...

    async def delete(self, call: Call, id: str, state: Properties) -> None: ...

    async def read(self, id: str, state: Properties, inputs: Properties) -> tuple[Properties, Properties] | None:
        """The state and inputs as they are; None where the resource is gone."""


def unique_id(prefix: str) -> str:
    """A name with eight random hex digits after it."""
    return f"{prefix}{secrets.token_hex(4)}"


def unknown_inputs(inputs: Properties, *, known: frozenset[str], what: str) -> list[Failure]:
    """One failure an input that the stand-in does not implement."""
    return [
        Failure(f"{what}: input {key!r} is not implemented by the stand-in provider (see offline/README.md)")
        for key in inputs
        if key not in known and not key.startswith("__")
    ]


@dataclass(slots=True)
class Operations:
    """The operations under way, so that Cancel can end them."""

    tasks: set["asyncio.Task[object]"] = field(default_factory=set)
    cancelled: bool = False

    async def run(self, operation: Awaitable[T]) -> T:
        if self.cancelled:
            raise ProviderError("cancelled before it began")
        task = asyncio.ensure_future(operation)
        self.tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self.cancelled:
                raise ProviderError("cancelled while it ran; what it had done by then stands") from None
            raise
        finally:
            self.tasks.discard(task)
            if not task.done():
                task.cancel()

    def cancel(self) -> None:
        self.cancelled = True
        for task in tuple(self.tasks):
            task.cancel()


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Calls of the engine -> `resources`. Calls that are not defined here answer UNIMPLEMENTED."""

    def __init__(self, *, package: str, version: str, engine_address: str) -> None:
        self.package = package
        self.version = version
        self.operations = Operations()
        self.resources: Mapping[str, Resource] = {}
        self._engine_channel = channel(engine_address)
        self._engine = engine_pb2_grpc.EngineStub(self._engine_channel)

    async def listen(self) -> tuple[grpc.aio.Server, int]:
        """A server of this provider, and its port."""
        return await listen(lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(self, server))

    # What a provider overrides.

    def check_config(self, config: Properties) -> list[Failure]:
        raise NotImplementedError

    def configure(self, config: Properties) -> None:
        raise NotImplementedError

    # Around the resources.

    async def log(self, urn: str, message: str) -> None:
        """A status line beside the resource (ephemeral: it is not part of the summary)."""
        request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message, urn=urn, ephemeral=True)
        # The stub is the SDK's, whose types know blocking channels only.
        sending: Awaitable[Empty] = self._engine.Log(request, timeout=LOG_SECONDS)  # type: ignore[assignment]
        with contextlib.suppress(grpc.aio.AioRpcError):
            await sending

    def call(self, urn: str, *, preview: bool = False) -> Call:
        async def log(message: str) -> None:
            await self.log(urn, message)

        return Call(urn=urn, name=urn.rsplit("::", 1)[-1], log=log, preview=preview)

    async def resource(self, urn: str, context: Context) -> Resource:
        kind = urn.split("::")[2].rsplit("$", 1)[-1]
        if kind in self.resources:
            return self.resources[kind]
        return await self.refuse(
            context,
            f"resource type {kind} is not implemented by the stand-in {self.package} provider (see offline/README.md)",
            grpc.StatusCode.UNIMPLEMENTED,
        )

    async def refuse(
        self,
        context: Context,
        message: str,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
    ) -> NoReturn:
        await context.abort(code, message)
        raise AssertionError("abort raises")

    async def attempt(self, context: Context, operation: Awaitable[T]) -> T:
        """Run an operation so that Cancel ends it; its ProviderError becomes the engine's error."""
        try:
            return await self.operations.run(operation)
        except ProviderError as error:
            await self.refuse(context, str(error))

    # The engine's calls.

    async def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: Context
    ) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    async def Attach(self, request: plugin_pb2.PluginAttach, context: Context) -> Empty:
        return Empty()

    async def GetPluginInfo(self, request: Empty, context: Context) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=self.version)

    async def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: Context
    ) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema="{}")

    async def CheckConfig(self, request: provider_pb2.CheckRequest, context: Context) -> provider_pb2.CheckResponse:
        failures = self.check_config(decode_struct(request.news))
        return provider_pb2.CheckResponse(inputs=request.news, failures=failure_messages(failures))

    async def DiffConfig(self, request: provider_pb2.DiffRequest, context: Context) -> provider_pb2.DiffResponse:
        """A changed configuration never replaces the provider, and with it every resource."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN)

    async def Configure(
        self, request: provider_pb2.ConfigureRequest, context: Context
    ) -> provider_pb2.ConfigureResponse:
        try:
            self.configure(decode_struct(request.args))
        except ProviderError as error:
            await self.refuse(context, str(error))
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    async def Invoke(self, request: provider_pb2.InvokeRequest, context: Context) -> provider_pb2.InvokeResponse:
        await self.refuse(
            context,
            f"function {request.tok} is not implemented by the stand-in {self.package}"
            " provider (see offline/README.md)",
            grpc.StatusCode.UNIMPLEMENTED,
        )

    async def Check(self, request: provider_pb2.CheckRequest, context: Context) -> provider_pb2.CheckResponse:
        resource = await self.resource(request.urn, context)
        inputs, failures = resource.check(
            self.call(request.urn), decode_struct(request.olds), decode_struct(request.news)
        )
        return provider_pb2.CheckResponse(inputs=encode_struct(inputs), failures=failure_messages(failures))

    async def Diff(self, request: provider_pb2.DiffRequest, context: Context) -> provider_pb2.DiffResponse:
        resource = await self.resource(request.urn, context)
        state, news = decode_struct(request.olds), decode_struct(request.news)
        for key in request.ignoreChanges:
            if key in state:
                news[key] = state[key]
        diff = resource.diff(state, news)
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if diff.changes else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=sorted({top_level(path) for path in diff.changes}),
            replaces=sorted({top_level(path) for path in diff.replaces}),
            hasDetailedDiff=True,
            detailedDiff={
                path: provider_pb2.PropertyDiff(kind=KINDS[kind][path in diff.replaces])
                for path, kind in diff.changes.items()
            },
        )

    async def Create(self, request: provider_pb2.CreateRequest, context: Context) -> provider_pb2.CreateResponse:
        resource = await self.resource(request.urn, context)
        call = self.call(request.urn, preview=request.preview)
        id, state = await self.attempt(context, resource.create(call, decode_struct(request.properties)))
        return provider_pb2.CreateResponse(id="" if request.preview else id, properties=encode_struct(state))

    async def Update(self, request: provider_pb2.UpdateRequest, context: Context) -> provider_pb2.UpdateResponse:
        resource = await self.resource(request.urn, context)
        state, news = decode_struct(request.olds), decode_struct(request.news)
        for key in request.ignoreChanges:
            if key in state:
                news[key] = state[key]
        call = self.call(request.urn, preview=request.preview)
        updated = await self.attempt(context, resource.update(call, request.id, state, news))
        return provider_pb2.UpdateResponse(properties=encode_struct(updated))

    async def Delete(self, request: provider_pb2.DeleteRequest, context: Context) -> Empty:
        resource = await self.resource(request.urn, context)
        state = decode_struct(request.properties)
        await self.attempt(context, resource.delete(self.call(request.urn), request.id, state))
        return Empty()

    async def Read(self, request: provider_pb2.ReadRequest, context: Context) -> provider_pb2.ReadResponse:
        resource = await self.resource(request.urn, context)
        state, inputs = decode_struct(request.properties), decode_struct(request.inputs)
        found = await self.attempt(context, resource.read(request.id, state, inputs))
        if found is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=request.id, properties=encode_struct(found[0]), inputs=encode_struct(found[1])
        )

    async def Cancel(self, request: Empty, context: Context) -> Empty:
        self.operations.cancel()
        return Empty()


def top_level(path: str) -> str:
    """The property that a path begins with: `triggers[0]` -> `triggers`."""
    return path.split(".")[0].split("[")[0]


def failure_messages(failures: Sequence[Failure]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=failure.property, reason=failure.reason) for failure in failures]


def main(make: Callable[[str], Provider], arguments: list[str]) -> None:
    """Serve one provider; the engine's address is its last argument."""
    if not arguments:
        raise SystemExit("a stand-in provider was started without an engine address; pulumi starts it")

    async def serve_provider() -> None:
        provider = make(arguments[-1])

        async def end() -> None:
            provider.operations.cancel()

        await serve(lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server), end)

    run(serve_provider())
