"""The load as a program: see the package."""

import argparse
import asyncio
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from . import sip
from .control import Current
from .profiles import BACKUP, EXPORTER, KINDS, SESSION, SIP_REDIS, Profile, chosen
from .recording import Clock, Recorder, write_status
from .sending import Operation, pace, send, watch_lag
from .servers import Backup, Client, PostgresClient, RedisClient, Servers, make_table
from .web import WebClient

_FLUSH = 0.25


class Load:
    """The clients of one run."""

    def __init__(self, targets: dict[str, Any], passwords: Path, current: Current) -> None:
        self._targets = targets
        self.current = current
        self.servers = Servers(
            database=targets["database"],
            postgres_password=_password(passwords / "postgres_password"),
            redis_password=_password(passwords / "redis_password"),
        )
        self._transactions: sip.Transactions | None = None
        self._clients: list[Client] = []

    async def prepare(self, kinds: list[str], clients: int) -> None:
        """What the clients find when they come."""
        if any(kind.startswith("postgres-") for kind in kinds):
            mode = self.current.control.sslmode
            await make_table(self.servers.conninfo("prepare", mode, direct=False), clients)
        if any(kind.startswith("sip-") for kind in kinds):
            self._transactions = await sip.transactions(self._targets["sip"])

    def operation(self, kind: str, number: int, of_kind: int) -> tuple[Operation, Operation]:
        """What a new client of that kind does for a request, and how it gives its connection up."""
        family = kind.partition("-")[0]
        if family == "http":
            addresses = self._targets["http"][kind]
            user = WebClient(addresses[of_kind % len(addresses)])
            return user.work, user.close
        if family == "sip":
            assert self._transactions is not None
            agent = sip.SipClient(self._transactions)
            return agent.through_redis if kind == SIP_REDIS else agent.options, agent.close
        operation, client = self._of_server(kind, number)
        self._clients.append(client)
        return operation, client.close

    def _of_server(self, kind: str, number: int) -> tuple[Operation, Backup | PostgresClient | RedisClient]:
        keep = not kind.endswith("-connect") and kind != EXPORTER
        if kind.startswith("redis-"):
            cache = RedisClient(self.servers, self.current, number, keep=keep)
            return cache.set_and_get, cache
        if kind == BACKUP:
            backup = Backup(self.servers, self.current, number)
            return backup.dump, backup
        conninfo = partial(self.servers.conninfo, kind, direct=kind == EXPORTER)
        client = PostgresClient(conninfo, self.current, number, keep=keep, session=kind == SESSION)
        special = {"postgres-long": client.long, SESSION: client.query, EXPORTER: client.scrape}
        return special.get(kind, client.short), client

    async def close(self) -> None:
        """Give every connection up."""
        await asyncio.gather(*(client.close() for client in self._clients), return_exceptions=True)
        if self._transactions is not None:
            self._transactions.close()

    def followed(self) -> bool:
        """Whether every client connects as the control says by now."""
        return all(client.follows(self.current.control) for client in self._clients)


async def watch(
    directory: Path, seconds: float, load: Load, recorder: Recorder, started: float, ended: asyncio.Event
) -> None:
    """Set `ended` when the stop file appears or the time is over; meanwhile write the batches and heed the control."""
    deadline = time.monotonic() + seconds
    told = -1
    while not (directory / "stop").exists() and time.monotonic() < deadline:
        load.current.refresh()
        if told != load.current.control.number and load.followed():
            told = load.current.control.number
            write_status(directory, {"state": "running", "started": started, "control": told})
        await asyncio.sleep(_FLUSH)
        recorder.flush()
    ended.set()


async def run(arguments: argparse.Namespace) -> None:
    """Send until the time is over or the stop file appears."""
    directory: Path = arguments.directory
    clock = Clock()
    current = Current(directory / "control.json")
    current.refresh()
    load = Load(json.loads(arguments.targets.read_text()), arguments.passwords, current)
    profiles = chosen(arguments.kinds.split(","))
    numbered = list(enumerate((profile, n) for profile in profiles for n in range(profile.clients)))
    await load.prepare([profile.kind for profile in profiles], len(numbered))
    ended = asyncio.Event()
    with (directory / "requests.jsonl").open("w") as requests, (directory / "lag.jsonl").open("w") as lags:
        recorder = Recorder(requests, lags)
        started = clock.now()
        async with asyncio.TaskGroup() as group:
            for number, (profile, of_kind) in numbered:
                send_one = _sender(load, profile, number, of_kind, recorder, clock)
                # Clients start apart from each other, as clients do.
                group.create_task(pace(profile, number * 0.037, send_one, ended))
            group.create_task(watch(directory, arguments.seconds, load, recorder, started, ended))
            group.create_task(watch_lag(recorder, clock, ended))
        recorder.flush()
        await load.close()
    write_status(directory, {"state": "finished", "started": started, "ended": clock.now()})


def _sender(load: Load, profile: Profile, number: int, of_kind: int, recorder: Recorder, clock: Clock) -> Operation:
    operation, give_up = load.operation(profile.kind, number, of_kind)
    return partial(send, profile, operation, give_up, recorder, clock)


def _password(path: Path) -> str:
    """The password in a file of one line."""
    return path.read_text().strip()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="load", description="The lab's load.")
    parser.add_argument("--directory", type=Path, required=True, help="where results are written and commands read")
    parser.add_argument("--passwords", type=Path, required=True, help="with postgres_password and redis_password")
    parser.add_argument("--targets", type=Path, required=True, help="JSON: database, http (kind → host:port), sip")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which kinds of clients there are (default: all)")
    parser.add_argument("--seconds", type=float, required=True, help="end after this long, if nobody asks before")
    arguments = parser.parse_args()
    os.umask(0o022)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
