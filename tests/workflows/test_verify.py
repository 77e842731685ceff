"""verify.sh, as a nightly job runs it: the key is in an agent alone, and the table in the job summary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operate.conftest import Repository
from tests.operate.ssh_hosts import DOES_NOT, HOLDS, Start, client_key, inventory, starting
from tests.workflows.conftest import Runner


@pytest.fixture
def key(runner: Runner) -> Path:
    path = client_key(runner.work)
    runner.environment["SSH_PRIVATE_KEY"] = path.read_text()
    return path


@pytest.fixture
def start(key: Path) -> Iterator[Start]:
    with starting(key.with_suffix(".pub").read_text()) as of:
        yield of


@pytest.mark.parametrize(("answer", "code"), [(HOLDS, 0), (DOES_NOT, 1)])
def test_a_night(
    answer: tuple[int, str], code: int, start: Start, repository: Repository, runner: Runner, key: Path
) -> None:
    # The config names a key file that this job has not: it has a key of its own.
    hosts = start(database=HOLDS, api=answer)
    repository.commit(staging=inventory(hosts, key_file=Path("~/.ssh/of-an-operator")))
    private = key.read_text().splitlines()[1]
    key.unlink()
    done = runner.run("verify.sh", "staging")
    assert done.code == code, done.printed
    assert all(host.told for host in hosts.values())
    assert f"Verification of staging: {2 - code} of 2 hosts hold" in done.summary
    assert "| database | ✅ | holds revision 1, 1 checks |" in done.summary
    assert done.summary in done.printed
    assert private not in done.printed + done.summary
    assert runner.calls() == []
    assert runner.left_behind() == []
