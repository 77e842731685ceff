"""The providers behind the certificates, called as the engine calls them; and what the component registers."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
import pytest
from pulumi.dynamic import ResourceProvider
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.rpc import UNKNOWN

from components import key_material, passphrase
from components.certificates import AuthorityProvider, Certificates, ServerCertificateProvider, reason
from components.key_material import server_purpose
from pki.checks import check
from pki.inspection import inspect
from pki.request import CertificateRequest
from pki.sealing import unseal
from tests.components.recorder import record

PASSPHRASE = "a passphrase for tests"


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(passphrase.VARIABLES[0], PASSPHRASE)


@pytest.fixture(scope="module")
def authority() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(passphrase.VARIABLES[0], PASSPHRASE)
        outputs = AuthorityProvider().create({"common_name": "lab CA"}).outs
    assert outputs is not None
    return outputs


@pytest.fixture
def asked(authority: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a server certificate as the program gives them."""
    return {
        "names": ["db.lab.internal"],
        "key_type": "ecdsa-p256",
        "days": 397,
        "generation": "1",
        "ca_pem": authority["ca_pem"],
        "ca_sha256": authority["ca_sha256"],
        "ca_key_sealed": authority["key_sealed"],
    }


def over_the_wire(props: dict[str, Any]) -> dict[str, Any]:
    """What becomes of inputs on their way through the engine: nulls are dropped, numbers are floats."""
    return {key: float(value) if isinstance(value, int) else value for key, value in props.items() if value is not None}


def checked(olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    result = ServerCertificateProvider().check(olds, {**news, "certificate_pem": None, "__provider": "reference"})
    assert result.failures == []
    return over_the_wire(result.inputs)


def issued(props: dict[str, Any]) -> dict[str, Any]:
    outputs = ServerCertificateProvider().create(props).outs
    assert outputs is not None
    return over_the_wire(outputs)


def reissues(olds: dict[str, Any], news: dict[str, Any]) -> bool:
    changes = ServerCertificateProvider().diff("server-certificate", olds, news).changes
    assert changes is not None
    return changes


def test_first_certificate_is_a_working_pair_for_the_names_asked(
    authority: dict[str, Any], asked: dict[str, Any]
) -> None:
    outputs = issued(checked({}, asked))
    key = unseal(outputs["key_sealed"], passphrase=PASSPHRASE, purpose=server_purpose(outputs["certificate_sha256"]))
    info = check(
        ca_pem=authority["ca_pem"],
        certificate_pem=outputs["certificate_pem"],
        key_pem=key,
        dialled=asked["names"],
        now=datetime.now(UTC),
    )
    assert (outputs["certificate_sha256"], outputs["not_after"]) == (info.sha256, info.not_after.isoformat())
    assert outputs["reason"] == "first issue"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"names": ["db.lab.internal", "db2.internal"]}, "SAN added: db2.internal"),
        ({"names": ["db2.internal"]}, "SAN added: db2.internal, SAN removed: db.lab.internal"),
        ({"days": 90}, "days 397 → 90"),
        ({"key_type": "rsa-3072"}, "key type ecdsa-p256 → rsa-3072"),
        ({"generation": "2"}, "CERTIFICATE_GENERATION 1 → 2"),
        ({"generation": 2, "days": 90.0}, "days 397 → 90, CERTIFICATE_GENERATION 1 → 2"),
        ({"generation": UNKNOWN}, "CERTIFICATE_GENERATION 1 → known at up"),
        ({"ca_sha256": "0" * 64}, "the CA was replaced"),
        ({"ca_sha256": UNKNOWN, "ca_pem": UNKNOWN, "ca_key_sealed": UNKNOWN}, "the CA was replaced"),
    ],
)
def test_what_matters_reissues_and_says_why(asked: dict[str, Any], change: dict[str, Any], why: str) -> None:
    before = checked({}, asked)
    after = checked(before, asked | change)
    assert after["reason"] == why
    assert reissues(before, after)


def test_nothing_changed_keeps_the_reason_and_reissues_nothing(asked: dict[str, Any]) -> None:
    first = checked({}, asked)
    added = checked(first, asked | {"names": ["db.lab.internal", "db2.internal"]})
    again = checked(added, asked | {"names": ["db.lab.internal", "db2.internal"], "days": 397.0, "generation": 1})
    assert again["reason"] == "SAN added: db2.internal"
    assert again == added | {"generation": 1.0}
    assert not reissues(added, again)


def test_time_alone_never_reissues(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = checked({}, asked)
    state = issued(inputs)
    long_after = datetime.now(UTC) + timedelta(days=398)
    monkeypatch.setattr(key_material, "_now", lambda: long_after)
    assert inspect(state["certificate_pem"]).not_after < long_after
    assert not reissues(state, checked(inputs, asked))


def test_resealing_alone_never_reissues(asked: dict[str, Any]) -> None:
    inputs = checked({}, asked)
    assert not reissues(issued(inputs), checked(inputs, asked | {"ca_key_sealed": "sealed.v1.other"}))


def test_reissue_makes_a_new_key_under_the_same_ca(authority: dict[str, Any], asked: dict[str, Any]) -> None:
    first = issued(checked({}, asked))
    inputs = checked(checked({}, asked), asked | {"generation": "2"})
    second = ServerCertificateProvider().update("server-certificate", first, inputs).outs
    assert second is not None
    keys = {
        unseal(one["key_sealed"], passphrase=PASSPHRASE, purpose=server_purpose(one["certificate_sha256"]))
        for one in (first, second)
    }
    assert len(keys) == 2
    for one in (first, second):
        check(
            ca_pem=authority["ca_pem"],
            certificate_pem=one["certificate_pem"],
            key_pem=None,
            dialled=asked["names"],
            now=datetime.now(UTC),
        )


def test_authority_is_never_changed_and_keeps_its_subject() -> None:
    provider = AuthorityProvider()
    kept = provider.check({"common_name": "lab CA"}, {"common_name": "renamed CA", "ca_pem": None}).inputs
    assert kept == {"common_name": "lab CA"}
    assert provider.diff("id", {"common_name": "lab CA"}, {"common_name": "renamed CA"}).changes is False


def test_outputs_hold_no_key_in_the_clear(authority: dict[str, Any], asked: dict[str, Any]) -> None:
    for outputs in (authority, issued(checked({}, asked))):
        assert "PRIVATE KEY" not in json.dumps(outputs)
        assert outputs["key_sealed"].startswith("sealed.v1.")


def test_authoritys_key_does_not_open_under_another_passphrase_and_the_error_says_what_to_set(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(passphrase.VARIABLES[0], "another one")
    with pytest.raises(RuntimeError, match="Set INTERNAL_TLS_SEALING_PASSPHRASE to the passphrase that was in force"):
        ServerCertificateProvider().create(checked({}, asked))


def test_reason_of_an_unchanged_certificate_of_an_older_version_is_empty(asked: dict[str, Any]) -> None:
    assert reason(asked, asked) == ""


@pytest.mark.parametrize("kind", [AuthorityProvider, ServerCertificateProvider])
def test_state_refers_to_the_provider_by_name_so_that_code_may_change(kind: type[ResourceProvider]) -> None:
    reference = base64.b64decode(serialize_provider(kind()))
    assert kind.__name__.encode() in reference
    assert b"components.certificates" in reference
    assert len(reference) < 100, "the class itself is in there, not a reference to it"


def certificates_program() -> None:
    request = CertificateRequest(names=("db.lab.internal", "10.0.0.7"), days=90)
    Certificates("certificates", request, generation=pulumi.Output.from_input("2"))


MADE = {"ca_pem": "CA PEM", "ca_sha256": "ab" * 32, "key_sealed": "sealed.v1.ca"}


def test_component_asks_for_what_config_says_under_the_authority() -> None:
    recorded = record(certificates_program, Authority=MADE)
    assert recorded.inputs("certificates.authority")["common_name"] == "trial staging CA"
    given = recorded.inputs("certificates.server")
    assert {key: value for key, value in given.items() if value is not None} == {
        "names": ["10.0.0.7", "db.lab.internal"],
        "key_type": "ecdsa-p256",
        "days": 90,
        "generation": "2",
        "ca_pem": "CA PEM",
        "ca_sha256": "ab" * 32,
        "ca_key_sealed": "sealed.v1.ca",
    }


def test_resources_have_readable_types() -> None:
    recorded = record(certificates_program, Authority=MADE)
    assert {name: args.typ for name, args in recorded.resources.items()} == {
        "certificates": "internal-tls:index:Certificates",
        "certificates.authority": "pulumi-python:dynamic/tls:Authority",
        "certificates.server": "pulumi-python:dynamic/tls:ServerCertificate",
    }
