"""Fixtures of the host tests: a Secrets Manager (moto's server) and a host that is only directories."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from mypy_boto3_secretsmanager import SecretsManagerClient

from tests.host.issuing import Generation, authority, server

BUNDLE = Path(__file__).resolve().parents[2] / "host"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """A host's three roots in a temporary directory, and running its scripts on them."""

    etc: Path
    tls: Path
    state: Path
    environment: dict[str, str]
    bundle: Path = BUNDLE

    def run(
        self, script: str, *argv: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run init.sh or update.sh here. Never raises for a status: the tests look at it."""
        return subprocess.run(
            [str(self.bundle / script), *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**self.environment, **(environment or {})},
        )

    def init(self, text: str) -> subprocess.CompletedProcess[str]:
        """init.sh with these settings."""
        return self.run("init.sh", "--settings", str(self.settings(text)))

    def settings(self, text: str) -> Path:
        """A settings file to hand to `--settings`."""
        path = self.etc.parent / "asked"
        path.write_text(text)
        return path

    def record(self) -> str:
        """The last verified settings, "" where there are none."""
        path = self.state / "settings.verified"
        return path.read_text() if path.exists() else ""

    def journal(self) -> str:
        return (self.state / "journal").read_text()

    def listing(self) -> dict[str, tuple[int, int, int, int, int]]:
        """Every file under the roots but lock and journal: inode, mtime, mode, uid, size. Equal before and after
        means that nothing was written."""
        found = {}
        for root in (self.etc, self.tls, self.state):
            for path in sorted(root.rglob("*")):
                if path.name in ("lock", "journal"):
                    continue
                status = path.lstat()
                # A directory's times change with a temporary file that came and went; that is no change.
                stamp = 0 if path.is_dir() else status.st_mtime_ns
                size = 0 if path.is_dir() else status.st_size
                found[str(path)] = (status.st_ino, stamp, status.st_mode, status.st_uid, size)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsManager:
    """moto's server, reachable from containers too."""

    port: int
    client: SecretsManagerClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, secrets: Mapping[str, str]) -> None:
        """Set every secret's value."""
        for name, value in secrets.items():
            try:
                self.client.create_secret(Name=name, SecretString=value)
            except self.client.exceptions.ResourceExistsException:
                self.client.put_secret_value(SecretId=name, SecretString=value)

    def remove_all(self) -> None:
        for secret in self.client.list_secrets(MaxResults=100)["SecretList"]:
            self.client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[SecretsManager]:
    running = ThreadedMotoServer(ip_address="0.0.0.0", port=0, verbose=False)  # containers dial it too
    running.start()
    _, port = running.get_host_and_port()
    client = boto3.client(
        "secretsmanager",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    try:
        yield SecretsManager(port=port, client=client)
    finally:
        client.close()
        running.stop()


@pytest.fixture
def secrets(moto_server: SecretsManager) -> Iterator[SecretsManager]:
    """An empty Secrets Manager."""
    moto_server.remove_all()
    yield moto_server
    moto_server.remove_all()


@pytest.fixture(params=["aws", "boto3"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory for the front of PATH that leaves init.sh exactly one way to read secrets."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    place_python(bin_dir)
    if request.param == "aws":
        (bin_dir / "aws").symlink_to(Path(sys.executable).parent / "aws")
    return bin_dir


def roots_in(tmp_path: Path, path: str, **environment: str) -> Roots:
    """A host in `tmp_path` with passwords in place."""
    roots = Roots(
        etc=tmp_path / "etc",
        tls=tmp_path / "tls",
        state=tmp_path / "state",
        environment={
            "PATH": path,
            "HOME": str(tmp_path),
            "VOICEAI_ETC": str(tmp_path / "etc"),
            "VOICEAI_TLS": str(tmp_path / "tls"),
            "VOICEAI_STATE": str(tmp_path / "state"),
            **CREDENTIALS,
            **environment,
        },
    )
    roots.etc.mkdir()
    for name in ("postgres_password", "redis_password"):
        (roots.etc / name).write_text(f'{name} with "quotes", a :colon, a \\backslash and $dollars\n')
        (roots.etc / name).chmod(0o600)
    return roots


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A Secrets Manager of files with an `aws` that reads them: for the many tests that are not about reading."""

    folder: Path

    def put(self, secrets: Mapping[str, str]) -> None:
        for name, value in secrets.items():
            (self.folder / name.replace("/", "_")).write_text(value)

    def remove_all(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()

    def place_reader(self, bin_dir: Path) -> None:
        script = bin_dir / "aws"
        script.write_text(
            "#!/bin/bash\nwhile (($#)); do case $1 in --secret-id) name=$2;; esac; shift; done\n"
            f"file={self.folder}/${{name//\\//_}}\n"
            '[[ -e $file ]] || { echo "An error occurred (ResourceNotFoundException)" >&2; exit 254; }\n'
            'cat "$file"; echo\n'
        )
        script.chmod(0o755)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    folder = tmp_path / "secrets"
    folder.mkdir()
    return Store(folder=folder)


@pytest.fixture
def host(tmp_path: Path, store: Store) -> Roots:
    """A host without any container, whose secrets come from `store`."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    store.place_reader(bin_dir)
    place_app_tools(bin_dir)
    return roots_in(tmp_path, f"{bin_dir}:{system_path()}")


def place_app_tools(bin_dir: Path) -> None:
    """What an app's host needs. Its docker has no container: the app does not run."""
    for name, answer in (("docker", "2.26.0"), ("psql", ""), ("redis-cli", "")):
        says = f'case "$*" in *version*) echo {answer} ;; esac' if answer else "exit 1"
        (bin_dir / name).write_text(f"#!/bin/sh\n{says}\n")
        (bin_dir / name).chmod(0o755)


def system_path() -> str:
    """PATH without the AWS CLI, wherever it is."""
    return ":".join(part for part in os.environ["PATH"].split(":") if not (Path(part) / "aws").exists())


def place_python(bin_dir: Path) -> None:
    """A `python3` with boto3. A wrapper: through a symbolic link Python would not see its virtual environment."""
    wrapper = bin_dir / "python3"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)


@pytest.fixture(scope="session")
def generations() -> dict[int, Generation]:
    """Two generations of one CA."""
    ca = authority()
    return {number: Generation(number=number, ca=ca, leaf=server(ca)) for number in (1, 2)}


@pytest.fixture
def bash(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run bash with the libraries sourced and, on PATH before anything else, `tmp_path/fake`."""
    fake = tmp_path / "fake"
    fake.mkdir()

    def run(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"set -Eeuo pipefail; BUNDLE={BUNDLE}; . {BUNDLE}/lib/load.sh; read_bounds; {text}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={
                "PATH": f"{fake}:{os.environ['PATH']}",
                "VOICEAI_ETC": str(tmp_path / "etc"),
                "VOICEAI_TLS": str(tmp_path / "tls"),
                "VOICEAI_STATE": str(tmp_path / "state"),
                **environment,
            },
        )

    return run
