"""`certificates`: what is asked for, and what is there; the way back is never blocked by either."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from pki.issue import create_authority, issue_server
from pki.request import CertificateRequest
from policy.certificate_rules import certificates, decoded, fingerprint
from policy.inputs import UNKNOWN
from policy.seen import Seen
from rollout.ledger import Record, advance
from rollout.render import CA_SECRET, CERTIFICATE_SECRET
from tests.policy.resources import (
    NOW,
    asking,
    authority,
    certificate,
    encoded,
    record,
    seen,
    server,
    version,
)
from tests.unit.rollout.declarations import CERTIFICATES, NAMES, POSTGRES_OFFERS, PREPARED, REDIS_OFFERS, declared

ISSUED = record(PREPARED, CERTIFICATES)
OFFERED = record(PREPARED, CERTIFICATES, POSTGRES_OFFERS)
BACK = record(PREPARED, CERTIFICATES, POSTGRES_OFFERS, CERTIFICATES)
REISSUED = record(PREPARED, CERTIFICATES, {**CERTIFICATES, "gen": "2"})


def of_request(of: Record = ISSUED, *, now: datetime = NOW, minimum: int = 14, **changes: Any) -> list[str]:
    return certificates(certificate(of, **changes), seen(of), now=now, minimum_days=minimum)


def of_stored(
    pem: str = "", of: Record = OFFERED, *, now: datetime = NOW, minimum: int = 14, ca_pem: str = ""
) -> tuple[list[str], list[str]]:
    """What is refused of a certificate that Secrets Manager is given, and what is only noticed."""
    memory = seen(of)
    assert certificates(certificate(of, ca_pem=ca_pem or authority().certificate_pem), memory, now=NOW) == []
    given = version(CERTIFICATE_SECRET, encoded(pem or server().certificate_pem))
    told = certificates(given, memory, now=now, minimum_days=minimum)
    return told, memory.take_notices()


@pytest.mark.parametrize("of", [ISSUED, OFFERED, BACK, REISSUED], ids=["issued", "offered", "back", "reissued"])
def test_what_the_ledger_accepted_may_be_issued(of: Record) -> None:
    assert of_request(of) == []


@pytest.mark.parametrize("generation", [1, 1.0, "1"], ids=str)
def test_a_generation_is_the_same_however_it_is_written(generation: Any) -> None:
    assert of_request(generation=generation) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"names": ["db.internal"]}, "clients dial voiceai-postgres"),
        ({"names": ["*.db.internal", *NAMES]}, "not what the ledger accepted"),
        ({"names": []}, "at least one name"),
        ({"names": UNKNOWN}, "not known"),
        ({"key_type": "rsa-1024"}, "certificate.keyType"),
        ({"key_type": "rsa-3072"}, "not what the ledger accepted"),
        ({"days": 90}, "not what the ledger accepted"),
        ({"days": 0}, "certificate.days"),
        ({"days": 5000}, "certificate.days"),
        ({"days": UNKNOWN}, "not known"),
        ({"generation": "2"}, "not what the ledger accepted"),
        ({"generation": UNKNOWN}, "not known"),
        ({"reason": "the CA was replaced"}, "the CA was replaced"),
        ({"reason": UNKNOWN}, "not known"),
        ({"ca_pem": "no certificate"}, "no certificate"),
    ],
)
def test_what_was_not_accepted_may_not_be_issued(changes: dict[str, Any], why: str) -> None:
    told = of_request(**changes)
    assert any(why in sentence for sentence in told), told


def test_a_wildcard_covers_what_is_dialled() -> None:
    request = CertificateRequest(names=("*.lab.internal", *NAMES))
    wanted = asking(declared(**CERTIFICATES), request)
    wanted = replace(wanted, site=replace(wanted.site, dialed_names=("db.lab.internal",)))
    of = replace(ISSUED, attempted=wanted)
    assert of_request(of) == []
    deeper = replace(of, attempted=replace(wanted, site=replace(wanted.site, dialed_names=("a.b.lab.internal",))))
    assert "clients dial a.b.lab.internal" in of_request(deeper)[0]


def test_nothing_is_issued_without_a_ledger_or_at_generation_0() -> None:
    assert "no accepted ledger" in certificates(certificate(ISSUED), seen(), now=NOW)[0]
    assert "issues nothing" in of_request(record(PREPARED))[0]


def test_a_certificate_shorter_than_what_must_be_left_is_refused() -> None:
    assert of_request(minimum=397) == []
    assert "397, and 398 days must be left" in of_request(minimum=398)[0]


def test_what_is_issued_ends_before_its_ca() -> None:
    late = NOW + timedelta(days=3650 - 397)
    assert of_request(now=late - timedelta(days=2)) == []
    assert "would not end before its CA" in of_request(now=late)[0]
    assert "would not end before its CA" in of_request(REISSUED, now=late)[0]
    # Where nothing is issued, the CA's age blocks no other move.
    assert of_request(OFFERED, now=late) == []


def test_a_first_issue_is_left_to_the_provider_and_said_so() -> None:
    memory = seen(ISSUED, at_up=False)
    assert certificates(certificate(ISSUED, ca_pem=UNKNOWN), memory, now=NOW) == []
    assert "made at `up`" in memory.take_notices()[0]


def test_a_ca_that_is_made_after_the_first_issue_is_refused() -> None:
    told = certificates(certificate(OFFERED, ca_pem=UNKNOWN), seen(OFFERED, at_up=False), now=NOW)
    assert "the CA was replaced" in told[0]


def test_a_stored_certificate_that_clients_can_verify_passes() -> None:
    assert of_stored() == ([], [])


def test_a_stored_certificate_of_another_ca_is_refused() -> None:
    other = issue_server(create_authority("other", now=NOW), CertificateRequest(names=NAMES), now=NOW)
    assert "issuer" in of_stored(other.certificate_pem)[0][0]
    same_name = issue_server(create_authority("test CA", now=NOW), CertificateRequest(names=NAMES), now=NOW)
    assert "signature" in of_stored(same_name.certificate_pem)[0][0]


def test_a_stored_certificate_without_a_dialled_name_is_refused() -> None:
    (told,) = of_stored(server(names=NAMES[:-1]).certificate_pem)[0]
    assert "clients dial voiceai-redis" in told


def test_a_stored_ca_in_the_leafs_place_is_refused() -> None:
    told = of_stored(authority().certificate_pem)[0]
    assert any("is a CA" in sentence for sentence in told)
    assert any("serverAuth" in sentence for sentence in told)


def test_a_weak_leaf_is_refused() -> None:
    assert "key of type rsa-1024" in "\n".join(of_stored(weak())[0])


@pytest.mark.parametrize(
    ("days_later", "minimum", "refused"),
    [(380, 14, False), (384, 14, True), (384, 5, False), (380, 30, True), (400, 0, True)],
)
def test_days_left_are_configurable(days_later: int, minimum: int, refused: bool) -> None:
    told, _ = of_stored(now=NOW + timedelta(days=days_later), minimum=minimum)
    assert bool(told) is refused
    if refused:
        assert "CERTIFICATE_GENERATION" in told[0]


@pytest.mark.parametrize("days_later", [390, 400], ids=["ends soon", "expired"])
def test_the_way_back_is_not_blocked_by_a_certificate_and_it_is_said(days_later: int) -> None:
    told, notices = of_stored(of=BACK, now=NOW + timedelta(days=days_later))
    assert told == []
    assert notices


def test_a_resumed_way_back_is_not_blocked_either() -> None:
    pending = advance(OFFERED, asking(declared(**{**POSTGRES_OFFERS, "redis": "true"})), dict(OFFERED.revisions))
    back = advance(pending, asking(declared(**POSTGRES_OFFERS)), dict(OFFERED.revisions))
    assert of_stored(of=back, now=NOW + timedelta(days=400))[0] == []
    forward = record(PREPARED, CERTIFICATES, REDIS_OFFERS)
    assert of_stored(of=forward, now=NOW + timedelta(days=400))[0]


def test_a_stored_certificate_without_its_ca_seen_is_refused() -> None:
    given = version(CERTIFICATE_SECRET, encoded(server().certificate_pem))
    assert "were not seen" in certificates(given, seen(OFFERED), now=NOW)[0]


def test_the_stored_ca_is_the_one_that_issues() -> None:
    memory = seen(OFFERED)
    certificates(certificate(OFFERED), memory, now=NOW)
    assert certificates(version(CA_SECRET, encoded(authority().certificate_pem)), memory, now=NOW) == []
    other = create_authority("other", now=NOW).certificate_pem
    assert "not the CA that issues" in certificates(version(CA_SECRET, encoded(other)), memory, now=NOW)[0]


def test_an_unknown_value_is_left_to_up() -> None:
    assert certificates(version(CERTIFICATE_SECRET, UNKNOWN), seen(ISSUED, at_up=False), now=NOW) == []


def test_fingerprints_are_those_of_the_library() -> None:
    pem = server().certificate_pem
    from pki.inspection import inspect

    assert fingerprint(pem) == inspect(pem).sha256
    assert fingerprint("nothing") == ""


def test_only_certificates_are_decoded() -> None:
    pem = server().certificate_pem
    assert decoded(encoded(pem)) == pem
    for other in ("", "plain", pem, encoded("text"), encoded(pem + server().key_pem), encoded(pem + "more"), None):
        assert decoded(other) is None


def test_the_rules_are_imported_without_the_library_that_reads_certificates() -> None:
    code = (
        "import sys; from policy import certificate_rules, command_rules, ledger_rules, secret_rules; "
        "print(*(name for name in ('cryptography', 'pulumi', 'boto3') if name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def weak() -> str:
    """A leaf of the test CA with an RSA key of 1024 bits, good in every other respect."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ca = x509.load_pem_x509_certificate(authority().certificate_pem.encode())
    key = load_pem_private_key(authority().key_pem.encode(), password=None)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=100))
        .public_key(rsa.generate_private_key(65537, 1024).public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    return leaf.public_bytes(Encoding.PEM).decode()


def test_the_memory_forgets_nothing_between_resources() -> None:
    memory: Seen = seen(OFFERED)
    certificates(certificate(OFFERED), memory, now=NOW)
    certificates(version(CERTIFICATE_SECRET, encoded(server().certificate_pem)), memory, now=NOW)
    assert memory.certificate_sha256 == fingerprint(server().certificate_pem)
    assert memory.ca_sha256 == fingerprint(authority().certificate_pem)
