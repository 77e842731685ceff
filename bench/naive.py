"""The same rollout as one would do it by hand: the variable written where the server reads it, the container recreated.

No gate, no PAUSE, no rolling: `docker compose up --force-recreate` of a server; of all of an app's replicas on all of
its hosts at once. The order of the moves is ours, so that every state is a usable one and only the manner differs.
What it costs says whether the load would have noticed anything: a rollout that harms nobody this way proves nothing.

The certificates have to be there: it begins where CERTIFICATE_GENERATION is 1.
"""

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from lab.figures import Move, Round, Stepped
from lab.load.profiles import chosen
from lab.measure import Request, Window
from lab.traffic import Traffic
from lab.walk import SETTLE_SECONDS, Around, Walker, follow_after, follow_before, plainly
from rollout.declared import App, Declared
from rollout.steps import GENERATION, PREPARED
from toolchain.progress import Progress, part

# An outage that is longer ends here: the next move begins in it.
BOUND_SECONDS = 40.0
_CALM_SECONDS = 3.0
_ASK_SECONDS = 1.0
_COMMAND_SECONDS = 120.0
# Who sends less than this many requests a second is not waited for: a backup comes once in fifteen.
_OFTEN = 0.5
_OURS = (PREPARED, GENERATION)
"""Moves that only bring the files: there is no other way to compare them with."""

_CERTIFICATE = "/etc/ssl/internal/server.crt"
_KEY = "/etc/ssl/internal/server.key"
_CA = "/etc/ssl/internal/ca.crt"

_SERVICE = {
    "POSTGRES_TLS_ENABLED": "voiceai-postgres",
    "POSTGRES_FORCE_SSL": "voiceai-postgres",
    "PGBOUNCER_SERVER_TLS_SSLMODE": "voiceai-pgbouncer",
    "PGBOUNCER_CLIENT_TLS_SSLMODE": "voiceai-pgbouncer",
    "REDIS_TLS_ENABLED": "voiceai-redis",
    "REDIS_FORCE_TLS": "voiceai-redis",
}
_FILE = {
    "voiceai-postgres": "/etc/voiceai/postgres/conf.d/tls.conf",
    "voiceai-pgbouncer": "/etc/voiceai/pgbouncer/tls.ini",
    "voiceai-redis": "/etc/voiceai/redis/tls.conf",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run on a host, as root, by sh."""

    host: str
    script: str
    stdin: str = ""
    recreated: int = 1
    """How many containers it recreates."""


def commands(move: Move, declared: Declared) -> list[Command]:
    """What somebody would do for this move, all of it at once. `declared` is what is to be so after it."""
    if move.key.startswith("apps."):
        _, app, variable = move.key.split(".")
        script = app_script(declared.apps[app], variable, move.value)
        recreated = len(declared.apps[app].services)
        return [Command(host=host, script=script, recreated=recreated) for host in declared.running(app)]
    return [_server(move, declared.settings)]


def _server(move: Move, settings: Mapping[str, str]) -> Command:
    service = _SERVICE[move.key]
    recreate = f"cd /opt/voiceai && docker compose --progress quiet up --detach --force-recreate --no-deps {service}"
    if move.key == "POSTGRES_FORCE_SSL":
        change = "s/^host[[:space:]]/hostssl /" if move.value == "on" else "s/^hostssl[[:space:]]/host /"
        edit = f"docker compose exec -T {service} sed -i '{change}' /var/lib/postgresql/data/pg_hba.conf"
        return Command(host="database", script=f"cd /opt/voiceai && {edit} && {recreate}")
    file = _FILE[service]
    return Command(host="database", script=f"cat >{file} && {recreate}", stdin=CONTENT[service](settings))


def app_script(app: App, variable: str, value: str) -> str:
    """One variable's line in the app's env file, then all of its replicas anew."""
    change = f"sed -i 's/^{variable}=.*/{variable}={value}/' {shlex.quote(app.env_file)}"
    recreate = f"docker compose --progress quiet up --detach --force-recreate --no-deps {shlex.join(app.services)}"
    return f"{change} && cd {shlex.quote(app.directory)} && {recreate}"


def postgres_file(settings: Mapping[str, str]) -> str:
    """What Postgres reads when it starts."""
    if settings["POSTGRES_TLS_ENABLED"] == "off":
        return "ssl = off\n"
    return f"ssl = on\nssl_cert_file = '{_CERTIFICATE}'\nssl_key_file = '{_KEY}'\n"


def pgbouncer_file(settings: Mapping[str, str]) -> str:
    """What PgBouncer reads when it starts, with its own server_login_retry."""
    server, client = settings["PGBOUNCER_SERVER_TLS_SSLMODE"], settings["PGBOUNCER_CLIENT_TLS_SSLMODE"]
    lines = ["server_login_retry = 15", f"server_tls_sslmode = {server}", f"client_tls_sslmode = {client}"]
    if server.startswith("verify-"):
        lines.append(f"server_tls_ca_file = {_CA}")
    if client != "disable":
        lines += [f"client_tls_cert_file = {_CERTIFICATE}", f"client_tls_key_file = {_KEY}"]
    return "".join(f"{line}\n" for line in lines)


def redis_file(settings: Mapping[str, str]) -> str:
    """What Redis reads when it starts."""
    if settings["REDIS_TLS_ENABLED"] == "false":
        return "# No TLS listener.\n"
    files = f"tls-cert-file {_CERTIFICATE}\ntls-key-file {_KEY}\ntls-ca-cert-file {_CA}\n"
    closed = "port 0\n" if settings["REDIS_FORCE_TLS"] == "true" else ""
    return f"{files}tls-auth-clients no\ntls-port 6380\n{closed}"


CONTENT: dict[str, Callable[[Mapping[str, str]], str]] = {
    "voiceai-postgres": postgres_file,
    "voiceai-pgbouncer": pgbouncer_file,
    "voiceai-redis": redis_file,
}


def flows_again(requests: Iterable[Request], kinds: Iterable[str], *, since: float, now: float) -> bool:
    """Whether the outage is over: of every kind a request that began after `since` succeeded, and for some seconds
    none has failed."""
    answered = set()
    for request in requests:
        if request.ok and request.start > since:
            answered.add(request.kind)
        elif not request.ok and request.end > now - _CALM_SECONDS:
            return False
    return now - since >= _CALM_SECONDS and answered >= set(kinds)


class Naive:
    """Walks the rollout this way on a walker's lab. The stack itself stays where it is and learns nothing of it."""

    def __init__(self, walker: Walker, *, progress: Progress = part) -> None:
        self._walker = walker
        self._progress = progress
        self._declared = walker.declared()

    def moves(self) -> list[Move]:
        """Ours, but for those that only bring the files."""
        return [move for move in [*self._walker.forward(), *self._walker.back()] if move.key not in _OURS]

    def round(self, traffic: Traffic, around: Around = plainly) -> Round:
        """All the way forward and back, and the quiet stretch."""
        steps = tuple(around(move, partial(self.step, move, traffic)) for move in self.moves())
        return Round(steps=steps, quiet=self._walker.quiet(steps, traffic))

    def step(self, move: Move, traffic: Traffic) -> Stepped:
        """One move. Its window ends when the load flows again, or at the bound."""
        self._declared = replace(self._declared, settings={**self._declared.settings, move.key: move.value})
        with self._progress(f"the naive way, {move.direction}: {move.title}"):
            follow_before(move, traffic)
            start = time.time()
            recreated = self._run(commands(move, self._declared))
            seconds = time.time() - start
            self._wait_for_flow(traffic, since=time.time())
            window = Window(start=start, end=time.time() + SETTLE_SECONDS)
            time.sleep(SETTLE_SECONDS)
            follow_after(move, traffic)
        return Stepped(move=move, changed=recreated, seconds=seconds, window=window)

    def _run(self, wanted: Sequence[Command]) -> int:
        """Run them all at once; how many containers were recreated."""
        with ThreadPoolExecutor(len(wanted)) as pool:
            for done in [pool.submit(self._one, command) for command in wanted]:
                done.result()
        return sum(command.recreated for command in wanted)

    def _one(self, command: Command) -> None:
        stdin = command.stdin.encode() if command.stdin else None
        self._walker.lab.run(command.host, "sh", "-c", command.script, stdin=stdin, timeout=_COMMAND_SECONDS)

    def _wait_for_flow(self, traffic: Traffic, *, since: float) -> None:
        often = {one.kind for one in chosen(traffic.kinds) if one.clients * one.rate >= _OFTEN}
        while (now := time.time()) < since + BOUND_SECONDS:
            if flows_again(traffic.recent(now - since + _CALM_SECONDS), often, since=since, now=now):
                return
            time.sleep(_ASK_SECONDS)
