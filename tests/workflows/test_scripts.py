"""The scripts of the workflows, really run. `pulumi` is played (tests/workflows/conftest.py); all else is real."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.operate.conftest import Repository
from tests.operate.pull_requests import EXAMPLE, ISSUED, OFFERS, declared, edited, export, of, walked
from tests.waiting import wait_until
from tests.workflows.conftest import SCRIPTS, Runner

STAGING = edited(EXAMPLE, ISSUED)
PRODUCTION = edited(of("production"), ISSUED)
ON = {"POSTGRES_TLS_ENABLED": "on"}
SKIPPED = {"PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}


def knows(runner: Runner, environment: str, text: str) -> None:
    """The played `pulumi` exports this stack."""
    (runner.bin / f"{environment}.json").write_text(export(environment, walked(declared(environment, text))))


# check.sh


def test_a_step_is_in_the_summary_and_its_environment_in_the_output(repository: Repository, runner: Runner) -> None:
    repository.commit(staging=STAGING)
    repository.commit(staging=edited(STAGING, ON))
    knows(runner, "staging", STAGING)
    done = runner.run("check.sh", "HEAD^1", "HEAD", "--read-stacks")
    assert done.code == 0, done.printed
    assert "postgres 2/7: POSTGRES\\_TLS\\_ENABLED off → on" in done.summary
    assert "the base is what the stack has confirmed" in done.summary
    assert json.loads(done.outputs["changed"]) == ["staging"]
    assert {call.split()[0] for call in runner.calls()} == {"stack"}


def test_a_refused_step_is_in_the_summary_too(repository: Repository, runner: Runner) -> None:
    repository.commit(staging=STAGING)
    repository.commit(staging=edited(STAGING, SKIPPED))
    done = runner.run("check.sh", "HEAD^1", "HEAD")
    assert done.code == 1
    assert "⛔ Rollout: refused" in done.summary
    assert "PGBOUNCER\\_CLIENT\\_TLS\\_SSLMODE disable → allow" in done.summary
    assert "**Do:**" in done.summary
    assert json.loads(done.outputs["changed"]) == ["staging"]


def test_what_could_not_be_checked_is_in_the_summary_too(repository: Repository, runner: Runner) -> None:
    repository.commit(staging=STAGING)
    repository.commit(staging="config: [\n")
    done = runner.run("check.sh", "HEAD^1", "HEAD")
    assert done.code == 2
    assert "Rollout: not checked" in done.summary
    assert "Pulumi.staging.yaml:2" in done.summary
    assert done.outputs["changed"] == "[]"


def test_where_no_environment_changes_there_is_nothing_to_preview(repository: Repository, runner: Runner) -> None:
    repository.commit(staging=STAGING)
    repository.commit(staging=f"# a comment\n{STAGING}")
    done = runner.run("check.sh", "HEAD^1", "HEAD")
    assert (done.code, done.outputs["changed"]) == (0, "[]")


# environments.sh


def test_every_environment_with_a_file_is_listed(repository: Repository, runner: Runner) -> None:
    repository.commit(staging=STAGING, production=PRODUCTION)
    assert json.loads(runner.run("environments.sh").outputs["environments"]) == ["production", "staging"]


def test_environments_that_differ_are_listed_in_the_order_of_the_ladder(repository: Repository, runner: Runner) -> None:
    before = repository.commit(staging=STAGING, production=PRODUCTION, other=of("other"))
    after = repository.commit(staging=edited(STAGING, ON), production=edited(PRODUCTION, ON), other=of("other"))
    done = runner.run("environments.sh", before, after)
    assert done.code == 0, done.printed
    assert json.loads(done.outputs["environments"]) == ["staging", "production"]


def test_a_revision_that_is_not_there_is_the_commit_before(repository: Repository, runner: Runner) -> None:
    repository.commit(staging=STAGING)
    after = repository.commit(staging=edited(STAGING, ON))
    done = runner.run("environments.sh", "0" * 40, after)
    assert json.loads(done.outputs["environments"]) == ["staging"]


def test_a_file_that_cannot_be_read_ends_the_listing(repository: Repository, runner: Runner) -> None:
    before = repository.commit(staging=STAGING)
    after = repository.commit(staging="config: [\n")
    done = runner.run("environments.sh", before, after)
    assert done.code == 2
    assert "environments" not in done.outputs
    assert "Traceback" not in done.printed


# preview.sh


@pytest.mark.parametrize("status", [0, 255])
def test_a_preview_has_the_policy_pack_and_its_words_in_the_summary(
    status: int, repository: Repository, runner: Runner
) -> None:
    repository.commit(staging=STAGING)
    (runner.bin / "status").write_text(str(status))
    done = runner.run("preview.sh", "staging")
    assert done.code == status
    (call,) = runner.calls()
    assert call.startswith("preview --stack staging --policy-pack policy ")
    assert ("✅" if status == 0 else "⛔") + " Preview of staging" in done.summary
    assert "it says ''' and more" in done.summary
    assert "it says ``` and more" in done.printed
    assert runner.left_behind() == []


@pytest.mark.parametrize("name", ["nowhere", "../x", "--help", "staging; true", ""])
@pytest.mark.parametrize("script", ["preview.sh", "up.sh", "verify.sh"])
def test_an_environment_that_is_not_here_is_refused_before_anything_runs(
    script: str, name: str, repository: Repository, runner: Runner
) -> None:
    repository.commit(staging=STAGING)
    done = runner.run(script, name)
    assert done.code != 0
    assert runner.calls() == []


# up.sh


@pytest.fixture
def key(runner: Runner) -> str:
    """A fresh SSH key, given to the step as CI gives it."""
    path = runner.work / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "deploys", "-f", path], check=True)
    runner.environment["SSH_PRIVATE_KEY"] = path.read_text()
    return path.read_text().splitlines()[2]


@pytest.mark.parametrize("status", [0, 255])
def test_an_up_is_checked_first_and_has_the_policy_pack(status: int, repository: Repository, runner: Runner) -> None:
    repository.commit(staging=edited(STAGING, ON))
    knows(runner, "staging", STAGING)
    (runner.bin / "status").write_text(str(status))
    done = runner.run("up.sh", "staging")
    assert done.code == status, done.printed
    assert runner.calls()[-1].startswith("up --stack staging --policy-pack policy --yes ")
    assert "postgres 2/7" in done.summary
    assert ("✅" if status == 0 else "⛔") + " Up of staging" in done.summary
    assert runner.left_behind() == []


def test_an_up_that_the_check_refuses_is_not_begun(repository: Repository, runner: Runner) -> None:
    repository.commit(staging=edited(STAGING, SKIPPED))
    knows(runner, "staging", STAGING)
    done = runner.run("up.sh", "staging")
    assert done.code == 1
    assert all(call.startswith("stack export") for call in runner.calls())
    assert "comes before it" in done.summary


def test_production_is_not_begun_before_staging_has_confirmed(repository: Repository, runner: Runner) -> None:
    """Staging's file has the step, its stack does not."""
    repository.commit(staging=edited(STAGING, ON), production=edited(PRODUCTION, ON))
    knows(runner, "production", PRODUCTION)
    knows(runner, "staging", STAGING)
    assert runner.run("up.sh", "production").code == 1
    knows(runner, "staging", edited(EXAMPLE, OFFERS))
    assert runner.run("up.sh", "production").code == 0


def test_a_second_up_where_nothing_differs_is_allowed(repository: Repository, runner: Runner) -> None:
    repository.commit(staging=STAGING)
    knows(runner, "staging", STAGING)
    done = runner.run("up.sh", "staging")
    assert done.code == 0, done.printed
    assert "where the stack stands already" in done.summary


def test_the_ssh_key_is_in_an_agent_and_nowhere_else(repository: Repository, runner: Runner, key: str) -> None:
    repository.commit(staging=edited(STAGING, ON))
    knows(runner, "staging", STAGING)
    done = runner.run("up.sh", "staging")
    assert done.code == 0, done.printed
    assert "deploys" in (runner.bin / "keys").read_text()
    environment = (runner.bin / "environment").read_text()
    assert "SSH_AUTH_SOCK=" in environment
    assert key not in environment + done.printed + done.summary
    socket = next(line.split("=")[1] for line in environment.splitlines() if line.startswith("SSH_AUTH_SOCK="))
    wait_until("the agent has ended", lambda: not Path(socket).exists())
    assert runner.left_behind() == []


# setup.sh


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("aws provider      7.1   .tools/x  official  ok", 0),
        ("command provider  1.0   offline/  stand-in  ok", 1),
        ("language host     1.0   offline/  stand-in  ok", 1),
        ("Docker            1.0   offline/  stand-in  ok", 0),
    ],
)
def test_no_deploy_runs_on_stand_ins(line: str, code: int) -> None:
    sourced = f'. "{SCRIPTS / "setup.sh"}"; refuse_stand_ins'
    done = subprocess.run(["bash", "-c", sourced], input=line, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("stand-ins" in done.stderr) == bool(code)
