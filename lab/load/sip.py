"""SIP transactions over UDP, as RFC 3261 demands of a client: what gets no answer is sent again.

The unit of failure is the transaction. A server that restarts loses datagrams, not transactions: a request is repeated
after T1 (500 ms), then after twice that, and so on up to T2 (4 s), until it is answered or given up (17.1.2; the RFC
gives up after 64 × T1 = 32 s, `sending.BOUND_SECONDS` a little before). Like common user agents the socket is not
connected, so that an ICMP message from a host whose service restarts is not an answer.
"""

import asyncio
import re
import socket
import uuid
from typing import Any

T1, T2 = 0.5, 4.0
_BRANCH = re.compile(r"^Via:.*?;branch=([^;\s]+)", re.MULTILINE | re.IGNORECASE)
_STATUS = re.compile(r"SIP/2\.0 (\d{3}) (.*)")


class Transactions(asyncio.DatagramProtocol):
    """The client transactions of one socket, told apart by their branch."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._transport: Any = None
        self._own = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there: its address goes into each request."""
        self._transport = transport
        port = transport.get_extra_info("sockname")[1]
        self._own = f"{socket.gethostbyname(socket.gethostname())}:{port}"

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # noqa: ARG002 - asyncio's signature
        """A final answer ends its transaction; a provisional one, or a late copy, does not."""
        text = data.decode(errors="replace")
        branch, status = _BRANCH.search(text), _STATUS.match(text)
        waiting = self._waiting.get(branch.group(1)) if branch else None
        if waiting is not None and status is not None and int(status.group(1)) >= 200 and not waiting.done():
            waiting.set_result(text)

    async def request(self, method: str, header: str = "") -> str:
        """The final answer to a request; sent again until there is one. Raises RuntimeError when it is not 200."""
        branch = f"z9hG4bK{uuid.uuid4().hex}"
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[branch] = waiting
        try:
            message = self._message(method, branch, header)
            interval = T1
            while True:
                self._transport.sendto(message, self._server)
                done, _ = await asyncio.wait({waiting}, timeout=interval)
                if done:
                    break
                interval = min(2 * interval, T2)
        finally:
            del self._waiting[branch]
        answer: str = waiting.result()
        status = _STATUS.match(answer)
        if status is None or status.group(1) != "200":
            raise RuntimeError(answer.split("\r\n", 1)[0])
        return answer

    def close(self) -> None:
        """Close the socket. What still waits is not answered any more."""
        self._transport.close()

    def _message(self, method: str, branch: str, header: str) -> bytes:
        host, port = self._server
        lines = (
            f"{method} sip:telpro@{host}:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._own};rport;branch={branch}",
            "Max-Forwards: 70",
            f"From: <sip:load@{self._own}>;tag={branch[-8:]}",
            f"To: <sip:telpro@{host}:{port}>",
            f"Call-ID: {uuid.uuid4().hex}",
            f"CSeq: 1 {method}",
            *([header] if header else []),
            "Content-Length: 0",
        )
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


class SipClient:
    """One user agent."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def options(self) -> None:
        """OPTIONS, answered by the server itself."""
        await self._transactions.request("OPTIONS")

    async def through_redis(self) -> None:
        """MESSAGE with a value, which the server writes to Redis and reads back."""
        value = uuid.uuid4().hex
        answer = await self._transactions.request("MESSAGE", f"X-Value: {value}")
        if f"X-Value: {value}" not in answer:
            raise RuntimeError("the value that Redis gave back is another one")

    async def close(self) -> None:
        """Nothing stays open."""


async def transactions(address: str) -> Transactions:
    """The transactions with the server at `host:port`."""
    host, _, port = address.rpartition(":")
    server = (socket.gethostbyname(host), int(port))
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(lambda: Transactions(server), local_addr=("0.0.0.0", 0))  # noqa: S104
    return protocol
