"""The secrets: their arguments, what is registered, what is written, and the recovery window."""

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pulumi
import pytest
from moto import mock_aws

from components import passphrase
from components.certificates import Certificates
from components.delivery import SealedSecretVersionProvider
from components.key_material import server_purpose
from components.reader_policy import CA, CERTIFICATE, KEY
from components.secrets import RecoveryWindow, Secrets, SecretsArgs
from components.secrets_manager import RefusedByAws, connect, put_version
from pki.inspection import inspect
from pki.request import CertificateRequest
from pki.sealing import seal
from tests.components.recorder import Recorder, record
from tests.unit.pki.moments import server

REGION = "eu-west-1"
DATABASE = "arn:aws:iam::123456789012:role/database"
APP = "arn:aws:iam::123456789012:role/app"
PASSPHRASE = "a passphrase for tests"
MADE = {"ca_pem": "CA", "ca_sha256": "ab" * 32, "key_sealed": "sealed.v1.ca"}
ISSUED = {"certificate_pem": "LEAF", "certificate_sha256": "cd" * 32, "key_sealed": "sealed.v1.leaf"}


def program(args: SecretsArgs, *, store: bool) -> Recorder:
    def build() -> None:
        secrets = Secrets("secrets", args)
        if store:
            request = CertificateRequest(names=("db.lab.internal",))
            secrets.store(Certificates("certificates", request, generation="1"))

    return record(build, Authority=MADE, ServerCertificate=ISSUED)


def test_three_secrets_are_named_by_the_prefix_and_carry_key_tags_and_window() -> None:
    args = SecretsArgs(
        prefix="voiceai/staging/",
        region=REGION,
        kms_key_id="alias/voiceai",
        recovery_window_in_days=7,
        tags={"team": "platform"},
    )
    recorded = program(args, store=False)
    names = recorded.of_type("aws:secretsmanager/secret:Secret")
    assert names == [f"secrets.{variable}" for variable in (CA, CERTIFICATE, KEY)]
    for name in names:
        given = recorded.inputs(name)
        assert given["name"] == f"voiceai/staging/{name.removeprefix('secrets.')}"
        assert given["description"].startswith("Base64 PEM of the ")
        assert (given["kmsKeyId"], given["recoveryWindowInDays"]) == ("alias/voiceai", 7)
        assert given["tags"] == {"team": "platform"}


def test_optional_arguments_left_out_are_left_to_aws() -> None:
    given = program(SecretsArgs(prefix="voiceai/staging/", region=REGION), store=False).inputs(f"secrets.{KEY}")
    assert set(given) == {"name", "description", "recoveryWindowInDays"}
    assert given["recoveryWindowInDays"] == 30


def test_before_certificates_are_issued_the_secrets_are_empty_and_their_names_are_asked_for() -> None:
    recorded = program(SecretsArgs(prefix="", region=REGION), store=False)
    assert recorded.hooks == ["secrets.recovery-window"]
    assert not [name for name in recorded.resources if name.endswith(".value")]


def test_values_are_base64_of_pem_and_the_key_goes_sealed() -> None:
    recorded = program(SecretsArgs(prefix="", region=REGION, endpoint_url="http://127.0.0.1:1"), store=True)
    assert recorded.inputs(f"secrets.{CA}.value")["secretString"] == base64.b64encode(b"CA").decode()
    assert recorded.inputs(f"secrets.{CERTIFICATE}.value")["secretString"] == base64.b64encode(b"LEAF").decode()
    key = recorded.resources[f"secrets.{KEY}.value"]
    assert key.typ == "pulumi-python:dynamic/tls:SealedSecretVersion"
    given = recorded.inputs(key.name)
    assert given["sealed"] == "sealed.v1.leaf"
    assert given["certificate_sha256"] == "cd" * 32
    assert given["secret_arn"] == f"arn:secrets.{KEY}"
    assert (given["region"], given["endpoint_url"]) == (REGION, "http://127.0.0.1:1")


def test_roles_give_each_secret_its_policy() -> None:
    args = SecretsArgs(prefix="", region=REGION, server_role_arns=(DATABASE,), app_role_arns=(APP,))
    recorded = program(args, store=False)
    effects = {
        name: [statement["Effect"] for statement in json.loads(recorded.inputs(name)["policy"])["Statement"]]
        for name in recorded.of_type("aws:secretsmanager/secretPolicy:SecretPolicy")
    }
    assert effects == {
        f"secrets.{CA}.readers": ["Allow"],
        f"secrets.{CERTIFICATE}.readers": ["Allow"],
        f"secrets.{KEY}.readers": ["Allow", "Deny"],
    }


def test_every_impossible_argument_is_told_at_once_by_its_config_key() -> None:
    with pytest.raises(ValueError) as refused:
        SecretsArgs(
            prefix="voice ai/",
            region=REGION,
            recovery_window_in_days=3,
            server_role_arns=("database",),
            app_role_arns=(APP, "arn:aws:iam::1:user/x"),
        )
    told = str(refused.value).split("; ")
    assert [problem.split(":")[0] for problem in told] == [
        "secrets.prefix",
        "secrets.recoveryWindowDays",
        "secrets.serverRoleArns",
        "secrets.appRoleArns",
    ]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(passphrase.VARIABLES[0], PASSPHRASE)
    with mock_aws():
        yield


def delivery(secret_arn: str) -> dict[str, Any]:
    pair = server()
    sha256 = inspect(pair.certificate_pem).sha256
    return {
        "secret_arn": secret_arn,
        "sealed": seal(pair.key_pem, passphrase=PASSPHRASE, purpose=server_purpose(sha256)),
        "certificate_sha256": sha256,
        "region": REGION,
        "endpoint_url": "",
    }


def test_key_is_written_as_base64_of_pem_under_its_certificates_sha256(cloud: None) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    props = delivery(client.create_secret(Name=KEY)["ARN"])
    outputs = SealedSecretVersionProvider().create(props).outs
    stored = client.get_secret_value(SecretId=KEY)
    assert base64.b64decode(stored["SecretString"]).decode() == server().key_pem
    assert stored["VersionId"] == props["certificate_sha256"]
    assert outputs is not None
    assert outputs["version_id"] == props["certificate_sha256"]
    assert "PRIVATE" not in json.dumps(outputs)


def test_writing_the_same_key_again_changes_nothing(cloud: None) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    props = delivery(client.create_secret(Name=KEY)["ARN"])
    for _ in range(2):
        SealedSecretVersionProvider().create(props)
    assert len(client.list_secret_version_ids(SecretId=KEY)["Versions"]) == 1


def test_key_that_does_not_open_is_not_written_and_the_error_says_what_to_set(
    cloud: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    props = delivery(client.create_secret(Name=KEY)["ARN"])
    monkeypatch.setenv(passphrase.VARIABLES[0], "another one")
    with pytest.raises(RuntimeError, match="Set INTERNAL_TLS_SEALING_PASSPHRASE"):
        SealedSecretVersionProvider().create(props)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_secret_value(SecretId=KEY)


def test_refusal_by_secrets_manager_names_the_secret_and_no_value(cloud: None) -> None:
    props = delivery(f"arn:aws:secretsmanager:{REGION}:123456789012:secret:absent-abcdef")
    with pytest.raises(RuntimeError, match=r"did not store .*absent.*: ResourceNotFoundException") as refused:
        SealedSecretVersionProvider().create(props)
    assert base64.b64encode(server().key_pem.encode()).decode()[:20] not in str(refused.value)


def test_bad_request_of_our_own_quotes_no_value(cloud: None) -> None:
    with pytest.raises(RefusedByAws) as refused:
        put_version(connect(region=REGION, endpoint_url=""), secret_id="x", version_id="short", value=["HIDDEN"])  # type: ignore[arg-type]
    assert "HIDDEN" not in f"{refused.value!r}"
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("change", "changes", "replaces"),
    [
        ({}, False, []),
        ({"sealed": "sealed anew"}, False, []),
        ({"certificate_sha256": "0" * 64}, True, []),
        ({"secret_arn": "arn:other"}, True, ["secret_arn"]),
    ],
    ids=["nothing", "sealed anew", "another certificate", "another secret"],
)
def test_only_another_certificate_or_secret_is_written(
    change: dict[str, str], changes: bool, replaces: list[str]
) -> None:
    props = delivery("arn:one")
    result = SealedSecretVersionProvider().diff("arn:one", props, props | change)
    assert (result.changes, result.replaces) == (changes, replaces)


def window(endpoint_url: str = "") -> RecoveryWindow:
    return RecoveryWindow(SecretsArgs(prefix="voiceai/lab/", region=REGION, endpoint_url=endpoint_url))


def test_name_in_the_recovery_window_is_refused_with_the_command_that_frees_it(cloud: None) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    client.create_secret(Name="voiceai/lab/KEY")
    assert window().refusal("voiceai/lab/KEY") is None
    client.delete_secret(SecretId="voiceai/lab/KEY", RecoveryWindowInDays=7)
    said = window().refusal("voiceai/lab/KEY")
    assert said is not None
    assert (
        "`aws secretsmanager delete-secret --secret-id voiceai/lab/KEY --force-delete-without-recovery "
        f"--region {REGION}`"
    ) in said
    assert f"{datetime.now(UTC):%Y}" in said or f"{datetime.now(UTC).year + 1}" in said
    assert "secrets.prefix" in said


def test_free_name_and_unreachable_secrets_manager_stand_in_nobodys_way(cloud: None) -> None:
    assert window().refusal("voiceai/lab/FREE") is None


def test_secrets_manager_that_cannot_be_asked_stands_in_nobodys_way() -> None:
    # Port 9 (discard) is not served here: refused at once.
    assert window("http://127.0.0.1:9").refusal("voiceai/lab/KEY") is None


def test_hook_raises_for_the_name_that_is_to_be_created(cloud: None) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    client.create_secret(Name="voiceai/lab/KEY")
    client.delete_secret(SecretId="voiceai/lab/KEY", RecoveryWindowInDays=7)

    def hook(name: str) -> pulumi.ResourceHookArgs:
        return pulumi.ResourceHookArgs(urn="u", id="", name="n", type="t", new_inputs={"name": name})

    asyncio.run(window().before_create(hook("voiceai/lab/FREE")))
    with pytest.raises(RuntimeError, match="force-delete-without-recovery"):
        asyncio.run(window().before_create(hook("voiceai/lab/KEY")))
