"""A stack file is read as the engine reads it: the same document, given to both."""

import contextlib
import json
import os
import re
import subprocess

import pytest
import yaml

from operate.errors import BadInput
from operate.source import Version
from operate.stack_file import as_text, read_ladder, read_project, read_stack_file
from operate.yaml_text import load
from tests.operate.pull_requests import EXAMPLE, PROJECT, edited, version
from toolchain.env import engine_environment

VALUES = """\
config:
  trial:off: off
  trial:on: on
  trial:yes: yes
  trial:true: true
  trial:True: True
  trial:quoted: "true"
  trial:octal: 012
  trial:underscore: 1_000
  trial:hex: 0x10
  trial:clock: 12:34
  trial:float: 1.5
  trial:version: 1.2.3
  trial:nothing: ~
  trial:empty:
  trial:text: it is
  trial:map: {a: off, c: 012, d: ~, e: True, f: [on, 1, "2"]}
  trial:list: [off, 1]
  trial:folded: >-
    two
    lines
  without: a namespace
"""
SCHEMA = {
    "word": {"type": "string", "default": "off"},
    "count": {"type": "integer", "default": 6380},
    "switch": {"type": "boolean", "default": True},
    "nested": {"type": "object", "default": {}},
}
TRIAL = json.dumps({"name": "trial", "runtime": "python", "config": SCHEMA})


@pytest.fixture(scope="module")
def of_the_engine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the engine hands to a program: each key's value, as text."""
    folder = tmp_path_factory.mktemp("engine")
    for name in ("state", "project"):
        (folder / name).mkdir()
    (folder / "project/Pulumi.yaml").write_text(TRIAL)
    (folder / "project/Pulumi.dev.yaml").write_text(VALUES)
    environment = {
        **os.environ,
        **engine_environment(),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": "x",
    }
    told = ""
    for arguments in (("stack", "init", "dev"), ("config", "--json", "--stack", "dev")):
        ran = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=folder / "project",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        told = ran.stdout
    return {key.removeprefix("trial:"): entry["value"] for key, entry in json.loads(told).items()}


def structured(text: str) -> object:
    return json.loads(text) if text[:1] in ("{", "[") else text


def test_every_value_is_what_the_engine_hands_over(of_the_engine: dict[str, str]) -> None:
    values = {key.removeprefix("trial:"): as_text(value) for key, value in load(VALUES, "x")["config"].items()}
    trial = Version(name="x", project=TRIAL, ladder="", stacks={})
    ours = {**read_project(trial).defaults, **values}
    assert {key: structured(text) for key, text in ours.items()} == {
        key: structured(text) for key, text in of_the_engine.items()
    }


def test_a_key_without_a_namespace_is_the_projects(of_the_engine: dict[str, str]) -> None:
    assert of_the_engine["without"] == "a namespace"
    bare = EXAMPLE.replace("internal-tls:", "")
    read = read_stack_file(version("x", {"staging": bare}), "staging")
    assert read == read_stack_file(version("x", {"staging": EXAMPLE}), "staging")


def test_keys_of_others_are_not_ours() -> None:
    text = EXAMPLE.replace("config:\n", "config:\n  aws:region: eu-west-1\n  other:PREPARED: nonsense\n")
    assert read_stack_file(version("x", {"staging": text}), "staging").problems == ()


def test_a_misspelled_namespace_is_not_passed_by_in_silence() -> None:
    text = EXAMPLE.replace("internal-tls:PREPARED", "internal-tsl:PREPARED")
    (problem,) = read_stack_file(version("x", {"staging": text}), "staging").problems
    assert "did you mean internal-tls:PREPARED?" in str(problem)


def test_the_projects_defaults_lie_beneath() -> None:
    without = EXAMPLE.replace("  internal-tls:POSTGRES_TLS_ENABLED: off\n", "")
    raised = PROJECT.replace(
        'POSTGRES_TLS_ENABLED:\n    type: string\n    default: "off"',
        'POSTGRES_TLS_ENABLED:\n    type: string\n    default: "on"',
    )
    assert raised != PROJECT
    text = edited(without, {"PREPARED": "on", "CERTIFICATE_GENERATION": "1"})
    read = read_stack_file(Version(name="x", project=raised, ladder="", stacks={"staging": text}), "staging")
    assert read.configuration is not None
    assert read.configuration.declared.settings["POSTGRES_TLS_ENABLED"] == "on"


def test_the_encrypted_ssh_key_is_left_unread_and_any_other_encrypted_value_refused() -> None:
    text = EXAMPLE.replace("config:\n", "config:\n  internal-tls:sshPrivateKey:\n    secure: v1:abc\n")
    read = read_stack_file(version("x", {"staging": text}), "staging")
    assert read.configuration is not None
    assert read.configuration.ssh.private_key == ""
    sealed = EXAMPLE.replace("DATABASE_SSL_MODE: disable", "DATABASE_SSL_MODE: {secure: v1:abc}", 1)
    sealed = sealed.replace("internal-tls:PREPARED: off", "internal-tls:PREPARED: {secure: v1:abc}")
    problems = read_stack_file(version("x", {"staging": sealed}), "staging").problems
    assert {"PREPARED", "apps.api.DATABASE_SSL_MODE"} <= {problem.key for problem in problems}
    assert "v1:abc" not in "".join(map(str, problems))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("config: [", "x:1: it is not YAML"),
        ("a: 1\nb: 2\na: 3\n", "x:3: it is not YAML: a is written twice"),
        ("a: !!python/object:os.system x\n", "x:1: it is not YAML"),
        ("a: &x [*x]\n", "x:1: it is not YAML: found unconstructable recursive node"),
        ("? [1]\n: 2\n", "x: it is not YAML that config can be"),
        ("a: \x00", "x: it is not YAML"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, says: str) -> None:
    with pytest.raises(BadInput) as raised:
        load(text, "x")
    assert str(raised.value).startswith(says)


KEYS = sorted(yaml.safe_load(EXAMPLE)["config"])
ODD = [
    "[]",
    "{}",
    "[1, {a: b}]",
    "{a: {b: [c]}}",
    "~",
    "''",
    "1e400",
    "2024-01-01",
    "!!binary aGk=",
    "!!set {a, b}",
    "-1",
]


@pytest.mark.parametrize("key", KEYS)
def test_no_odd_value_ends_in_anything_but_problems_or_bad_input(key: str) -> None:
    for odd in ODD:
        text = f"{EXAMPLE}\n"
        lines = text.splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith(f"  {key}:"))
        end = next(n for n in range(start + 1, len(lines) + 1) if n == len(lines) or not lines[n].startswith("    "))
        text = "\n".join([*lines[:start], f"  {key}: {odd}", *lines[end:]])
        with contextlib.suppress(BadInput):
            read_stack_file(version("x", {"staging": text}), "staging")


@pytest.mark.parametrize(
    "field", ["address", "hostKey", "roles", "clientAddresses", "services", "names", "region", "tags"]
)
def test_no_odd_field_does_either(field: str) -> None:
    for odd in ODD:
        text = re.sub(rf"^( +){field}:.*\n(?:\1 +.*\n)*", rf"\1{field}: {odd}\n", EXAMPLE, count=1, flags=re.MULTILINE)
        assert text != EXAMPLE
        with contextlib.suppress(BadInput):
            read_stack_file(version("x", {"staging": text}), "staging")


@pytest.mark.parametrize("ladder", ["ladder: staging\n", "ladder: [a, a]\n", "- a\n", "ladder: [1]\n"])
def test_a_wrong_ladder_is_bad_input_with_an_example(ladder: str) -> None:
    with pytest.raises(BadInput, match=r"ladder: \[staging, production\]"):
        read_ladder(Version(name="x", project="", ladder=ladder, stacks={}))
