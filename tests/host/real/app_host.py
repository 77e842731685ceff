"""A host of an app beside the database host of `RealHost`: the lab's app in two replicas behind its proxy, or telpro.

As in the lab, the app's containers share the network namespace of their host's container.
"""

import base64
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from components.hosts import pack_bundle
from lab import apps, images
from tests.host.issuing import Generation, app_settings, settings_text
from tests.host.real.real_host import PASSWORD, RealHost, docker, must
from tests.waiting import wait_until

# Requests through the proxy, one after another, until standard input ends; then what became of them.
LOAD = """
import json, select, sys, time, urllib.request
done, failed = 0, []
while not select.select([sys.stdin], [], [], 0.01)[0]:
    try:
        with urllib.request.urlopen("http://127.0.0.1:8000/work", timeout=20) as answer:
            done += answer.status == 200
    except Exception as error:
        failed.append(f"{error!r} {getattr(error, 'read', bytes)()!r}")
    if done == 1:
        print("flows", flush=True)
print(json.dumps({"done": done, "failed": failed}))
"""


@dataclass(slots=True, kw_only=True)
class AppHost:
    """One app's host: directories on the machine, mounted into its container."""

    database: RealHost
    app: str
    generation: Generation
    image: str = ""
    redis_password: str = PASSWORD
    folder: str = ""
    revision: int = 0

    @property
    def root(self) -> Path:
        return self.database.root / (self.folder or self.app)

    @property
    def name(self) -> str:
        return f"{self.database.name}-{self.app}"

    @property
    def env_file(self) -> Path:
        return self.root / "app" / apps.ENV_FILE

    def open(self) -> None:
        """The host with the bundle on it, its app running in plaintext."""
        for part in ("etc", "tls", "state", "app"):
            (self.root / part).mkdir(parents=True)
        (self.root / "etc/environment").write_text((self.database.root / "etc/environment").read_text())
        (self.root / "app/compose.yaml").write_text(apps.compose_file(self.app))
        dot_env = {
            "COMPOSE_PROJECT_NAME": self.name,
            "HOST_CONTAINER": self.name,
            "INTERNAL_TLS_DIR": str(self.root / "tls"),
            "APP_IMAGE": images.app_image(),
            "TELPRO_IMAGE": self.image or images.kamailio_image(),
        }
        (self.root / "app/.env").write_text("".join(f"{key}={value}\n" for key, value in dot_env.items()))
        self.write_env()
        mounts = {
            "etc": "/etc/voiceai",
            "tls": "/etc/ssl/internal",
            "state": "/var/lib/voiceai",
            "app": f"/opt/{self.app}",
        }
        volumes = [part for here, there in mounts.items() for part in ("--volume", f"{self.root}/{here}:{there}")]
        must(
            *(
                "run",
                "--detach",
                "--name",
                self.name,
                "--network",
                self.database.name,
                "--init",
                "--cap-add",
                "NET_ADMIN",
            ),
            *("--volume", "/var/run/docker.sock:/var/run/docker.sock", *volumes),
            *("--entrypoint", "sleep", self.database.host_image, "infinity"),
        )
        digest, packed = pack_bundle(self.database.bundle)
        installer = (self.database.bundle / "install.sh").read_text()
        done = docker("exec", "-i", self.name, "sh", "-c", installer, "install", digest, stdin=_base64(packed))
        assert done.returncode == 0, done.stderr
        self.deploy()

    def close(self) -> None:
        """Before another host of the same app is opened; otherwise all goes with the database host."""
        docker("rm", "--force", *self.containers(), self.name)

    def write_env(self, *, host: str = "voiceai-pgbouncer", query: str = "", more: str = "") -> None:
        """The env file in plaintext, as a site or its deploy writes it."""
        url = f"postgresql://voiceai:{quote(PASSWORD, safe='')}@{host}:5432/voiceai{query}"
        database = f"DATABASE_URL={url}\nDATABASE_SSL_MODE=disable # see the wiki\n"
        # No line end at the end.
        redis = f"REDIS_HOST=voiceai-redis\nREDIS_PORT=6379\nREDIS_PASSWORD='{self.redis_password}'\n"
        redis += "REDIS_TLS_ENABLED=false"
        self.env_file.write_text(f"# {self.app}\n{database if self.app != 'telpro' else ''}{more}{redis}")
        self.env_file.chmod(0o640)

    def deploy(self) -> None:
        """What a deploy does: every replica as the files say, and healthy."""
        done = self.run("sh", "-c", f"cd /opt/{self.app} && docker compose --progress quiet up --detach")
        assert done.returncode == 0, done.stderr
        checks = [8001, 8002, 8000] if self.app != "telpro" else []
        for port in checks:
            wait_until(f"{port} is healthy", lambda at=port: self.healthy(at), seconds=40)  # type: ignore[misc]

    def healthy(self, port: int) -> bool:
        return self.run("curl", "-fsS", "--max-time", "2", f"http://127.0.0.1:{port}/health").returncode == 0

    def run(
        self, *argv: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        variables = [part for key, value in (environment or {}).items() for part in ("--env", f"{key}={value}")]
        return docker("exec", "-i", *variables, self.name, *argv, stdin=stdin)

    def text(self, **changed: str) -> str:
        """This host's settings, with changes of its app's keys."""
        own = {key: value for key, value in app_settings().items() if not key.startswith("apps.")}
        uses = "redis" if self.app == "telpro" else "postgres,redis"
        values = {
            "USES": uses,
            "KIND": "kamailio" if self.app == "telpro" else "service",
            "DIRECTORY": f"/opt/{self.app}",
            "ENV_FILE": f"/opt/{self.app}/{apps.ENV_FILE}",
            "SERVICES": ",".join(apps.services(self.app)),
            "HEALTH_COMMAND": apps.health_command(self.app),
            "DRAIN_SECONDS": "20",
            "ACCEPT_RESTART": "false",
            "REDIS_TLS_ENABLED": "false",
            "REDIS_TLS_CA_FILE": apps.CA_FILE,
        }
        if self.app != "telpro":
            values |= {"DATABASE_SSL_MODE": "disable", "DATABASE_SSL_CA_FILE": apps.CA_FILE, "DATABASE_USER": "voiceai"}
            values |= {"APPLICATION_NAME": self.app, "REDIS_CLIENT_NAME": self.app}
        values |= changed
        revision = {"REVISION": str(self.revision), "APPS": self.app}
        return settings_text(
            {**own, **self.generation.settings(), **revision, **{f"apps.{self.app}.{k}": v for k, v in values.items()}}
        )

    def update(self, fault: str = "", **changed: str) -> subprocess.CompletedProcess[str]:
        """`update.sh --settings -` with the next revision; the waits are short, as nothing here is slow."""
        self.revision += 1
        return self.run(
            *("timeout", "--kill-after=15", "100", "/opt/voiceai/update.sh", "--settings", "-"),
            stdin=self.text(**changed),
            environment={"WAIT_SECONDS": "20", "VOICEAI_FAULT": fault},
        )

    def applied(self, **changed: str) -> subprocess.CompletedProcess[str]:
        done = self.update(**changed)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == str(self.revision)
        return done

    def containers(self) -> list[str]:
        return [f"{self.name}-{service}-1" for service in apps.services(self.app)]

    def started(self) -> list[str]:
        """Each replica's container: equal means that none was made anew."""
        return must("inspect", "--format", "{{.Id}}", *self.containers()).split()

    def modes(self, key: str) -> list[str]:
        """What the replicas have for a variable."""
        found = [must("exec", name, "printenv", key) for name in self.containers()]
        return [value.strip() for value in found]

    def sessions(self, *, redis: bool = False) -> list[bool]:
        """Of each of the app's sessions that a server shows, whether it is in TLS."""
        address = must("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.name)
        if redis:
            script = "REDISCLI_AUTH=$(cat /usr/local/etc/redis/password) exec redis-cli -p 6379 CLIENT LIST"
            rows = must("exec", self.database.container("redis"), "sh", "-c", script).splitlines()
            return [":6380 " in row for row in rows if f" addr={address}:" in row]
        rows = must(
            *(
                "exec",
                self.database.container("pgbouncer"),
                "psql",
                "-XAtq",
                "-F",
                "|",
                "-h",
                "/tmp",
                "-U",
                "pgbouncer",
            ),
            *("pgbouncer", "-c", "SHOW CLIENTS"),
        ).splitlines()
        return ["TLSv1" in row for row in rows if f"|{address}|" in row and f"|{self.app}|" in row]

    def load(self) -> "Load":
        return Load(self.name)

    def logs(self) -> str:
        return "\n".join(
            f"--- {name}\n{done.stdout}{done.stderr}"
            for name, done in ((name, docker("logs", "--tail", "10", name)) for name in self.containers())
        )


class Load:
    """Requests through the proxy while the context lasts; then `done` and `failed`."""

    def __init__(self, host: str) -> None:
        self._command = ["docker", "exec", "-i", host, "python3", "-u", "-c", LOAD]
        self.done = 0
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "flows\n"
        return self

    def __exit__(self, *_exception: object) -> None:
        said, _ = self.process.communicate("end", timeout=60)
        counted = json.loads(said.splitlines()[-1])
        self.done, self.failed = counted["done"], counted["failed"]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
