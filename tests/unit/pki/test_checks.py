"""Each rule refuses what breaks it, accepts what does not, and all problems are told at once."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pki import checks, keys
from pki.checks import CertificateError, Problem, check, problems
from pki.issue import AUTHORITY_LIFETIME, create_authority, issue_server
from pki.request import CertificateRequest
from tests.unit.pki.moments import NAMES, NOW, authority, server


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question that has nothing to complain about, until a test changes one part."""

    ca_pem: str = authority().certificate_pem
    certificate_pem: str = server().certificate_pem
    key_pem: str | None = server().key_pem
    dialled: tuple[str, ...] = NAMES
    now: datetime = NOW


def found(**changes: object) -> list[type[Problem]]:
    asked = Asked(**changes)  # type: ignore[arg-type]
    return [type(problem) for problem in problems(**{one.name: getattr(asked, one.name) for one in fields(asked)})]


def handmade(key: keys.PrivateKey, *, ca: bool = False, lifetime: timedelta = timedelta(days=30)) -> str:
    """A certificate that `pki.issue` would never make, signed by the lab's CA."""
    issuer = x509.load_pem_x509_certificate(authority().certificate_pem.encode())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "handmade")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + lifetime)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(keys.from_pem(authority().key_pem), hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def test_issued_certificate_passes_and_check_returns_what_it_says() -> None:
    assert found() == []
    info = check(**vars(Asked()))
    assert info.names == NAMES


def test_certificate_of_another_ca_is_refused_by_its_issuers_name() -> None:
    assert found(ca_pem=authority("other CA").certificate_pem) == [checks.WrongIssuer]


def test_certificate_of_another_ca_of_the_same_name_is_refused_by_its_signature() -> None:
    twin = create_authority("lab CA", now=NOW)
    assert found(ca_pem=twin.certificate_pem) == [checks.WrongSignature]


def test_key_of_another_certificate_is_refused() -> None:
    assert found(key_pem=server(key_type="ecdsa-p384").key_pem) == [checks.KeyMismatch]


def test_key_may_be_left_out_by_those_who_cannot_read_it() -> None:
    assert found(key_pem=None) == []


def test_every_dialled_name_must_be_covered() -> None:
    asked = Asked(dialled=("db.lab.internal", "db9.lab.internal", "10.0.0.9", "no name"))
    missing = problems(**vars(asked))
    assert [(type(problem), getattr(problem, "name", None)) for problem in missing] == [
        (checks.NameNotCovered, "10.0.0.9"),
        (checks.NameNotCovered, "db9.lab.internal"),
        (checks.NameNotCovered, "no name"),
    ]


def test_dialled_name_may_be_covered_by_a_wildcard_and_spelled_in_capitals() -> None:
    pair = issue_server(authority(), CertificateRequest(names=("*.lab.internal",)), now=NOW)
    asked = {"certificate_pem": pair.certificate_pem, "key_pem": pair.key_pem}
    assert found(**asked, dialled=("DB.lab.internal",)) == []
    assert found(**asked, dialled=("lab.internal",)) == [checks.NameNotCovered]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(minutes=-5), []),
        (timedelta(minutes=-5, seconds=-1), [checks.NotYetValid, checks.NotYetValid]),
        (timedelta(days=397), []),
        (timedelta(days=397, seconds=1), [checks.Expired]),
        (AUTHORITY_LIFETIME + timedelta(seconds=1), [checks.Expired, checks.Expired]),
    ],
)
def test_validity_window_ends_and_starts_on_the_second(after: timedelta, expected: list[type[Problem]]) -> None:
    assert found(now=NOW + after) == expected


def test_leaf_that_is_a_ca_is_refused() -> None:
    assert checks.LeafIsAuthority in found(certificate_pem=authority().certificate_pem, key_pem=None, dialled=())


def test_issuer_that_is_no_ca_is_refused() -> None:
    assert checks.IssuerIsNoAuthority in found(ca_pem=server().certificate_pem)


def test_leaf_that_lives_as_long_as_its_ca_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = handmade(key, lifetime=AUTHORITY_LIFETIME)
    assert checks.OutlivesIssuer in found(certificate_pem=pem, key_pem=keys.to_pem(key))
    assert checks.OutlivesIssuer not in found(certificate_pem=handmade(key), key_pem=keys.to_pem(key))


def test_certificate_without_server_auth_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert found(certificate_pem=handmade(key), key_pem=keys.to_pem(key), dialled=()) == [checks.NotForServers]


@pytest.mark.parametrize(
    "weak",
    [
        lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024),
        lambda: ec.generate_private_key(ec.SECP192R1()),
    ],
    ids=["rsa-1024", "p192"],
)
def test_weak_key_is_refused(weak: Callable[[], keys.PrivateKey]) -> None:
    key = weak()
    assert checks.WeakKey in found(certificate_pem=handmade(key), key_pem=keys.to_pem(key))


@pytest.mark.parametrize("what", ["ca_pem", "certificate_pem", "key_pem"])
def test_unreadable_input_is_one_problem_and_the_rest_is_still_looked_at(what: str) -> None:
    assert found(**{what: "no PEM at all"}, dialled=()) == [checks.Unreadable]


def test_all_problems_are_raised_once_each_a_sentence_without_key_material() -> None:
    other = authority("other CA")
    asked = Asked(
        ca_pem=other.certificate_pem,
        key_pem=other.key_pem,
        dialled=("db9.lab.internal",),
        now=NOW + timedelta(days=400),
    )
    with pytest.raises(CertificateError) as refused:
        check(**vars(asked))
    kinds = [type(problem) for problem in refused.value.problems]
    assert kinds == [checks.NameNotCovered, checks.Expired, checks.WrongIssuer, checks.KeyMismatch]
    for problem in refused.value.problems:
        assert str(problem) in str(refused.value)
    assert "db9.lab.internal" in str(refused.value)
    assert other.key_pem.splitlines()[1][:12] not in f"{refused.value!r} {refused.value}"


def test_every_problem_is_a_sentence_with_the_way_out() -> None:
    examples = [
        checks.Unreadable("the private key", "it is none"),
        checks.WrongIssuer("CN=a", "CN=b"),
        checks.WrongSignature("CN=a"),
        checks.KeyMismatch("ab" * 32),
        checks.NameNotCovered("db", ()),
        checks.NotYetValid("the CA certificate", NOW, NOW),
        checks.Expired("the CA certificate", NOW, NOW),
        checks.OutlivesIssuer(NOW, NOW),
        checks.LeafIsAuthority("CN=a"),
        checks.IssuerIsNoAuthority("CN=a"),
        checks.WeakKey("the CA certificate", "rsa-1024"),
        checks.NotForServers(()),
    ]
    every = {kind for kind in vars(checks).values() if isinstance(kind, type) and issubclass(kind, Problem)}
    assert {type(example) for example in examples} == every - {Problem}
    for example in examples:
        said = str(example)
        assert ";" in said, said
        assert "\n" not in said
