"""What the workflows may do: least permissions, pinned actions, one deploy at a time a stack."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
OURS = [path for path in FILES if path.name != "test.yml"]
# Each commit was looked up once; another action or version is a change of this table.
PINNED = {
    "actions/checkout": ("11bd71901bbe5b1630ceea73d27597364c9af683", "v4.2.2"),
    "aws-actions/configure-aws-credentials": ("e3dd6a429d7300a6a4c196c26e071d42e0343502", "v4.0.2"),
}


def workflow(path: Path) -> dict[str, Any]:
    """Every scalar as text: YAML 1.1 takes the key `on` for a boolean."""
    loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(loaded, dict)
    return loaded


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return dict(workflow(path)["jobs"])


def steps(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in jobs(path).items():
        for step in job["steps"]:
            yield name, step


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_is_permitted_but_reading_the_code_and_asking_for_a_role(path: Path) -> None:
    assert workflow(path)["permissions"] in ({}, {"contents": "read"}, "")
    for job in jobs(path).values():
        permitted = job.get("permissions", workflow(path)["permissions"])
        assert permitted.get("contents") == "read"
        assert permitted.keys() <= {"contents", "id-token"}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_job_asks_for_a_token_only_where_it_takes_a_role(path: Path) -> None:
    for name, job in jobs(path).items():
        takes_one = any("configure-aws-credentials" in step.get("uses", "") for step in job["steps"])
        assert takes_one == ("id-token" in job.get("permissions", {})), name


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_action_is_pinned_by_a_commit_with_its_version_beside_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)(?: # (\S+))?", text)
    assert len(used) == sum("uses" in step for _, step in steps(path))
    for reference, version in used:
        action, _, commit = reference.partition("@")
        assert (commit, version) == PINNED[action]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_checkout_leaves_its_token_behind(path: Path) -> None:
    for _, step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_expression_becomes_part_of_a_shell_line(path: Path) -> None:
    for _, step in steps(path):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", OURS, ids=named)
def test_a_step_that_runs_something_runs_one_script_that_is_there(path: Path) -> None:
    for _, step in steps(path):
        if "run" in step:
            script = ROOT / step["run"].split()[0]
            assert script.parent == ROOT / ".github/scripts"
            assert os.access(script, os.X_OK)
            assert "\n" not in step["run"]


@pytest.mark.parametrize("path", OURS, ids=named)
def test_a_secret_is_given_to_one_step_not_to_a_job(path: Path) -> None:
    outside = {key: value for key, value in workflow(path).items() if key != "jobs"}
    for job in jobs(path).values():
        outside |= {f"{id(job)}{key}": value for key, value in job.items() if key != "steps"}
    assert "secrets." not in repr(outside)
    for _, step in steps(path):
        assert "secrets." not in repr({key: value for key, value in step.items() if key != "env"})


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_job_has_a_time_limit(path: Path) -> None:
    assert all(int(job["timeout-minutes"]) > 0 for job in jobs(path).values())


def test_no_workflow_gives_its_secrets_to_a_fork() -> None:
    assert all("pull_request_target" not in workflow(path)["on"] for path in FILES)
    own = "github.event.pull_request.head.repo.full_name == github.repository"
    file = FOLDER / "pull-request.yml"
    for name, step in steps(file):
        if "configure-aws" in step.get("uses", "") or "secrets." in repr(step):
            assert own in step.get("if", jobs(file)[name].get("if", ""))


def test_a_stack_has_one_deploy_at_a_time_that_nothing_cancels() -> None:
    up = jobs(FOLDER / "deploy.yml")["up"]
    assert up["concurrency"] == {"group": "stack-${{ matrix.environment }}", "cancel-in-progress": "false"}
    assert up["strategy"]["max-parallel"] == "1"
    assert "concurrency" not in workflow(FOLDER / "deploy.yml")


def test_no_other_workflow_waits_in_a_deploys_group() -> None:
    """Of those that wait in a group GitHub keeps the newest: a verification would push a deploy out."""
    for path in FILES:
        groups = [workflow(path).get("concurrency", {}), *(job.get("concurrency", {}) for job in jobs(path).values())]
        for group in groups:
            assert path.name == "deploy.yml" or not group.get("group", "").startswith("stack-")


def test_a_deploy_takes_main_as_it_stands_and_nothing_else() -> None:
    file = workflow(FOLDER / "deploy.yml")
    assert file["on"]["push"]["branches"] == ["main"]
    up = file["jobs"]["up"]
    assert "github.ref == 'refs/heads/main'" in up["if"]
    (checkout,) = (step for step in up["steps"] if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["with"]["ref"] == "main"
    assert up["environment"] == "${{ matrix.environment }}"


def test_a_pull_request_is_checked_linted_tested_and_previewed() -> None:
    assert "pull_request" in workflow(FOLDER / "test.yml")["on"]
    assert any(step.get("run", "").endswith(".ci/run") for _, step in steps(FOLDER / "test.yml"))
    assert "$(MAKE) --no-print-directory lint" in (ROOT / "Makefile").read_text(encoding="utf-8")
    scripts = [step.get("run", "").split()[0:1] for _, step in steps(FOLDER / "pull-request.yml")]
    assert [".github/scripts/check.sh"] in scripts
    assert [".github/scripts/preview.sh"] in scripts


def test_the_base_of_a_check_is_what_the_pull_request_is_merged_into() -> None:
    file = FOLDER / "pull-request.yml"
    (checkout,) = (step for name, step in steps(file) if name == "check" and "checkout" in step.get("uses", ""))
    assert checkout["with"]["fetch-depth"] == "2"
    (check,) = (step for _, step in steps(file) if "check.sh" in step.get("run", ""))
    assert check["run"] == ".github/scripts/check.sh HEAD^1 HEAD --read-stacks"


def test_every_night_hosts_are_asked() -> None:
    file = workflow(FOLDER / "nightly.yml")
    assert re.fullmatch(r"\d+ \d+ \* \* \*", file["on"]["schedule"][0]["cron"])
    assert any("verify.sh" in step.get("run", "") for _, step in steps(FOLDER / "nightly.yml"))


@pytest.mark.parametrize("path", OURS, ids=named)
def test_every_output_that_a_job_uses_is_one_that_a_script_gives(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    given = {name for script in (ROOT / ".github/scripts").glob("*.sh") for name in outputs(script)}
    used = re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text)
    assert {name for _, name in used} <= given
    assert {step for step, _ in used} <= {step.get("id") for _, step in steps(path)}


def outputs(script: Path) -> list[str]:
    lines = script.read_text(encoding="utf-8").splitlines()
    return [name for line in lines if "GITHUB_OUTPUT" in line for name in re.findall(r"printf '(\w+)=", line)]
