"""What the three stand-ins share as processes: serve gRPC on a free port, say which, and end promptly.

The engine starts a plugin with a pipe as stdin, in a process group of its own, and reads the port from the first
line of stdout. It ends one by the `Cancel` call and then SIGINT to the group, and waits five seconds for those
that linger; an engine that was killed says nothing, but its end of the stdin pipe closes.
"""

import asyncio
import os
import signal
import stat
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc.aio

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
"""A call's context; a string, as the class is generic for the type checker alone."""

MAX_MESSAGE_BYTES = 400 * 1024 * 1024
"""As the SDK's own channels (pulumi.runtime._grpc_settings); gRPC's default of 4 MB is too small for a state."""

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A port of our own, never shared: two servers on one port would take turns answering.
    ("grpc.so_reuseport", 0),
]


def channel(address: str) -> grpc.aio.Channel:
    """A channel to a server on this machine (the engine, a policy pack)."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)


def call_when_engine_is_gone(stop: Callable[[], None]) -> None:
    """Call `stop` once the other end of stdin closes, which is when the engine's process has ended.

    Started by hand (a terminal, /dev/null) there is no engine to outlive, and nothing is watched.
    """
    if not stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        return

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop()

    threading.Thread(target=watch, name="engine-watch", daemon=True).start()


async def listen(register: Callable[[grpc.aio.Server], None]) -> tuple[grpc.aio.Server, int]:
    """A server with what `register` adds to it, and its port."""
    server = grpc.aio.server(options=CHANNEL_OPTIONS)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def serve(
    register: Callable[[grpc.aio.Server], None],
    shut_down: Callable[[], Awaitable[None]],
) -> None:
    """Serve until SIGINT, SIGTERM or the engine's end; then run `shut_down` and return."""
    server, port = await listen(register)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)

    def stop() -> None:
        loop.call_soon_threadsafe(stopping.set)

    call_when_engine_is_gone(stop)
    print(port, flush=True)
    await stopping.wait()
    await shut_down()
    await server.stop(grace=None)


def run(main: Awaitable[None]) -> None:
    """Run a stand-in's main coroutine and leave without waiting for worker threads (a boto3 call under way)."""

    async def awaited() -> None:
        await main

    asyncio.run(awaited())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
