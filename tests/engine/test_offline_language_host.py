"""The language host: programs, dynamic providers, policy packs; nothing of it outlives a command."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.offline_support import ENGINE_ENDS_SECONDS, WatchedStack
from tests.waiting import wait_until

PROGRAM = """
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Shout(ResourceProvider):
    def create(self, props):
        print("shouting", props["said"])
        return CreateResult("shout", {"said": props["said"] + "!"})


class Shouted(Resource):
    said: pulumi.Output[str]

    def __init__(self, name, said):
        super().__init__(Shout(), name, {"said": said})


config = pulumi.Config()
pulumi.export("shouted", Shouted("shouted", config.require("word")).said)
pulumi.export("hidden", config.require_secret("hidden"))
pulumi.export("organization", pulumi.get_organization())
"""

PACK = """
import pulumi
from pulumi_policy import (
    EnforcementLevel, PolicyConfigSchema, PolicyPack, ResourceValidationPolicy,
)


def short(args, report):
    if not args.resource_type.startswith("pulumi-python:dynamic"):
        return
    limit = args.get_config()["limit"]
    if len(args.props["said"]) > limit:
        word = pulumi.Config("trial").require("word")
        report(f"{word} in {pulumi.get_project()}/{pulumi.get_stack()} is longer than {limit:.0f}")


PolicyPack("words", policies=[ResourceValidationPolicy(
    name="short",
    description="Words are short.",
    validate=short,
    enforcement_level=EnforcementLevel.MANDATORY,
    config_schema=PolicyConfigSchema(properties={"limit": {"type": "integer", "default": 3}}),
)])
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedStack]:
    stack = WatchedStack(folder=tmp_path_factory.mktemp("host"), program=PROGRAM)
    stack.ok("config", "set", "word", "hello")
    stack.ok("config", "set", "--secret", "hidden", "a-hidden-word")
    yield stack
    assert stack.processes() == {}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
    (folder / "PulumiPolicy.yaml").write_text(json.dumps({"runtime": runtime, "version": "0.0.1"}))
    (folder / "__main__.py").write_text(PACK)
    return folder


def test_program_is_previewed_applied_and_destroyed(stack: WatchedStack) -> None:
    """Configuration, secrets and a dynamic provider reach the program and come back."""
    stack.write(PROGRAM)
    assert "shouted" in stack.ok("preview").stdout
    assert "shouting hello" in stack.up().output
    exported = stack.exported()
    assert "a-hidden-word" not in json.dumps(exported)
    assert (exported["shouted"], exported["organization"]) == ("hello!", "organization")
    assert "ciphertext" in exported["hidden"]
    assert "2 deleted" in stack.ok("destroy", "--yes", "--skip-preview").stdout
    assert stack.processes() == {}


def test_mandatory_violation_stops_the_preview_without_a_wait(stack: WatchedStack, pack: Path) -> None:
    """The pack sees the stack's configuration. It ends when the engine does: from the violation to the exit it is not
    the five seconds that the engine gives a plugin that does not end."""
    stack.write(PROGRAM)
    with stack.started("preview", "--policy-pack", str(pack)) as preview:
        assert preview.stdout is not None
        printed = ""
        while "[mandatory]  short" not in printed:
            line = preview.stdout.readline()
            assert line, printed
            printed += line
        told = time.monotonic()
        printed += preview.stdout.read()
        preview.wait(timeout=ENGINE_ENDS_SECONDS)
        assert time.monotonic() - told < 4.0
        assert stack.processes() == {}
    assert preview.returncode != 0
    assert "hello in trial/dev is longer than 3" in printed


def test_policy_pack_config_changes_limit_and_level(stack: WatchedStack, pack: Path, tmp_path: Path) -> None:
    """An advisory violation is told and stops nothing; what the pack is configured with arrives."""
    stack.write(PROGRAM)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"short": {"enforcementLevel": "advisory", "limit": 4}}))
    told = stack.ok("preview", "--policy-pack", str(pack), "--policy-pack-config", str(settings))
    assert "[advisory]  short" in told.output
    assert "longer than 4" in told.output


def test_pack_that_fails_to_start_is_reported(stack: WatchedStack, pack: Path, tmp_path: Path) -> None:
    stack.write(PROGRAM)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "PulumiPolicy.yaml").write_text((pack / "PulumiPolicy.yaml").read_text())
    (broken / "__main__.py").write_text("raise RuntimeError('no such rule')\n")
    refused = stack.refused("preview", "--policy-pack", str(broken))
    assert "no such rule" in refused.output


def test_unhandled_exception_is_told_once(stack: WatchedStack) -> None:
    """The executor has told it and exits with 32; the engine adds no second error about an exit code."""
    stack.write("raise RuntimeError('not today')\n")
    refused = stack.refused("preview")
    assert "not today" in refused.output
    assert "exit code" not in refused.output


def test_exit_code_of_the_program_is_reported(stack: WatchedStack) -> None:
    stack.write("import os\nos._exit(7)\n")
    assert "exit code: 7" in stack.refused("preview").output


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.standin("pulumi-language-python"))]
)
def test_ending_the_engine_leaves_no_process(stack: WatchedStack, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, and an engine that is killed outright, which can tell its children nothing."""
    running = tmp_path / "running"
    stack.write(f"import pathlib, time\npathlib.Path({str(running)!r}).touch()\ntime.sleep(600)\n")
    with stack.started("preview") as preview:
        wait_until("the program runs", running.exists)
        preview.send_signal(number)
        preview.wait(timeout=ENGINE_ENDS_SECONDS)
        wait_until("all its processes have ended", lambda: not stack.processes())


@pytest.mark.standin("pulumi-language-python")
def test_missing_virtualenv_is_named_with_the_way_to_make_it(stack: WatchedStack) -> None:
    """The vendor's host would create it and install the requirements."""
    project = stack.project / "Pulumi.yaml"
    before = project.read_text()
    project.write_text(before.replace(sys.prefix, "no-such-venv"))
    try:
        refused = stack.refused("preview")
    finally:
        project.write_text(before)
    assert "no-such-venv' doesn't exist" in refused.output
    assert "python3 -m venv" in refused.output


@pytest.mark.standin("pulumi-language-python")
def test_option_that_is_not_implemented_is_named(stack: WatchedStack) -> None:
    project = stack.project / "Pulumi.yaml"
    before = project.read_text()
    project.write_text(before.replace('"virtualenv"', '"typechecker": "mypy", "virtualenv"'))
    try:
        refused = stack.refused("preview")
    finally:
        project.write_text(before)
    assert "'typechecker' is not implemented by the stand-in" in refused.output
