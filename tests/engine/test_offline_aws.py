"""The AWS provider's Secrets Manager against moto's server; boto3 reads back what it made."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.engine.moto_reset import forget_all
from tests.engine.offline_support import WatchedStack, closed_port, found_in

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

PROVIDER = "pulumi-resource-aws"

REGION = "eu-west-1"

PROGRAM = """
import json
from pathlib import Path

import pulumi
import pulumi_aws as aws

spec = json.loads(Path("resources.json").read_text())
provider = aws.Provider(
    "moto",
    region="eu-west-1",
    access_key="test",
    secret_key="test-secret-key",
    endpoints=[{"secretsmanager": spec["endpoint"], "sts": spec["endpoint"]}],
    default_tags={"tags": {"by": "default"}},
    skip_credentials_validation=True,
    skip_metadata_api_check=True,
    skip_region_validation=True,
    skip_requesting_account_id=True,
)
options = pulumi.ResourceOptions(provider=provider)
for name, arguments in spec["secrets"].items():
    value, policy = arguments.pop("value", None), arguments.pop("own_policy", None)
    secret = aws.secretsmanager.Secret(name, opts=options, **arguments)
    pulumi.export(name, {"arn": secret.arn, "id": secret.id, "tags_all": secret.tags_all})
    if value is not None:
        version = aws.secretsmanager.SecretVersion(
            f"{name}-value", secret_id=secret.id, secret_string=value, opts=options
        )
        pulumi.export(f"{name}-version", version.version_id)
        pulumi.export(f"{name}-value", version.secret_string)
    if policy is not None:
        aws.secretsmanager.SecretPolicy(f"{name}-policy", secret_arn=secret.arn, policy=policy, opts=options)
"""


def policy(sid: str) -> str:
    """A resource policy; its layout is not what AWS answers with."""
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/reader"},
        "Action": "secretsmanager:GetSecretValue",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    forget_all(f"http://{host}:{port}")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def aws(endpoint: str) -> SecretsManagerClient:
    return boto3.client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedStack]:
    folder = tmp_path_factory.mktemp("aws")
    stack = WatchedStack(folder=folder, program=PROGRAM)
    yield stack
    assert stack.processes() == {}


def declare(stack: WatchedStack, endpoint: str, **secrets: dict[str, object]) -> None:
    (stack.project / "resources.json").write_text(json.dumps({"endpoint": endpoint, "secrets": secrets}))


def tags(described: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described["Tags"]}


TWO_PROVIDERS = """
import pulumi
import pulumi_aws as aws

for region in ("eu-west-1", "us-east-1"):
    provider = aws.Provider(
        region,
        region=region,
        access_key="test",
        secret_key="test-secret-key",
        endpoints=[{"secretsmanager": "ENDPOINT", "sts": "ENDPOINT"}],
        skip_credentials_validation=True,
        skip_metadata_api_check=True,
        skip_requesting_account_id=True,
    )
    secret = aws.secretsmanager.Secret(
        f"in-{region}", recovery_window_in_days=0, opts=pulumi.ResourceOptions(provider=provider)
    )
    pulumi.export(region, secret.arn)
"""


def test_two_providers_keep_their_configurations_apart(tmp_path: Path, endpoint: str) -> None:
    """The engine loads an instance for each; one of them was set up by the language host, the other was not."""
    stack = WatchedStack(folder=tmp_path, program=TWO_PROVIDERS.replace("ENDPOINT", endpoint))
    stack.up()
    exported = stack.exported()
    assert {region: exported[region].split(":")[3] for region in exported} == {
        "eu-west-1": "eu-west-1",
        "us-east-1": "us-east-1",
    }
    stack.ok("destroy", "--yes", "--skip-preview")
    assert stack.processes() == {}


def test_life_of_a_secret(stack: WatchedStack, endpoint: str, aws: SecretsManagerClient) -> None:
    """Metadata, value and policy are made, found unchanged, changed in place, a new value as a new version, removed."""
    name, value = f"voiceai/{uuid.uuid4().hex}", f"value-{uuid.uuid4().hex}"
    made: dict[str, object] = {
        "name": name,
        "description": "first",
        "kms_key_id": "alias/keys",
        "recovery_window_in_days": 7,
        "tags": {"stage": "lab", "gone": "soon"},
        "value": value,
        "own_policy": policy("First"),
    }
    declare(stack, endpoint, ca=made)
    stack.up()
    described = aws.describe_secret(SecretId=name)
    assert described["Description"] == "first"
    assert described["KmsKeyId"] == "alias/keys"
    assert tags(described) == {"stage": "lab", "gone": "soon", "by": "default"}
    assert aws.get_secret_value(SecretId=name)["SecretString"] == value
    assert json.loads(aws.get_resource_policy(SecretId=name)["ResourcePolicy"]) == json.loads(policy("First"))
    exported = stack.exported()
    assert exported["ca"] == {"arn": described["ARN"], "id": described["ARN"], "tags_all": tags(described)}
    assert "ciphertext" in exported["ca-value"]
    assert found_in(stack.state_files(), value) == []
    assert found_in(stack.state_files(), name) != []

    # A refresh finds the same; so nothing is to be done.
    again = stack.up("--refresh").stdout
    assert "5 unchanged" in again
    assert "updated" not in again
    first_version = exported["ca-version"]

    other = f"value-{uuid.uuid4().hex}"
    changed = {"description": "second", "tags": {"stage": "lab"}, "value": other, "own_policy": policy("Second")}
    declare(stack, endpoint, ca={**made, **changed})
    applied = stack.up().stdout
    assert "1 replaced" in applied
    assert "2 updated" in applied
    described = aws.describe_secret(SecretId=name)
    assert described["Description"] == "second"
    assert tags(described) == {"stage": "lab", "by": "default"}
    assert aws.get_secret_value(SecretId=name)["SecretString"] == other
    assert "Second" in aws.get_resource_policy(SecretId=name)["ResourcePolicy"]
    labels = described["VersionIdsToStages"]
    assert labels[stack.exported()["ca-version"]] == ["AWSCURRENT"]
    assert labels.get(first_version) == ["AWSPREVIOUS"]

    # A change made by hand is found, and put right.
    aws.update_secret(SecretId=name, Description="by hand")
    assert "1 updated" in stack.up("--refresh").stdout
    assert aws.describe_secret(SecretId=name)["Description"] == "second"

    stack.ok("destroy", "--yes", "--skip-preview")
    assert "DeletedDate" in aws.describe_secret(SecretId=name)


def test_recovery_window_of_zero_frees_the_name_at_once(
    stack: WatchedStack, endpoint: str, aws: SecretsManagerClient
) -> None:
    """A new name replaces the secret; a generated name begins with the resource's."""
    first, second = (f"voiceai/{uuid.uuid4().hex}" for _ in range(2))
    declare(stack, endpoint, key={"name": first, "recovery_window_in_days": 0}, unnamed={"recovery_window_in_days": 0})
    stack.up()
    assert any(entry["Name"].startswith("unnamed-") for entry in aws.list_secrets()["SecretList"])
    declare(stack, endpoint, key={"name": second, "recovery_window_in_days": 0})
    assert "1 replaced" in stack.up().stdout
    with pytest.raises(aws.exceptions.ResourceNotFoundException):
        aws.describe_secret(SecretId=first)
    # Deleted behind the program's back: a refresh drops it from the state, the same run makes it again.
    aws.delete_secret(SecretId=second, ForceDeleteWithoutRecovery=True)
    stack.up("--refresh")
    assert aws.describe_secret(SecretId=second)["Name"] == second
    stack.ok("destroy", "--yes", "--skip-preview")
    with pytest.raises(aws.exceptions.ResourceNotFoundException):
        aws.describe_secret(SecretId=second)


def test_refusal_of_aws_is_passed_on(stack: WatchedStack, endpoint: str, aws: SecretsManagerClient) -> None:
    """A name that another secret has; AWS's reason reaches the user without a traceback."""
    name = f"voiceai/{uuid.uuid4().hex}"
    aws.create_secret(Name=name)
    declare(stack, endpoint, taken={"name": name})
    refused = stack.refused("up", "--yes", "--skip-preview")
    assert name in refused.output
    assert "already exists" in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.standin(PROVIDER)
def test_endpoint_that_does_not_answer_is_named(stack: WatchedStack) -> None:
    """Within a bounded time, without a traceback, and at preview nothing is asked of it."""
    url = f"http://127.0.0.1:{closed_port()}"
    declare(stack, url, lost={"name": "lost", "value": "a-value-to-hide"})
    stack.ok("preview")
    refused = stack.refused("up", "--yes", "--skip-preview")
    assert f"at {url}: the endpoint can't be reached" in refused.output
    assert "Traceback" not in refused.output
    assert "a-value-to-hide" not in refused.output
    assert "test-secret-key" not in refused.output
