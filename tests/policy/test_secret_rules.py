"""`secrets`: no private key in any form where it could be read, and secrets as their environment wants them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from policy.certificate_rules import certificates
from policy.command_rules import INSTALLER, commands_are_safe, settings_are_declared
from policy.inputs import AUTHORITY, UNKNOWN, Resource
from policy.key_material import has_private_key
from policy.secret_rules import VARIABLES, plain_config, secrets
from rollout.render import CA_SECRET, CERTIFICATE_SECRET, KEY_SECRET
from tests.engine.leaks import hits
from tests.policy.resources import (
    NOW,
    authority,
    bundle,
    certificate,
    command,
    encoded,
    record,
    sealed,
    secret,
    seen,
    server,
    settings,
    version,
)
from tests.unit.rollout.declarations import CERTIFICATES, PREPARED

ISSUED = record(PREPARED, CERTIFICATES)
PROTECTED = record(PREPARED, CERTIFICATES, protected=True)

KEYS: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def forms() -> dict[str, str]:
    """Every key in every form in which one is written down."""
    found: dict[str, str] = {}
    for name, key in KEYS.items():
        pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        found |= {
            f"{name} PEM": pkcs8,
            f"{name} PEM in JSON": json.dumps({"key": pkcs8}),
            f"{name} PEM with CRLF": pkcs8.replace("\n", "\r\n"),
            f"{name} base64 of PEM": encoded(pkcs8),
            f"{name} base64 of PEM, one byte on": encoded(f"x{pkcs8}"),
            f"{name} base64 of PEM, two bytes on": encoded(f"xy{pkcs8}"),
            f"{name} base64 of PEM in lines": base64.encodebytes(pkcs8.encode()).decode(),
            f"{name} base64 of PEM in short lines": "\n".join(re.findall(".{1,8}", encoded(pkcs8))),
            f"{name} base64 of DER": base64.b64encode(der).decode(),
            f"{name} hex of DER": der.hex(),
            f"{name} hex of DER in capitals": der.hex().upper(),
            f"{name} openssh": key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
            f"{name} encrypted": key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            ).decode(),
        }
    for name in ("P-256", "P-384", "RSA"):
        old = KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        found[f"{name} traditional"] = old
    for name in ("P-256", "P-384"):
        der = KEYS[name].private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        found[f"{name} SEC 1 in base64"] = base64.b64encode(der).decode()
    return found


FORMS = forms()


@pytest.mark.parametrize("form", FORMS)
def test_a_private_key_is_found_in_every_form(form: str) -> None:
    assert has_private_key(FORMS[form])
    assert has_private_key(f"A=1\nKEY={FORMS[form]}\nB=2\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN PRIVATE KEY-----",
        "a private key in PEM begins with -----BEGIN PRIVATE KEY-----, set it with --secret",
        authority().certificate_pem,
        encoded(server().certificate_pem),
        settings(ISSUED, "database"),
        INSTALLER.read_text(),
        *(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            for key in KEYS.values()
        ),
    ],
    ids=lambda text: text[:24] or "nothing",
)
def test_what_is_no_private_key_is_let_through(text: str) -> None:
    assert not has_private_key(text)


@pytest.mark.parametrize(
    "inputs",
    [
        {"stdin": FORMS["P-256 PEM"]},
        {"create": f"echo '{FORMS['RSA PEM']}'"},
        {"connection": {"password": FORMS["P-256 base64 of PEM"]}},
        {"environment": {"KEY": FORMS["Ed25519 openssh"]}},
        {"triggers": [1, {"deep": [FORMS["P-384 base64 of DER"]]}]},
    ],
    ids=lambda inputs: next(iter(inputs)),
)
def test_a_private_key_in_any_input_is_refused_and_not_repeated(inputs: Mapping[str, Any]) -> None:
    (told,) = secrets(command("hosts.web", **inputs), seen(ISSUED))
    assert "holds a private key" in told
    assert not any(line in told for form in FORMS.values() for line in form.splitlines() if len(line) > 30)


def test_the_ssh_key_of_a_connection_is_where_it_belongs() -> None:
    key = FORMS["Ed25519 openssh"]
    good = command("hosts.web", connection={"privateKey": key, "proxy": {"privateKey": key}})
    assert secrets(good, seen(ISSUED)) == []
    elsewhere = Resource(kind="aws:ec2/instance:Instance", name="x", inputs={"connection": {"privateKey": key}})
    assert secrets(elsewhere, seen(ISSUED))


def test_config_that_the_engine_hands_to_the_dynamic_provider_is_judged_as_config() -> None:
    config = {"internal-tls:sshPrivateKey": FORMS["Ed25519 openssh"]}
    handed = Resource(kind="pulumi:providers:pulumi-python", name="default", inputs=config)
    assert secrets(handed, seen()) == []
    assert secrets(replace(handed, kind="pulumi:providers:aws"), seen())


def test_a_plain_key_in_the_stacks_config_is_refused() -> None:
    config = {"internal-tls:sshPrivateKey": FORMS["Ed25519 openssh"], "internal-tls:environment": "test"}
    assert plain_config(config, ["internal-tls:sshPrivateKey"]) == []
    (told,) = plain_config(config, [])
    assert "pulumi config set --secret sshPrivateKey" in told
    assert "BEGIN" not in told


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_three_secrets_pass(variable: str) -> None:
    assert secrets(secret(variable), seen(PROTECTED)) == []


def test_one_secret_a_variable() -> None:
    memory = seen(ISSUED)
    for variable in VARIABLES:
        assert secrets(secret(variable), memory) == []
    assert secrets(secret(CA_SECRET), memory) == []  # the same resource once more
    twice = replace(secret(CA_SECRET), name="again", urn="urn:again")
    assert "has a resource already" in secrets(twice, memory)[0]


@pytest.mark.parametrize("name", ["voiceai/test/ALL", "INTERNAL_CA_CRT_B64", UNKNOWN, None], ids=str)
def test_another_secret_is_refused(name: Any) -> None:
    assert "one secret a variable" in secrets(secret(CA_SECRET, name=name), seen(ISSUED))[0]


def test_a_secret_before_any_ledger_is_refused() -> None:
    assert "no accepted ledger" in secrets(secret(CA_SECRET), seen())[0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kmsKeyId": None}, "secrets.kmsKeyId"),
        ({"kmsKeyId": ""}, "secrets.kmsKeyId"),
        ({"recoveryWindowInDays": 0.0}, "secrets.recoveryWindowDays"),
        ({"recoveryWindowInDays": 6.0}, "secrets.recoveryWindowDays"),
        ({"recoveryWindowInDays": UNKNOWN}, "secrets.recoveryWindowDays"),
    ],
)
def test_a_protected_environment_wants_a_kms_key_and_a_recovery_window(changes: dict[str, Any], why: str) -> None:
    (told,) = secrets(secret(CA_SECRET, **changes), seen(PROTECTED))
    assert why in told
    assert secrets(secret(CA_SECRET, **changes), seen(ISSUED)) == []


def test_the_recovery_window_is_configurable_and_aws_default_counts() -> None:
    assert secrets(secret(CA_SECRET, recoveryWindowInDays=14.0), seen(PROTECTED), minimum_recovery_days=14) == []
    assert secrets(secret(CA_SECRET, recoveryWindowInDays=13.0), seen(PROTECTED), minimum_recovery_days=14)
    assert secrets(secret(CA_SECRET, recoveryWindowInDays=None), seen(PROTECTED), minimum_recovery_days=30) == []


def test_values_are_one_certificate_each() -> None:
    pem = server().certificate_pem
    for variable in (CA_SECRET, CERTIFICATE_SECRET):
        assert secrets(version(variable, encoded(pem)), seen(ISSUED)) == []
    for value in (pem, json.dumps({"a": encoded(pem)}), encoded("text"), "", None):
        assert "one secret a variable" in secrets(version(CA_SECRET, value), seen(ISSUED))[0]
    with_binary = version(CA_SECRET, encoded(pem))
    with_binary = replace(with_binary, inputs={**with_binary.inputs, "secretBinary": "AAAA"})
    assert secrets(with_binary, seen(ISSUED))
    nameless = replace(version(CA_SECRET, encoded(pem)), name="value")
    assert secrets(nameless, seen(ISSUED))


def test_the_private_key_is_no_ordinary_value() -> None:
    told = secrets(version(KEY_SECRET, encoded(server().key_pem)), seen(ISSUED))
    assert len(told) == 2
    assert hits({"told": "\n".join(told).encode()}, server().key_pem) == []
    assert secrets(version(KEY_SECRET, encoded(server().certificate_pem)), seen(ISSUED))


def test_a_value_that_is_unknown_passes_in_a_preview_of_a_certificate_and_nowhere_else() -> None:
    for resource in (version(CA_SECRET, UNKNOWN), sealed(UNKNOWN)):
        assert secrets(resource, seen(ISSUED, at_up=False)) == []
        assert secrets(resource, seen(ISSUED, at_up=True))
        assert secrets(resource, seen(record(PREPARED), at_up=False))


def test_what_is_delivered_is_sealed() -> None:
    assert secrets(sealed("sealed.v1.AAAA"), seen(ISSUED)) == []
    assert "not sealed" in secrets(sealed("AAAA"), seen(ISSUED))[0]
    assert len(secrets(sealed(server().key_pem), seen(ISSUED))) == 2


def test_keys_of_certificates_are_secret_outputs() -> None:
    good = certificate(ISSUED)
    assert secrets(good, seen(ISSUED)) == []
    assert "key_sealed" in secrets(replace(good, secret_outputs=()), seen(ISSUED))[0]


def test_a_protected_ca_is_asked_for_by_configuration_alone() -> None:
    ca = Resource(kind=AUTHORITY, name="ca", inputs={"common_name": "x"}, secret_outputs=("key_sealed",))
    assert secrets(ca, seen(ISSUED)) == []
    assert "protect=True" in secrets(ca, seen(ISSUED), protected_ca=True)[0]
    assert secrets(replace(ca, protect=True), seen(ISSUED), protected_ca=True) == []


def test_no_policy_repeats_a_key_that_it_meets() -> None:
    """Every policy is given resources that carry the server's key in the wrong places; what they say is scanned."""
    key = server().key_pem
    memory = seen(ISSUED)
    spoiled = [
        command("hosts.web", stdin=settings(ISSUED, "web") + key),
        command("hosts.web", stdin=settings(ISSUED, "web") + f"KEY={encoded(key)}\n", create=key, delete=key),
        command("hosts.web", stdin=key, connection={"hostKey": key, "privateKey": key}),
        command(key, environment={key: key}),
        bundle(stdin=encoded(key), create=key),
        version(KEY_SECRET, encoded(key)),
        version(CERTIFICATE_SECRET, encoded(key)),
        secret(CA_SECRET, name=key, kmsKeyId=key),
        sealed(key),
        certificate(ISSUED, names=[key]),
        certificate(ISSUED, key_type=key),
        certificate(ISSUED, days=key, reason=key),
        certificate(ISSUED, ca_pem=key),
    ]
    told = []
    for resource in spoiled:
        named = replace(resource, name="hosts.web" if resource.name == key else resource.name)
        told += secrets(named, memory) + settings_are_declared(named, memory) + commands_are_safe(named)
        told += certificates(named, memory, now=NOW)
    assert len(told) > len(spoiled)
    assert hits({sentence: sentence.encode() for sentence in told}, key) == []
