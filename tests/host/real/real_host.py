"""A database host for the tests: a container like the lab's hosts, with real servers beside it.

Everything has a name of its own run, and `close()` leaves nothing.
"""

from __future__ import annotations

import base64
import contextlib
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from components.hosts import pack_bundle
from tests.host.issuing import server_settings, settings_text

ROLES = ("postgres", "pgbouncer", "redis")
PASSWORD = 'p"a:s\\s $word'


def docker(*argv: str, stdin: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *argv], input=stdin, capture_output=True, text=True, timeout=timeout, check=False)


def must(*argv: str, stdin: str | None = None) -> str:
    done = docker(*argv, stdin=stdin)
    assert done.returncode == 0, f"docker {argv[0]}: {done.stderr}"
    return done.stdout.strip()


@dataclass(slots=True, kw_only=True)
class RealHost:
    """Directories, network and containers of one host. Directories are mounted into the host's container and,
    by their paths on the machine, into the servers'."""

    root: Path
    bundle: Path
    host_image: str
    servers_image: str
    moto_port: int
    name: str = field(default_factory=lambda: f"hosttest-{uuid.uuid4().hex[:8]}")
    network: str = ""
    """Another host's, to be beside it; its own where empty."""
    omits: frozenset[str] = frozenset()
    """Keys that the settings of a host with its roles do not have."""
    revision: int = 0

    def open(self) -> None:
        """Network, directories as a site prepares them, and the host's container with the bundle on it."""
        for part in ("etc", "tls", "state"):
            (self.root / part).mkdir(parents=True)
        if not self.network:
            self.network = must("network", "create", self.name) and self.name
        gateway = must("network", "inspect", self.network, "--format", "{{(index .IPAM.Config 0).Gateway}}")
        images = "".join(f"{role.upper()}_IMAGE={self.servers_image}\n" for role in ROLES)
        self._site_file(
            "compose.env",
            f"COMPOSE_PROJECT_NAME={self.name}\nCONTAINER_PREFIX={self.name}-\n{images}"
            "COMPOSE_FILE=compose.yaml:/etc/voiceai/compose.site.yaml\n"
            f"VOICEAI_CONFIG_DIR={self.root}/etc\nINTERNAL_TLS_DIR={self.root}/tls\n",
        )
        ports = "".join(f"  voiceai-{role}: {{ports: !reset []}}\n" for role in ROLES)
        self._site_file(
            "compose.site.yaml",
            f"services:\n{ports}networks:\n  default: {{name: {self.network}, external: true}}\n",
        )
        self._site_file(
            "environment",
            f"AWS_ENDPOINT_URL=http://{gateway}:{self.moto_port}\nAWS_ACCESS_KEY_ID=test\nAWS_SECRET_ACCESS_KEY=test\n",
        )
        self._site_file("postgres_password", PASSWORD + "\n")
        self._site_file("redis_password", PASSWORD + "\n")
        self.start_host("host", ["--volume", f"{self.root}/state:/var/lib/voiceai"])

    def start_host(self, name: str, options: list[str]) -> None:
        """A host's container over the same site and servers; `options` say where its state is."""
        must(
            *("run", "--detach", "--name", f"{self.name}-{name}", "--network", self.network, "--init"),
            *("--volume", "/var/run/docker.sock:/var/run/docker.sock"),
            *("--volume", f"{self.root}/etc:/etc/voiceai", "--volume", f"{self.root}/tls:/etc/ssl/internal"),
            *options,
            *("--entrypoint", "sleep", self.host_image, "infinity"),
        )
        digest, packed = pack_bundle(self.bundle)
        installer = (self.bundle / "install.sh").read_text()
        done = self.run("sh", "-c", installer, "install", digest, stdin=base64.b64encode(packed).decode(), on=name)
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """Remove every container, volume and network of this host."""
        found = docker("ps", "--all", "--quiet", "--filter", f"name=^{self.name}").stdout.split()
        if found:
            docker("rm", "--force", "--volumes", *found)
        volumes = docker("volume", "ls", "--quiet", "--filter", f"name=^{self.name}").stdout.split()
        if volumes:
            docker("volume", "rm", "--force", *volumes)
        if self.network == self.name:
            docker("network", "rm", self.name)

    def _site_file(self, name: str, text: str) -> None:
        path = self.root / "etc" / name
        path.write_text(text)
        path.chmod(0o600)

    def container(self, role: str) -> str:
        return f"{self.name}-voiceai-{role}"

    def run(
        self, *argv: str, stdin: str = "", environment: Mapping[str, str] | None = None, on: str = "host"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, as the program does over SSH."""
        variables = [part for key, value in (environment or {}).items() for part in ("--env", f"{key}={value}")]
        return docker("exec", "-i", *variables, f"{self.name}-{on}", *argv, stdin=stdin)

    def update(
        self, values: Mapping[str, str], *, environment: Mapping[str, str] | None = None, on: str = "host"
    ) -> subprocess.CompletedProcess[str]:
        """`update.sh --settings -` with the next revision, or that of `values`."""
        self.revision += 1
        known = server_settings(**{"REVISION": str(self.revision), **values})
        text = settings_text({key: value for key, value in known.items() if key not in self.omits})
        return self.run(
            *("timeout", "--kill-after=15", "100", "/opt/voiceai/update.sh", "--settings", "-"),
            stdin=text,
            environment=environment,
            on=on,
        )

    def applied(self, values: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """`update`, which must end with the receipt."""
        done = self.update(values)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == str(self.revision)
        return done

    def record(self) -> dict[str, str]:
        """The last verified settings."""
        text = (self.root / "state/settings.verified").read_text()
        return dict(line.split("=", 1) for line in text.splitlines())

    def client(self, name: str) -> str:
        """A machine of its own on the network, with clients of every server. Returns its address."""
        container = f"{self.name}-{name}"
        must(
            *("run", "--detach", "--name", container, "--network", self.network, "--network-alias", name, "--init"),
            *("--volume", f"{self.root}/tls:/etc/ssl/internal:ro", "--env", f"PGPASSWORD={PASSWORD}"),
            *("--env", f"REDISCLI_AUTH={PASSWORD}", "--entrypoint", "sleep", self.servers_image, "infinity"),
        )
        return must("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)

    def connected(self, name: str, conninfo: str) -> Session:
        """A session of that client that stays connected and says nothing."""
        return Session(f"{self.name}-{name}", ("psql", "-XAtqw", conninfo), b"SELECT 'ready';\n")

    def redis_connected(self, name: str, *options: str) -> Session:
        """The same to Redis."""
        return Session(f"{self.name}-{name}", ("redis-cli", "-h", "voiceai-redis", *options), b"ECHO ready\n")

    def from_client(self, name: str, *argv: str) -> str:
        """What a command prints there, its errors included."""
        done = docker("exec", f"{self.name}-{name}", *argv)
        return (done.stdout + done.stderr).strip()

    def psql(self, role: str, conninfo: str, sql: str) -> str:
        """A query from a server's container; libpq's error where it fails."""
        done = docker("exec", self.container(role), "psql", "-XAtw", "-c", sql, conninfo)
        return (done.stdout or done.stderr).strip()

    def dial(self, *conninfos: str) -> list[str]:
        """For each conninfo, from PgBouncer's container: `t` or `f`, whether the session is encrypted where it
        reaches Postgres; otherwise libpq's error."""
        script = 'for c; do psql -XAtw -c "$SQL" "$c" 2>&1 | tr "\\n" " "; echo; done'
        name = self.container("pgbouncer")
        done = docker("exec", "--env", f"SQL={SSL}", name, "sh", "-c", script, "dial", *conninfos)
        return [line.strip() for line in done.stdout.splitlines()] or [done.stderr]

    def through(self) -> str:
        """`t` or `f`: whether PgBouncer's leg to Postgres is encrypted; otherwise the error."""
        return self.dial(THROUGH)[0]

    def started(self) -> dict[str, str]:
        """When each server's container was started: equal means that none was restarted or recreated."""
        names = [self.container(role) for role in ROLES]
        lines = must("inspect", "--format", "{{.Name}} {{.Id}} {{.State.StartedAt}}", *names).splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def logs(self) -> str:
        """The ends of the servers' logs and the journal."""
        parts = []
        for role in ROLES:
            done = docker("logs", "--tail", "25", self.container(role))
            parts.append(f"--- {role}\n{done.stdout}{done.stderr}")
        with contextlib.suppress(OSError):
            parts.append("--- journal\n" + (self.root / "state/journal").read_text())
        return "\n".join(parts)


class Session:
    """A client's session, as a context manager: connected at its beginning, gone at its end."""

    def __init__(self, container: str, argv: tuple[str, ...], greeting: bytes) -> None:
        self._command = ["docker", "exec", "-i", container, *argv]
        self._greeting = greeting

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self._greeting)
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert b"ready" in answer, answer
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


DIRECT = "host=voiceai-postgres user=voiceai sslmode="
THROUGH = "host=127.0.0.1 port=5432 user=voiceai dbname=voiceai"
SSL = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
