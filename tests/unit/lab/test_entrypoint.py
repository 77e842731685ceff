"""The servers' entrypoint never starts a cluster that is not complete. Run with a fake initdb and postgres on PATH."""

import os
import subprocess
from pathlib import Path

import pytest

from lab import images

ENTRYPOINT = Path(images.__file__).parent / "images" / "servers" / "docker-entrypoint.sh"

# initdb makes what the entrypoint looks at, and shows how it was called and which password it read.
INITDB = """#!/bin/bash
for argument; do
  case $argument in
    --pgdata=*) dir=${argument#*=} ;;
    --pwfile=*) cat "${argument#*=}" >"$LOG.password" ;;
  esac
done
echo "initdb $*" >>"$LOG"
mkdir -p "$dir/base"
echo 17 >"$dir/PG_VERSION"
touch "$dir/pg_hba.conf" "$dir/postgresql.conf"
[[ -z ${FAIL_INITDB:-} ]]
"""
POSTGRES = '#!/bin/bash\necho "postgres $*" >>"$LOG"\n[[ $1 != --single ]] || cat >>"$LOG"\n'


class Container:
    """The entrypoint in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.log = folder / "log"
        self.password = folder / "password"
        self.password.write_text("s3cret\n")
        tools = folder / "tools"
        tools.mkdir()
        for name, content in {"initdb": INITDB, "postgres": POSTGRES}.items():
            (tools / name).write_text(content)
            (tools / name).chmod(0o755)
        self.environment = {
            "PATH": f"{tools}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "PGDATA": str(self.data),
            "LOG": str(self.log),
            "POSTGRES_USER": "voiceai",
            "POSTGRES_DB": "voice",
            "POSTGRES_PASSWORD_FILE": str(self.password),
        }

    def start(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(ENTRYPOINT), *argv],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_the_first_start_creates_the_cluster_and_starts_the_server(container: Container) -> None:
    done = container.start("postgres", "-c", "port=5432")
    assert done.returncode == 0, done.stderr
    assert (container.data / "PG_VERSION").read_text() == "17\n"
    assert "--username=voiceai" in container.calls
    assert 'CREATE DATABASE "voice" OWNER "voiceai"' in container.calls
    assert container.calls.splitlines()[-1] == "postgres -c port=5432"
    assert (container.log.with_name("log.password")).read_text() == "s3cret\n"
    assert "s3cret" not in container.calls
    assert sorted(path.name for path in container.data.iterdir() if path.name.startswith(".")) == []


def test_a_cluster_that_exists_is_started_as_it_is(container: Container) -> None:
    container.start()
    container.log.unlink()
    assert container.start().returncode == 0
    assert container.calls == "postgres \n"


def test_a_creation_that_failed_half_way_is_begun_anew(container: Container) -> None:
    assert container.start(FAIL_INITDB="yes").returncode != 0
    assert not (container.data / "PG_VERSION").exists()
    assert "postgres" not in container.calls.splitlines()[-1].split()[0]
    assert container.start().returncode == 0
    assert container.calls.count("initdb ") == 2


def test_a_start_that_was_killed_while_placing_files_is_begun_anew(container: Container) -> None:
    container.start()
    (container.data / "PG_VERSION").unlink()
    (container.data / ".placing").touch()
    (container.data / "base" / "stale").touch()
    assert container.start().returncode == 0
    assert container.calls.count("initdb ") == 2
    assert not (container.data / "base" / "stale").exists()


def test_somebody_elses_files_are_never_removed(container: Container) -> None:
    container.data.mkdir()
    (container.data / "notes").write_text("keep me")
    done = container.start()
    assert done.returncode == 1
    assert "is not empty and holds no cluster" in done.stderr
    assert (container.data / "notes").read_text() == "keep me"
    assert container.calls == ""


def test_without_a_password_nothing_is_created(container: Container) -> None:
    container.password.write_text("")
    done = container.start()
    assert done.returncode != 0
    assert "POSTGRES_PASSWORD_FILE" in done.stderr
    assert container.calls == ""


def test_any_other_command_is_run_as_it_is(container: Container) -> None:
    done = container.start("echo", "redis-server")
    assert (done.returncode, done.stdout) == (0, "redis-server\n")
    assert not container.data.exists()
