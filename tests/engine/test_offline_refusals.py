"""What the stand-in providers refuse, asked directly: the answer is what the engine prints at preview."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from offline.aws_provider import AwsProvider
from offline.command_provider import CommandProvider
from offline.provider import Provider
from offline.wire import UNKNOWN, Properties, Secret

REGION = {"region": "eu-west-1"}
CONNECTION = {"host": "db"}


@pytest.fixture
def providers() -> Iterator[dict[str, Provider]]:
    """Both, without an engine: nothing here talks to one."""

    async def make() -> dict[str, Provider]:
        return {"command": CommandProvider("127.0.0.1:1"), "aws": AwsProvider("127.0.0.1:1")}

    with asyncio.Runner() as runner:
        yield runner.run(make())


def reasons(providers: dict[str, Provider], token: str, inputs: Properties) -> list[str]:
    provider = providers[token.split(":")[0]]
    call = provider.call(f"urn:pulumi:dev::trial::{token}::name")
    _, failures = provider.resources[token].check(call, {}, inputs)
    assert all(failure.property == "" for failure in failures), "a named property makes the engine print its value"
    return [failure.reason for failure in failures]


REMOTE = "command:remote:Command"
COPY = "command:remote:CopyToRemote"
LOCAL = "command:local:Command"
SECRET = "aws:secretsmanager/secret:Secret"
VERSION = "aws:secretsmanager/secretVersion:SecretVersion"
POLICY = "aws:secretsmanager/secretPolicy:SecretPolicy"


@pytest.mark.parametrize(
    ("token", "inputs", "named"),
    [
        (REMOTE, {"connection": CONNECTION, "environment": {"A": "b"}}, "'environment' is not implemented"),
        (REMOTE, {"connection": {**CONNECTION, "proxy": {}}}, "connection.proxy is not implemented"),
        (REMOTE, {"connection": Secret({**CONNECTION, "proxy": {}})}, "connection.proxy is not implemented"),
        (REMOTE, {"connection": {"user": "root"}}, "missing required input 'connection.host'"),
        (REMOTE, {"connection": {**CONNECTION, "port": "ssh"}}, "connection.port must be a number"),
        (REMOTE, {"create": "true"}, "missing required input 'connection'"),
        (REMOTE, {"connection": CONNECTION, "logging": "loud"}, "logging must be one of"),
        (COPY, {"connection": CONNECTION, "remotePath": "/a"}, "missing required input 'source'"),
        (COPY, {"connection": CONNECTION, "remotePath": "/a", "source": "text"}, "either asset or archive"),
        (LOCAL, {"create": "true", "assetPaths": ["*"]}, "'assetPaths' is not implemented"),
        (LOCAL, {"create": "true", "archivePaths": ["*"]}, "'archivePaths' is not implemented"),
        (SECRET, {"replicas": [{"region": "us-east-1"}]}, "'replicas' is not implemented"),
        (SECRET, {"region": "us-east-1"}, "'region' is not implemented"),
        (SECRET, {"namePrefix": "a"}, "'namePrefix' is not implemented"),
        (SECRET, {"forceOverwriteReplicaSecret": True}, "'forceOverwriteReplicaSecret' is not implemented"),
        (SECRET, {"recoveryWindowInDays": 3.0}, "to be 0 or in the range (7 - 30)"),
        (SECRET, {"policy": "{"}, "'policy' contains an invalid JSON policy"),
        (VERSION, {"secretId": "a", "secretBinary": "aa"}, "'secretBinary' is not implemented"),
        (VERSION, {"secretId": "a", "secretString": "x", "versionStages": ["A"]}, "'versionStages' is not implemented"),
        (VERSION, {"secretString": "x"}, "missing required input 'secretId'"),
        (POLICY, {"secretArn": "a"}, "missing required input 'policy'"),
    ],
)
def test_input_is_refused_by_name(providers: dict[str, Provider], token: str, inputs: Properties, named: str) -> None:
    told = [reason for reason in reasons(providers, token, inputs) if named in reason]
    assert len(told) == 1
    assert told[0].startswith(token)


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        (REMOTE, {"connection": UNKNOWN, "create": UNKNOWN}),
        (REMOTE, {"connection": Secret({"host": UNKNOWN, "port": UNKNOWN}), "logging": UNKNOWN}),
        (COPY, {"connection": CONNECTION, "remotePath": UNKNOWN, "source": UNKNOWN}),
        (SECRET, {"name": "n", "policy": UNKNOWN, "tags": UNKNOWN, "recoveryWindowInDays": 0.0}),
        (VERSION, {"secretId": UNKNOWN, "secretString": Secret(UNKNOWN)}),
        (POLICY, {"secretArn": UNKNOWN, "policy": UNKNOWN}),
    ],
)
def test_what_is_not_known_yet_passes(providers: dict[str, Provider], token: str, inputs: Properties) -> None:
    assert reasons(providers, token, inputs) == []


@pytest.mark.parametrize(
    ("package", "config", "named"),
    [
        ("aws", {**REGION, "assumeRoles": "[]"}, "'assumeRoles' is not implemented"),
        ("aws", {"profile": "x"}, "missing region configuration"),
        ("aws", {**REGION, "endpoints": "[{"}, "'endpoints' is not valid JSON"),
        ("command", {"shell": "zsh"}, "'shell' is not implemented"),
    ],
)
def test_configuration_is_refused_by_name(
    providers: dict[str, Provider], package: str, config: Properties, named: str
) -> None:
    assert [failure.reason for failure in providers[package].check_config(config) if named in failure.reason]


def test_secret_has_no_readable_repr() -> None:
    """Neither wrapped, nor in a connection that an error message might print."""
    from offline.ssh import parse_connection

    connection = {"host": "db", "password": "hush", "privateKey": "hush", "privateKeyPassword": "hush"}
    assert "hush" not in repr(Secret("hush")) + repr(parse_connection({**connection, "agentSocketPath": "/x"}))
