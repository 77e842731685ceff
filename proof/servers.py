"""Real servers for the matrix, set up as their own documentation has it, without a line of `host/`.

Postgres, PgBouncer and Redis in containers on a network of their own, and a client with psycopg and redis-py, as an app
has them. Nobody asks for a password: what is tried is the wire. `close()` leaves nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lab import containers, images
from lab.containers import DockerError, docker
from lab.errors import LabError
from lab.hosts import wait_until
from proof.certificates import Material
from proof.matrix import APP_REDIS, SSLMODE, Combination

OK = "ok"
# All three servers run as this user, so that one 0600 key serves them.
_OWNER = 70
_START_SECONDS = 30.0
# PgBouncer lets a client wait while it tries a server that it can't use again and again.
_CLIENT_SECONDS = 3

# One attempt, printed as `ok` or as the client's own error.
_CLIENT = """
import json, sys
asked = json.load(sys.stdin)
try:
    if asked["server"] == "redis":
        import redis
        tls = {"ssl": True, "ssl_ca_certs": "/proof/ca.crt", "ssl_check_hostname": True} if asked["tls"] else {}
        client = redis.Redis(host="voiceai-redis", port=6380 if asked["tls"] else 6379, socket_timeout=asked["seconds"],
                             socket_connect_timeout=asked["seconds"], **tls)
        assert client.ping() is True
    else:
        import psycopg, signal
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("no answer")))
        signal.alarm(asked["seconds"])
        host = "voiceai-" + asked["server"]
        address = f"host={host} user=voiceai dbname=voiceai sslmode={asked['sslmode']} sslrootcert=/proof/ca.crt"
        with psycopg.connect(address, autocommit=True) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    print("ok")
except BaseException as error:
    print(" ".join(f"{type(error).__name__}: {error}".split())[:300])
"""

_POSTGRES = """data_directory = '/var/lib/postgresql/data'
hba_file = '/proof/pg_hba.conf'
listen_addresses = '*'
ssl = {ssl}
ssl_cert_file = '/proof/server.crt'
ssl_key_file = '/proof/server.key'
"""
_HBA = "local all all trust\n{word} all all all trust\n"
_PGBOUNCER = """[databases]
* = host=voiceai-postgres port=5432 user=voiceai
[pgbouncer]
listen_addr = *
listen_port = 5432
auth_type = any
pool_mode = transaction
unix_socket_dir = /tmp
server_login_retry = 1
server_tls_sslmode = {server}
server_tls_ca_file = /proof/ca.crt
client_tls_sslmode = {client}
"""
_PGBOUNCER_PAIR = "client_tls_cert_file = /proof/server.crt\nclient_tls_key_file = /proof/server.key\n"
_REDIS = 'protected-mode no\nsave ""\nunixsocket /tmp/redis.sock\nport {port}\ntls-port {tls_port}\n'
_REDIS_PAIR = """tls-cert-file /proof/server.crt
tls-key-file /proof/server.key
tls-ca-cert-file /proof/ca.crt
tls-auth-clients no
"""


@dataclass(slots=True, kw_only=True)
class Servers:
    """Use as a context manager. What a server reads is remembered, so that only a changed one is started anew."""

    material: Material
    name: str = field(default_factory=lambda: f"tlsproof-{uuid.uuid4().hex[:8]}")
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tlsproof-")))
    _read: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        try:
            self.root.chmod(0o755)
            self._write("ca.crt", self.material.ca_pem)
            docker("network", "create", self.name)
            docker(
                *("run", "--detach", "--name", f"{self.name}-client", "--network", self.name, "--init"),
                *("--volume", f"{self.root}:/proof:ro", "--entrypoint", "sleep", images.app_image(), "infinity"),
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        names = [f"{self.name}-{one}" for one in ("client", "postgres", "pgbouncer", "redis")]
        containers.remove("container", names)
        containers.remove("network", [self.name])
        shutil.rmtree(self.root)

    def tried(self, combination: Combination) -> str:
        """`ok` where a client that connects anew is served, its own error otherwise."""
        settings, certificate = combination.settings, combination.certificate
        if combination.hop == "app → Redis":
            self._redis(settings, certificate)
            return self._ask(server="redis", tls=settings[APP_REDIS] == "true")
        self._postgres(settings, certificate)
        if combination.hop == "direct client → Postgres":
            return self._ask(server="postgres", sslmode="verify-full")
        self._pgbouncer(settings, certificate)
        return self._ask(server="pgbouncer", sslmode=settings[SSLMODE])

    def _postgres(self, settings: Mapping[str, str], certificate: str) -> None:
        word = "hostssl" if settings["POSTGRES_FORCE_SSL"] == "on" else "host"
        text, hba = _POSTGRES.format(ssl=settings["POSTGRES_TLS_ENABLED"]), _HBA.format(word=word)
        self._serve("postgres", certificate, {"postgresql.conf": text, "pg_hba.conf": hba}, 5432)

    def _pgbouncer(self, settings: Mapping[str, str], certificate: str) -> None:
        client = settings["PGBOUNCER_CLIENT_TLS_SSLMODE"]
        text = _PGBOUNCER.format(server=settings["PGBOUNCER_SERVER_TLS_SSLMODE"], client=client)
        text += _PGBOUNCER_PAIR if client != "disable" else ""
        self._serve("pgbouncer", certificate, {"pgbouncer.ini": text}, 5432)

    def _redis(self, settings: Mapping[str, str], certificate: str) -> None:
        tls = settings["REDIS_TLS_ENABLED"] == "true"
        port = 0 if settings["REDIS_FORCE_TLS"] == "true" else 6379
        text = _REDIS.format(port=port, tls_port=6380 if tls else 0) + (_REDIS_PAIR if tls else "")
        self._serve("redis", certificate, {"redis.conf": text}, 6379)

    def _serve(self, server: str, certificate: str, files: Mapping[str, str], port: int) -> None:
        """The server started with these files and this certificate; as it is where it has read them already."""
        reads = (certificate, *files.values())
        if self._read.get(server) == reads:
            return
        for name, text in files.items():
            self._write(name, text)
        for name in ("server.crt", "server.key"):
            (self.root / name).unlink(missing_ok=True)
        if certificate != "absent":
            pair = self.material.pairs[certificate]
            self._write("server.crt", pair.certificate_pem)
            self._write("server.key", pair.key_pem, mode=0o600)
        if server in self._read:
            docker("restart", "--time", "5", f"{self.name}-{server}")
        else:
            self._start(server)
        self._read[server] = reads
        self._wait_for(server, port)

    def _start(self, server: str) -> None:
        command = {
            "postgres": ("postgres", "-c", "config_file=/proof/postgresql.conf"),
            "pgbouncer": ("pgbouncer", "/proof/pgbouncer.ini"),
            "redis": ("redis-server", "/proof/redis.conf"),
        }[server]
        docker(
            *("run", "--detach", "--name", f"{self.name}-{server}", "--network", self.name),
            *("--network-alias", f"voiceai-{server}", "--volume", f"{self.root}:/proof:ro"),
            # Nobody is asked for it: pg_hba.conf trusts.
            *("--env", "POSTGRES_USER=voiceai", "--env", "POSTGRES_PASSWORD=nobody-asks", "--stop-signal", "SIGINT"),
            *(images.servers_image(), *command),
        )

    def _wait_for(self, server: str, port: int) -> None:
        """Until it answers on its socket, or has given up: a server that can't start is an answer too."""
        container = f"{self.name}-{server}"
        probe = {
            "postgres": "psql -XAtq -h /var/run/postgresql -U voiceai -c 'SELECT 1' voiceai",
            "pgbouncer": "test -S /tmp/.s.PGSQL.5432 && psql -XAtq -h /tmp -U pgbouncer -c 'SHOW VERSION' pgbouncer",
            "redis": "redis-cli -s /tmp/redis.sock PING | grep PONG",
        }[server]

        def settled() -> bool:
            if not containers.is_running(container):
                return True
            try:
                return bool(containers.exec_in(container, "sh", "-c", probe))
            except DockerError:
                return False

        try:
            wait_until(settled, what=f"{server} on {port} to answer or to end", seconds=_START_SECONDS)
        except LabError as error:
            raise LabError(f"{error}; its log:\n{docker('logs', '--tail', '20', container)}") from None

    def _ask(self, **asked: Any) -> str:
        text = json.dumps({**asked, "seconds": _CLIENT_SECONDS}).encode()
        return containers.exec_in(f"{self.name}-client", "python3", "-c", _CLIENT, stdin=text)

    def _write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.root / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, _OWNER, _OWNER)
