"""The secrets on the real engine, against moto's Secrets Manager: values, second runs, the recovery window, leaks."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from components.reader_policy import CA, CERTIFICATE, KEY
from pki.checks import check
from pki.inspection import inspect
from pki.issue import create_authority
from pki.sealing import unseal
from tests.engine.leaks import hits, needles
from tests.engine.moto_reset import forget_all
from tests.engine.stacks import Ran, Stack

REGION = "eu-west-1"
PREFIX = "voiceai/lab/"
DATABASE = "arn:aws:iam::123456789012:role/database"
APP = "arn:aws:iam::123456789012:role/app"
VARIABLES = (CA, CERTIFICATE, KEY)

PROGRAM = f"""
import pulumi, pulumi_aws as aws
from components.certificates import Certificates
from components.secrets import Secrets, SecretsArgs
from pki.request import CertificateRequest

config = pulumi.Config()
url = config.require("endpoint")
provider = aws.Provider(
    "aws",
    region="{REGION}",
    endpoints=[aws.ProviderEndpointArgs(secretsmanager=url, sts=url)],
    skip_credentials_validation=True,
    skip_metadata_api_check=True,
    skip_region_validation=True,
    skip_requesting_account_id=True,
)
args = SecretsArgs(
    prefix="{PREFIX}",
    region="{REGION}",
    endpoint_url=url,
    kms_key_id="alias/voiceai",
    tags={{"team": "platform"}},
    server_role_arns=("{DATABASE}",),
    app_role_arns=("{APP}",),
)
secrets = Secrets("secrets", args, opts=pulumi.ResourceOptions(providers=[provider]))
generation = config.require_int("generation")
if generation:
    request = CertificateRequest(names=tuple(config.require("names").split(",")))
    certificates = Certificates("certificates", request, generation=pulumi.Output.from_input(str(generation)))
    secrets.store(certificates)
    pulumi.export("reason", certificates.reason)
"""

# What a careless program would do, to see that the scan would notice.
CARELESS = """
import os, pulumi
pulumi.export("key", pulumi.Output.secret(os.environ["PLANTED_KEY"]))
"""


@dataclass
class Cloud:
    """Moto's Secrets Manager, and what is in it."""

    url: str

    @property
    def client(self) -> Any:
        return boto3.client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def pem(self, variable: str) -> str:
        return base64.b64decode(self.client.get_secret_value(SecretId=PREFIX + variable)["SecretString"]).decode()

    def pems(self) -> dict[str, str]:
        return {variable: self.pem(variable) for variable in VARIABLES}

    def is_empty(self, variable: str) -> bool:
        return "VersionIdsToStages" not in self.client.describe_secret(SecretId=PREFIX + variable)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        forget_all(f"http://{host}:{port}")
        yield Cloud(url=f"http://{host}:{port}")
    finally:
        server.stop()


@dataclass
class Story:
    """One stack, from empty secrets to a reissue; every command logged at -v=9, everything printed kept."""

    stack: Stack
    printed: dict[str, Ran] = field(default_factory=dict)
    stored: dict[str, dict[str, str]] = field(default_factory=dict)
    empty_at_first: bool = False

    def up(self, label: str, **config: str) -> None:
        settings = [f"--config={key}={value}" for key, value in config.items()]
        self.printed[label] = self.stack.up("-v=9", "--logtostderr", *settings)

    def texts(self) -> dict[str, bytes]:
        printed = {label: ran.output.encode() for label, ran in self.printed.items()}
        return printed | self.stack.files()

    def private_keys(self) -> Mapping[str, str]:
        """Every private key that there ever was: the servers', and the CA's out of the state with the passphrase."""
        authority = self.stack.resources(secrets_shown=True)["certificates.authority"]["outputs"]
        sealed = json.loads(authority["key_sealed"]["plaintext"])
        ca_key = unseal(sealed, passphrase=self.stack.passphrase, purpose=f"authority {authority['ca_sha256']}")
        return {"the CA's": ca_key} | {f"the server's ({label})": pems[KEY] for label, pems in self.stored.items()}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, cloud: Cloud) -> Story:
    environment = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    stack = Stack(folder=tmp_path_factory.mktemp("story"), program=PROGRAM, environment=environment)
    story = Story(stack)
    story.up("empty", endpoint=cloud.url, generation="0", names="db.lab.internal")
    story.empty_at_first = all(cloud.is_empty(variable) for variable in VARIABLES)
    story.up("issued", generation="1")
    story.stored["issued"] = cloud.pems()
    story.printed["again"] = stack.up("--refresh", "-v=9", "--logtostderr")
    story.up("reissued", names="db.lab.internal,db2.internal")
    story.stored["reissued"] = cloud.pems()
    return story


def test_secrets_exist_empty_before_anything_is_issued(story: Story) -> None:
    assert story.empty_at_first


def test_secrets_carry_what_config_says(story: Story, cloud: Cloud) -> None:
    for variable in VARIABLES:
        described = cloud.client.describe_secret(SecretId=PREFIX + variable)
        assert described["KmsKeyId"] == "alias/voiceai"
        assert {"Key": "team", "Value": "platform"} in described["Tags"]
        assert described["Description"].startswith("Base64 PEM of the ")


@pytest.mark.parametrize("variable", VARIABLES)
def test_policies_reach_secrets_manager(story: Story, cloud: Cloud, variable: str) -> None:
    text = cloud.client.get_resource_policy(SecretId=PREFIX + variable)["ResourcePolicy"]
    statements = json.loads(text)["Statement"]
    readers = {DATABASE, APP} if variable == CA else {DATABASE}
    assert set(statements[0]["Principal"]["AWS"]) == readers
    assert [one["Effect"] for one in statements] == (["Allow", "Deny"] if variable == KEY else ["Allow"])


@pytest.mark.parametrize("moment", ["issued", "reissued"])
def test_the_three_values_are_a_working_chain(story: Story, moment: str) -> None:
    pems = story.stored[moment]
    dialled = ["db.lab.internal"] if moment == "issued" else ["db.lab.internal", "db2.internal"]
    check(
        ca_pem=pems[CA],
        certificate_pem=pems[CERTIFICATE],
        key_pem=pems[KEY],
        dialled=dialled,
        now=datetime.now(UTC),
    )


def test_key_version_is_named_after_its_certificate(story: Story, cloud: Cloud) -> None:
    version = cloud.client.get_secret_value(SecretId=PREFIX + KEY)["VersionId"]
    assert version == inspect(story.stored["reissued"][CERTIFICATE]).sha256


def test_second_up_that_refreshes_first_changes_nothing(story: Story) -> None:
    said = story.printed["again"].stdout
    assert "15 unchanged" in said
    for word in ("created", "updated", "deleted"):
        assert word not in said


def test_reissue_writes_certificate_and_key_and_leaves_the_ca_alone(story: Story) -> None:
    before, after = story.stored["issued"], story.stored["reissued"]
    assert [variable for variable in VARIABLES if before[variable] != after[variable]] == [CERTIFICATE, KEY]
    assert 'reason: "first issue" => "SAN added: db2.internal"' in " ".join(story.printed["reissued"].stdout.split())


def test_scan_finds_a_planted_key_in_every_form() -> None:
    planted = create_authority("planted", now=datetime.now(UTC)).key_pem
    pem = planted.encode()
    raw = needles(planted)["raw bytes"]
    forms = {
        "PEM": pem,
        "in a JSON log": json.dumps({"msg": planted}).encode(),
        "base64 of PEM": base64.b64encode(pem),
        "base64": b"x" + base64.b64encode(raw),
        "hex": raw.hex().encode(),
        "raw": raw,
    }
    for form, text in forms.items():
        assert hits({form: b"before" + text + b"after"}, planted), form
    other = create_authority("other", now=datetime.now(UTC)).key_pem
    assert not hits(forms, other)


def test_engines_own_log_would_show_a_secret_that_passed_through_it(story: Story) -> None:
    """The control on the real log: without it, no hit would mean nothing. It is why keys are sealed."""
    planted = create_authority("planted", now=datetime.now(UTC)).key_pem
    careless = Stack(folder=story.stack.folder / "careless", program=CARELESS, environment={"PLANTED_KEY": planted})
    ran = careless.ok("up", "--yes", "--skip-preview", "-v=9", "--logtostderr")
    assert hits({"log": ran.stderr.encode()}, planted)
    assert not hits({"screen": ran.stdout.encode()}, planted)


def test_no_private_key_is_in_state_screen_or_the_most_verbose_log(story: Story) -> None:
    story.printed["export"] = story.stack.ok("stack", "export")
    story.printed["export in the clear"] = story.stack.ok("stack", "export", "--show-secrets")
    story.printed["preview"] = story.stack.ok("preview", "--diff", "-v=9", "--logtostderr")
    texts = story.texts()
    assert any("/state/" in name for name in texts)
    assert len(story.printed["reissued"].stderr) > 100_000, "the log is not the verbose one"
    keys = story.private_keys()
    assert len(keys) == 3
    for whose, key in keys.items():
        assert hits(texts, key) == [], whose


def test_back_to_no_certificate_and_forward_again_meets_no_recovery_window(story: Story, cloud: Cloud) -> None:
    story.up("back", generation="0")
    assert "6 deleted" in story.printed["back"].stdout
    story.up("forward", generation="1")
    pems = cloud.pems()
    check(
        ca_pem=pems[CA],
        certificate_pem=pems[CERTIFICATE],
        key_pem=pems[KEY],
        dialled=["db2.internal"],
        now=datetime.now(UTC),
    )
    assert pems[CA] != story.stored["reissued"][CA]


def test_up_after_destroy_says_at_preview_what_to_do_and_works_once_that_is_done(story: Story, cloud: Cloud) -> None:
    story.stack.ok("destroy", "--yes", "--skip-preview")
    said = story.stack.refused("preview").stdout
    for variable in VARIABLES:
        assert (
            f"`aws secretsmanager delete-secret --secret-id {PREFIX}{variable} --force-delete-without-recovery "
            f"--region {REGION} --endpoint-url {cloud.url}`"
        ) in said
    assert "secrets.prefix" in said
    for variable in VARIABLES:
        cloud.client.delete_secret(SecretId=PREFIX + variable, ForceDeleteWithoutRecovery=True)
    story.stack.up("--config=generation=0")
    assert all(cloud.is_empty(variable) for variable in VARIABLES)
