"""Deployments that know nothing of us: compose files, service names and user ids of their own, with data in place.

Built from the lab's image of the three servers, with accounts and entrypoints as other images have them. Each has a
project of its own, and `close()` leaves nothing of it.
"""

import hashlib
import json
import socket
import ssl
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.host.issuing import server_settings, settings_text
from tests.host.real.real_host import PASSWORD, RealHost, docker, must
from tests.waiting import wait_until

SERVICES = {"postgres": "db", "pgbouncer": "pooler", "redis": "cache"}

# Accounts of other images, and data directories that are theirs; an ini in the image; an entrypoint that writes one.
DOCKERFILE = """\
FROM {base}
USER 0
RUN groupadd -g 999 data && useradd -u 999 -g 999 -M data && useradd -u 26 -g 999 -M other \\
 && useradd -u 1000 -M pooler && install -d -o 1000 /etc/pooler \\
 && chmod 0755 /var/lib/postgresql && chown -R {owner}:999 /var/lib/postgresql/data && chown -R 999:999 /data \\
 && printf '{ini}' >/etc/pooler/baked.ini \\
 && printf '{entrypoint}' >/usr/local/bin/pooler-entrypoint && chmod 0755 /usr/local/bin/pooler-entrypoint
"""
INI = """\
; written by hand, 2019
[databases]
* = host=db port=5432

[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = scram-sha-256
auth_file = /etc/pooler/users.txt
pool_mode = {pool_mode}
unix_socket_dir = {socket}
stats_users = metrics
max_client_conn = 200
default_pool_size = 5
"""
# As the images do that make an ini from their environment, at every start.
ENTRYPOINT = """\
#!/bin/sh
set -eu
umask 077
printf "%s" "$INI" >/etc/pooler/pgbouncer.ini
printf "%s" "$USERS" >/etc/pooler/users.txt
exec "$@"
"""
# Sends to both servers until its standard input ends, then prints what happened. Nobody retries; a client whose
# connection broke opens another one for its next request, and that time is the request's.
LOAD = r"""
import json, sys, threading, time
import psycopg, redis
from redis.backoff import NoBackoff
from redis.retry import Retry
password, ended, lock = sys.argv[1], threading.Event(), threading.Lock()
told = {"postgres": [], "redis": []}
def ask_postgres(kept):
    kept = kept or psycopg.connect(host="pooler", port=6432, user="voiceai", dbname="voiceai", password=password,
        sslmode="prefer", connect_timeout=20, autocommit=True, prepare_threshold=None)
    with kept.transaction():
        kept.execute("SELECT 1")
        kept.execute("SELECT pg_sleep(0.002)")
    return kept
def ask_redis(kept):
    kept = kept or redis.Redis(host="cache", password=password, single_connection_client=True,
        retry=Retry(NoBackoff(), 0), socket_timeout=20, socket_connect_timeout=20)
    value = str(time.monotonic_ns())
    kept.set("load", value)
    assert kept.get("load")
    return kept
def client(kind, ask, keep):
    kept = None
    while not ended.wait(0.02):
        start, error = time.monotonic(), ""
        try:
            kept = ask(kept)
        except Exception as raised:
            kept, error = None, f"{type(raised).__name__}: {raised}"
        with lock:
            told[kind].append((time.monotonic() - start, error))
        if kept is not None and not keep:
            kept.close()
            kept = None
for kind, ask, keep in [*[("postgres", ask_postgres, True)] * 4, ("postgres", ask_postgres, False),
        *[("redis", ask_redis, True)] * 2, ("redis", ask_redis, False)]:
    threading.Thread(target=client, args=(kind, ask, keep)).start()
print("begun", flush=True)
sys.stdin.read()
ended.set()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
print(json.dumps({kind: {"requests": len(all_), "failed": [e for _, e in all_ if e][:5],
    "failures": sum(1 for _, e in all_ if e), "worst_ms": round(max(ms for ms, _ in all_) * 1000)}
    for kind, all_ in told.items()}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the clients of one server saw."""

    requests: int
    failures: int
    failed: list[str]
    worst_ms: int


def image(base: str, owner: int) -> str:
    """The tag of the lab's image with such accounts; built where it is missing."""
    texts = {"ini": INI.format(pool_mode="transaction", socket=""), "entrypoint": ENTRYPOINT}
    printed = {name: text.replace("%", "%%").replace("\n", "\\n") for name, text in texts.items()}
    text = DOCKERFILE.format(base=base, owner=owner, **printed)
    tag = f"{base.split(':')[0]}-foreign:{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if docker("image", "inspect", tag).returncode != 0:
        must("build", "--quiet", "--tag", tag, "-", stdin=text)
    return tag


@dataclass(slots=True, kw_only=True)
class ForeignHost(RealHost):
    """A host whose servers are the site's own. `files` are what its directory has before anybody knows of us."""

    files: dict[str, str] = field(default_factory=dict)
    compose_files: str = "compose.yaml"
    deployment: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it publishes its ports: an address of this machine's own loopback that nobody else has."""
        one, two, three = hashlib.sha256(self.name.encode()).digest()[:3]
        return f"127.{1 + one % 250}.{two}.{1 + three % 250}"

    @property
    def site(self) -> Path:
        return self.root / "site"

    def open(self) -> None:
        """The deployment with data in it, and a host that has the bundle."""
        self.site.mkdir()
        for name, text in self.files.items():
            (self.site / name).write_text(text.replace("@NAME@", self.name).replace("@ADDRESS@", self.address))
        RealHost.open(self)
        # PgBouncer asks again only after 15 s.
        for services, ready in ((["db", "cache"], self.database_is_there), (["pooler"], lambda: True)):
            done = self.compose("up", "--detach", *services)
            assert done.returncode == 0, done.stderr
            wait_until("Postgres answers", ready)
        must("network", "connect", f"{self.name}_default", f"{self.name}-host")
        wait_until("Postgres answers through PgBouncer", lambda: self.query("SELECT 1") == "1")
        assert self.query("CREATE TABLE kept AS SELECT 42 AS n; SELECT n FROM kept") == "42"
        assert self.redis("set", "kept", "42") == "OK"

    def database_is_there(self) -> bool:
        done = docker("exec", self.container("postgres"), "pg_isready", "--quiet", "--host", "127.0.0.1")
        return done.returncode == 0

    def start_host(self, name: str, options: list[str]) -> None:
        """The site's directory is on the host by the path that the engine knows."""
        # Not by super(): a dataclass with slots is another class than the one that super() was compiled in.
        RealHost.start_host(self, name, [*options, "--volume", f"{self.site}:{self.site}"])

    def close(self) -> None:
        RealHost.close(self)
        docker("network", "rm", f"{self.name}_default")

    def container(self, role: str) -> str:
        return f"{self.name}-{SERVICES[role]}-1"

    def compose(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """The site's own `docker compose`, typed in its directory."""
        return self.run("sh", "-c", f'cd {self.site} && docker compose "$@"', "compose", *argv)

    def update(
        self, values: Mapping[str, str], *, environment: Mapping[str, str] | None = None, on: str = "host"
    ) -> subprocess.CompletedProcess[str]:
        self.revision += 1
        return self.updated("--settings", values, environment)

    def plan(self, values: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return self.updated("--plan", values, None)

    def updated(
        self, mode: str, values: Mapping[str, str], environment: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[str]:
        """`update.sh` with the deployment's settings."""
        declared = {
            "DEPLOYMENT_DIRECTORY": str(self.site),
            "DEPLOYMENT_FILES": self.compose_files,
            **{f"SERVICE_{role.upper()}": service for role, service in SERVICES.items()},
            **self.deployment,
        }
        settings = server_settings(**{**declared, **values, "REVISION": str(self.revision)})
        return self.run(
            *("timeout", "--kill-after=15", "100", "/opt/voiceai/update.sh", mode, "-"),
            stdin=settings_text(settings),
            environment=environment,
        )

    def query(self, sql: str, conninfo: str = "host=127.0.0.1 port=6432 user=voiceai dbname=voiceai") -> str:
        """The answer's last line, from PgBouncer's container; libpq's error where it fails."""
        name = self.container("pgbouncer")
        done = docker("exec", "--env", f"PGPASSWORD={PASSWORD}", name, "psql", "-XAtqw", "-c", sql, conninfo)
        return (done.stdout or done.stderr).strip().split("\n")[-1]

    def redis(self, *words: str) -> str:
        done = docker("exec", "--env", f"REDISCLI_AUTH={PASSWORD}", self.container("redis"), "redis-cli", *words)
        return (done.stdout + done.stderr).strip()

    def console(self, command: str) -> str:
        """PgBouncer's, by its socket."""
        return self.query(command, "host=/tmp port=6432 user=pgbouncer dbname=pgbouncer")

    def ini(self) -> str:
        """PgBouncer's, where the site put it."""
        return must("exec", self.container("pgbouncer"), "cat", "/etc/pooler/pgbouncer.ini")

    def redis_answers_where_published(self) -> bool:
        """Whether Redis answers in TLS on a published port of this machine."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if (self.root / "tls/ca.crt").exists():
            context.load_verify_locations(self.root / "tls/ca.crt")
        try:
            with (
                socket.create_connection((self.address, 6380), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname="db.lab.internal") as wrapped,
            ):
                wrapped.sendall(b"PING\r\n")
                return b"NOAUTH" in wrapped.recv(100)
        except OSError:
            return False

    @contextmanager
    def open_transaction(self) -> Iterator[None]:
        """A transaction through PgBouncer that stays open."""
        argv = ["docker", "exec", "-i", "--env", f"PGPASSWORD={PASSWORD}", self.container("pgbouncer"), "psql", "-XAtq"]
        conninfo = "host=127.0.0.1 port=6432 user=voiceai dbname=voiceai"
        holder = subprocess.Popen([*argv, conninfo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdin
        assert holder.stdout
        try:
            holder.stdin.write("BEGIN;\nSELECT 'begun';\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "begun\n"
            yield
        finally:
            holder.communicate("ROLLBACK;\n", timeout=20)

    def redis_tls(self, *words: str) -> str:
        """By Redis's TLS port, from its own container."""
        return self.redis("-p", "6380", "--tls", "--cacert", "/tmp/redis-tls/ca.crt", *words)

    def data_is_there(self) -> bool:
        return self.query("SELECT n FROM kept") == "42" and self.redis("get", "kept") == "42"

    def site_bytes(self) -> dict[str, bytes]:
        """Every file of the site's directory."""
        return {path.name: path.read_bytes() for path in sorted(self.site.iterdir())}

    def differences(self) -> dict[str, list[str]]:
        """What each container has beside its image and its mounts, without what servers write of themselves."""
        own = ("/run", "/tmp/.s.", "/etc/pooler", "/etc/passwd")
        found = {}
        for role in SERVICES:
            lines = [line.split(" ", 1) for line in docker("diff", self.container(role)).stdout.splitlines()]
            # A directory counts as changed when something in it came and went.
            found[role] = sorted(path for kind, path in lines if kind != "C" and not path.startswith(own))
        return found

    @contextmanager
    def load(self) -> Iterator[dict[str, Told]]:
        """Clients of both servers; what they saw is there when the block has ended."""
        told: dict[str, Told] = {}
        argv = ["docker", "exec", "-i", f"{self.name}-host", "python3", "-c", LOAD, PASSWORD]
        sender = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert sender.stdout
        try:
            assert sender.stdout.readline() == "begun\n"
            yield told
        finally:
            out, _ = sender.communicate(timeout=60)
        told.update({kind: Told(**seen) for kind, seen in json.loads(out).items()})
        print({kind: (seen.requests, seen.failures, seen.worst_ms) for kind, seen in told.items()})


def quoted(text: str) -> str:
    """A value of a .env that compose takes as it is; also good as a YAML string."""
    return "'" + text.replace("'", "''") + "'"


def compose_yaml(tag: str, services: Mapping[str, str], *, owner: int = 999) -> str:
    """The site's compose file: what all of ours have, and more YAML for each service."""
    common = {
        "db": f"""\
user: "{owner}:999"
stop_signal: SIGINT
environment: {{POSTGRES_USER: voiceai, POSTGRES_DB: voiceai, POSTGRES_PASSWORD: "${{DB_PASSWORD}}"}}
""",
        "pooler": 'user: "1000:1000"\n',
        "cache": 'user: "999:999"\n',
    }
    text = "# Our own, since 2019.\nname: @NAME@\nservices:\n"
    for name, yaml in services.items():
        text += f"  {name}:\n" + textwrap.indent(f"image: {tag}\n{common[name]}{yaml}", "    ")
    return text + "volumes: {db-data: , cache-data: }\n"


def users_file() -> str:
    doubled = PASSWORD.replace('"', '""')
    return f'"voiceai" "{doubled}"\n'
