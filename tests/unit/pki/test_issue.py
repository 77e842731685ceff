"""What the issued certificates say."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pki import keys
from pki.inspection import inspect, load
from pki.issue import AUTHORITY_LIFETIME, BACKDATED, AuthorityExpires, issue_server
from pki.request import KEY_TYPES, CertificateRequest
from tests.unit.pki.moments import NAMES, NOW, authority, server


def extension(pem: str, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return load(pem).extensions.get_extension_for_class(kind)


def test_authority_is_a_p256_root_for_ten_years_that_signs_leaves_only() -> None:
    info = inspect(authority().certificate_pem)
    assert (info.key_type, info.is_ca, info.names) == ("ecdsa-p256", True, ())
    assert info.subject == info.issuer == "CN=lab CA"
    assert (info.not_before, info.not_after) == (NOW - BACKDATED, NOW + AUTHORITY_LIFETIME)
    constraints = extension(authority().certificate_pem, x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)


def test_authoritys_key_may_sign_certificates_and_crls_and_nothing_else() -> None:
    usage = extension(authority().certificate_pem, x509.KeyUsage)
    assert usage.critical
    assert isinstance(usage.value, x509.KeyUsage)
    allowed = {name for name, value in vars_of(usage.value).items() if value}
    assert allowed == {"key_cert_sign", "crl_sign"}


def vars_of(usage: x509.KeyUsage) -> dict[str, bool]:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return {name: getattr(usage, name) for name in (*names, "key_cert_sign", "crl_sign")}


def test_leaf_is_for_servers_and_carries_every_name_as_its_own_kind() -> None:
    pem = server().certificate_pem
    info = inspect(pem)
    assert (info.names, info.is_ca, info.usages, info.issuer) == (NAMES, False, ("serverAuth",), "CN=lab CA")
    san = extension(pem, x509.SubjectAlternativeName).value
    assert isinstance(san, x509.SubjectAlternativeName)
    assert [str(address) for address in san.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    usage = extension(pem, x509.KeyUsage)
    assert usage.critical
    assert isinstance(usage.value, x509.KeyUsage)
    assert {name for name, value in vars_of(usage.value).items() if value} == {"digital_signature"}
    assert extension(pem, x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def test_leaf_names_its_authoritys_key_and_its_own() -> None:
    issuer_ski = extension(authority().certificate_pem, x509.SubjectKeyIdentifier).value
    aki = extension(server().certificate_pem, x509.AuthorityKeyIdentifier).value
    own_ski = extension(server().certificate_pem, x509.SubjectKeyIdentifier).value
    assert isinstance(issuer_ski, x509.SubjectKeyIdentifier)
    assert isinstance(aki, x509.AuthorityKeyIdentifier)
    assert aki.key_identifier == issuer_ski.digest
    assert own_ski != issuer_ski


def test_leaf_is_valid_for_the_days_asked_and_starts_five_minutes_early() -> None:
    info = inspect(server(days=90).certificate_pem)
    assert info.not_before == NOW - timedelta(minutes=5)
    assert info.not_after == NOW + timedelta(days=90)


@settings(max_examples=40, deadline=None)
@given(left=st.timedeltas(min_value=timedelta(), max_value=timedelta(days=1000)), days=st.integers(1, 825))
@example(left=timedelta(days=10), days=11)
@example(left=timedelta(days=10), days=10)
@example(left=timedelta(seconds=2), days=1)
@example(left=AUTHORITY_LIFETIME, days=825)
def test_leaf_always_ends_before_its_authority(left: timedelta, days: int) -> None:
    """`left` is how much of the authority's life is left when the leaf is issued."""
    age = AUTHORITY_LIFETIME - left
    request = CertificateRequest(names=("db.lab.internal",), days=days)
    end = inspect(authority().certificate_pem).not_after
    try:
        leaf = inspect(issue_server(authority(), request, now=NOW + age).certificate_pem)
    except AuthorityExpires:
        assert NOW + age >= end - timedelta(seconds=1)
        return
    assert leaf.not_before < NOW + age < leaf.not_after < end
    assert leaf.not_after <= NOW + age + timedelta(days=days)


def test_authority_without_time_left_issues_nothing_and_says_so() -> None:
    with pytest.raises(AuthorityExpires, match="a new authority is needed"):
        issue_server(authority(), CertificateRequest(names=NAMES), now=NOW + AUTHORITY_LIFETIME)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_every_key_type_gives_a_key_that_belongs_to_its_certificate(key_type: str) -> None:
    pair = server(key_type=key_type)
    assert inspect(pair.certificate_pem).key_type == key_type
    assert keys.from_pem(pair.key_pem).public_key() == load(pair.certificate_pem).public_key()
    assert pair.key_pem.startswith("-----BEGIN PRIVATE KEY-----\n")


def test_two_certificates_never_share_key_or_serial_number() -> None:
    request = CertificateRequest(names=NAMES)
    one, other = (issue_server(authority(), request, now=NOW) for _ in range(2))
    assert one.key_pem != other.key_pem
    assert inspect(one.certificate_pem).serial != inspect(other.certificate_pem).serial


def test_key_is_not_part_of_a_pairs_repr() -> None:
    body = server().key_pem.splitlines()[1]
    assert body not in repr(server())
    assert body not in str(server())
