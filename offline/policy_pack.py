"""Between the engine and a policy pack written in Python, which expects its configuration in the environment.

The engine starts a pack (RunPlugin), shakes hands, and only then sends the stack's configuration by ConfigureStack.
`pulumi_policy` reads configuration from the environment at start-up. The vendor's host therefore answers the first
two calls itself, starts the pack afterwards and passes all further calls on (sdk/v3 policy_proxy.go); so do we.
"""

import asyncio
import json

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import analyzer_pb2

from offline.serving import CHANNEL_OPTIONS, Context, channel

SERVICE = "/pulumirpc.Analyzer/"
HANDSHAKE = SERVICE + "Handshake"
CONFIGURE_STACK = SERVICE + "ConfigureStack"
CANCEL = SERVICE + "Cancel"


def configuration_environment(request: analyzer_pb2.AnalyzerStackConfigureRequest) -> dict[str, str]:
    """The variables that `pulumi.policy` and `pulumi_policy` read (pulumi/policy/__main__.py)."""
    variables = {
        "PULUMI_ORGANIZATION": request.organization,
        "PULUMI_PROJECT": request.project,
        "PULUMI_STACK": request.stack,
        "PULUMI_DRY_RUN": "true" if request.dry_run else "false",
        "PULUMI_CONFIG": json.dumps(dict(request.config)),
        "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.config_secret_keys)),
    }
    return {name: value for name, value in variables.items() if value}


class PackError(Exception):
    """The pack can't answer; the message is the engine's error."""


class PolicyPackProxy(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stub alone
    """An `Analyzer` that answers Handshake and ConfigureStack and forwards the rest, as bytes, to the pack."""

    def __init__(self) -> None:
        self._server = grpc.aio.server(options=CHANNEL_OPTIONS)
        self._configured: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._pack: asyncio.Future[grpc.aio.Channel] = asyncio.get_running_loop().create_future()

    async def start(self) -> int:
        """The port to tell the engine."""
        self._server.add_generic_rpc_handlers((self,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    async def environment(self) -> dict[str, str]:
        """Waits for ConfigureStack; empty where the engine calls something else first (`policy publish`)."""
        return await self._configured

    def attach(self, port: int) -> None:
        """The pack listens: let the waiting calls through."""
        self._pack.set_result(channel(f"127.0.0.1:{port}"))

    def fail(self) -> None:
        """The pack ended before it listened: refuse the waiting calls."""
        self._pack.set_exception(PackError("the policy pack ended before it listened; what it printed is above"))

    async def stop(self) -> None:
        if self._pack.done() and not self._pack.exception():
            await self._pack.result().close(grace=None)
        else:
            self._pack.cancel()
        await self._server.stop(grace=None)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        method = handler_call_details.method
        if not method.startswith(SERVICE):
            return None

        async def answer(request: bytes, context: Context) -> bytes:
            return await self._answer(method, request, context)

        return grpc.unary_unary_rpc_method_handler(answer)

    async def _answer(self, method: str, request: bytes, context: Context) -> bytes:
        if method == HANDSHAKE:
            return analyzer_pb2.AnalyzerHandshakeResponse().SerializeToString()
        if method == CONFIGURE_STACK:
            stack = analyzer_pb2.AnalyzerStackConfigureRequest.FromString(request)
            if not self._configured.done():
                self._configured.set_result(configuration_environment(stack))
        elif method == CANCEL:
            # Nothing to forward: the engine closes the RunPlugin stream next, and that ends the pack.
            return Empty().SerializeToString()
        elif not self._configured.done():
            self._configured.set_result({})
        try:
            pack = await asyncio.shield(self._pack)
        except PackError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        call = pack.unary_unary(method, request_serializer=None, response_deserializer=None)
        try:
            return bytes(await call(request))
        except grpc.aio.AioRpcError as error:
            if method == CONFIGURE_STACK and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                # Packs on an older pulumi_policy; the environment has already told them everything.
                return analyzer_pb2.AnalyzerStackConfigureResponse().SerializeToString()
            await context.abort(error.code(), error.details() or "")
            raise AssertionError("abort raises") from None
