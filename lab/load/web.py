"""A user of an app: a request on a connection of its own, to the proxy before the app's replicas."""

import asyncio


class WebClient:
    """One user. What the app says beside 200 is a failure."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)

    async def work(self) -> None:
        """One unit of the app's work."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(f"GET /work HTTP/1.1\r\nHost: {self._host}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
        status, body = parse(answer)
        if status != 200:
            raise RuntimeError(f"{status}: {body.strip()}")

    async def close(self) -> None:
        """Nothing stays open."""


def parse(answer: bytes) -> tuple[int, str]:
    """The status and the body of a whole HTTP answer. Raises RuntimeError when it is none, or was cut off."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split()
    if not separator or len(words) < 2 or not words[1].isdigit():
        raise RuntimeError(f"no answer, the connection was closed after {len(answer)} bytes")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if len(body) < int(headers.get("content-length", 0)):
        raise RuntimeError(f"the answer was cut off after {len(body)} of {headers['content-length']} bytes")
    return int(words[1]), body.decode(errors="replace")
