"""A daemon is started only where none answers, and only the one that we started is stopped. With fakes on PATH."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from toolchain import apt, dockerd
from toolchain.errors import SetupError

# The client answers as soon as the daemon has made its file.
CLIENT = """#!/bin/sh
[ -e "$FAKE/ready" ] && { echo 20.10.24; exit 0; }
echo "${REFUSAL:-Cannot connect to the Docker daemon}" >&2
exit 1
"""
DAEMON = """#!/bin/sh
[ -z "$BROKEN" ] || { echo "no cgroups here"; exit 3; }
trap 'rm -f "$FAKE/ready"; exit 0' TERM
touch "$FAKE/ready"
while :; do sleep 0.05; done
"""


def silent(_title: str) -> AbstractContextManager[None]:
    return nullcontext()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with docker and dockerd, where packages could be installed, without systemd."""
    for name, content in {"docker": CLIENT, "dockerd": DAEMON, "iptables": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(dockerd, "DOCKER", tmp_path / "docker-state")
    monkeypatch.setattr(dockerd, "_STARTED", tmp_path / "docker-state" / "started.json")
    monkeypatch.setattr(dockerd, "_LOG", tmp_path / "docker-state" / "dockerd.log")
    monkeypatch.setattr(dockerd, "_SYSTEMD", tmp_path / "no-systemd")
    monkeypatch.setattr(apt, "can_install", lambda: True)
    yield tmp_path
    dockerd.stop_if_ours()


def test_a_daemon_that_answers_is_used_and_never_stopped(machine: Path) -> None:
    (machine / "ready").touch()
    dockerd.ensure(silent)
    assert dockerd.our_daemon() is None
    assert dockerd.stop_if_ours() is False
    assert (machine / "ready").exists()


def test_where_none_answers_one_is_started_and_stopped_again(machine: Path) -> None:
    dockerd.ensure(silent)
    pid = dockerd.our_daemon()
    assert pid is not None
    assert dockerd.server_version() == "20.10.24"
    # A second set-up finds it and starts no other.
    dockerd.ensure(silent)
    assert dockerd.our_daemon() == pid
    assert dockerd.stop_if_ours() is True
    assert not (machine / "ready").exists()
    assert dockerd.stop_if_ours() is False


def test_a_daemon_that_ends_at_once_is_an_error_with_its_log(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "yes")
    with pytest.raises(SetupError, match=r"(?s)dockerd ended with status 3.*no cgroups here"):
        dockerd.ensure(silent)
    assert dockerd.our_daemon() is None


@pytest.mark.usefixtures("machine")
def test_a_user_without_access_is_told_so_and_no_second_daemon_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSAL", "permission denied while trying to connect to the Docker daemon socket")
    with pytest.raises(SetupError, match="group `docker`"):
        dockerd.ensure(silent)


@pytest.mark.usefixtures("machine")
def test_a_remote_daemon_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://builder:2375")
    with pytest.raises(SetupError, match="DOCKER_HOST=tcp://builder:2375"):
        dockerd.ensure(silent)


@pytest.mark.usefixtures("machine")
def test_where_nothing_can_be_installed_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "can_install", lambda: False)
    with pytest.raises(SetupError, match="install Docker") as refusal:
        dockerd.ensure(silent)
    assert len(str(refusal.value).splitlines()) == 1
