"""A SIP transaction over UDP is sent again until it is answered, and what it is answered with decides."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lab.load import sip
from lab.sip import completed_calls

Answers = Callable[[int, str], list[str]]
"""What a server answers to the n-th datagram that it gets."""


class Server(asyncio.DatagramProtocol):
    def __init__(self, answers: Answers) -> None:
        self.received: list[str] = []
        self._answers = answers
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append(data.decode())
        for answer in self._answers(len(self.received), data.decode()):
            self._transport.sendto(answer.encode(), addr)


def answer(request: str, status: str, *, branch: str = "", header: str = "") -> str:
    via = next(line for line in request.split("\r\n") if line.startswith("Via:"))
    if branch:
        via = f"{via.partition(';branch=')[0]};branch={branch}"
    return f"SIP/2.0 {status}\r\n{via}\r\n{header}Content-Length: 0\r\n\r\n"


def exchanged(answers: Answers, what: str = "options", seconds: float = 10) -> list[str]:
    """One transaction with such a server; the datagrams that it got."""

    async def scenario() -> list[str]:
        loop = asyncio.get_running_loop()
        transport, server = await loop.create_datagram_endpoint(lambda: Server(answers), local_addr=("127.0.0.1", 0))
        transactions = await sip.transactions(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}")
        try:
            async with asyncio.timeout(seconds):
                await getattr(sip.SipClient(transactions), what)()
        finally:
            transport.close()
            transactions.close()
        return server.received

    return asyncio.run(scenario())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip, "T1", 0.02)
    monkeypatch.setattr(sip, "T2", 0.04)


@pytest.mark.usefixtures("hasty")
def test_a_request_that_gets_lost_is_the_same_when_it_is_sent_again() -> None:
    received = exchanged(lambda number, text: [answer(text, "200 OK")] if number == 3 else [])
    assert len(received) == 3
    assert len(set(received)) == 1


@pytest.mark.usefixtures("hasty")
def test_a_provisional_answer_and_one_of_another_transaction_do_not_end_it() -> None:
    received = exchanged(
        lambda number, text: (
            [answer(text, "200 OK")]
            if number == 2
            else [answer(text, "100 Trying"), answer(text, "200 OK", branch="z9hG4bKother"), "no SIP"]
        )
    )
    assert len(received) == 2


def test_an_answer_that_is_not_200_is_a_failure_and_nothing_is_sent_again() -> None:
    seen: list[str] = []

    def answers(_number: int, text: str) -> list[str]:
        seen.append(text)
        return [answer(text, "500 Redis Does Not Answer")]

    with pytest.raises(RuntimeError, match=r"SIP/2\.0 500 Redis Does Not Answer"):
        exchanged(answers, "through_redis")
    assert len(seen) == 1


def test_a_value_that_redis_did_not_give_back_is_a_failure() -> None:
    def echo(value: str) -> Answers:
        return lambda _number, text: [
            answer(text, "200 OK", header=f"X-Value: {value or text.partition('X-Value: ')[2][:32]}\r\n")
        ]

    exchanged(echo(""), "through_redis")
    with pytest.raises(RuntimeError, match="another one"):
        exchanged(echo("stale"), "through_redis")


@pytest.mark.usefixtures("hasty")
def test_a_server_that_never_answers_is_waited_for_until_the_bound() -> None:
    seen: list[str] = []

    def silent(_number: int, text: str) -> list[str]:
        seen.append(text)
        return []

    with pytest.raises(TimeoutError):
        exchanged(silent, seconds=1)
    # At 0, 20, 60, 100, 140, … ms: doubled up to T2, then at T2. Doubled for ever it would be six.
    assert 10 <= len(seen) <= 26


def test_completed_calls_are_read_from_the_last_line_of_sipps_statistics() -> None:
    text = "StartTime;SuccessfulCall(P);SuccessfulCall(C);FailedCall(C)\nx;1;1;0\ny;8;9;1\n"
    assert completed_calls(text) == 9
    assert completed_calls("") == 0
