"""The certificate authority, and the certificates that it signs.

Python 3.13's default TLS context verifies strictly (RFC 5280): an authority without a critical
`keyUsage=keyCertSign,cRLSign`, or a leaf without AKI, is refused. Everything that it wants is spelled out here.

Guaranteed: a leaf expires before its authority does, and starts `BACKDATED` before `now`, so that a host whose clock
is a little behind accepts it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki import keys
from pki.names import parse_ip
from pki.request import CertificateRequest

AUTHORITY_LIFETIME = timedelta(days=3650)
AUTHORITY_KEY_TYPE = "ecdsa-p256"
BACKDATED = timedelta(minutes=5)

SERVER_SUBJECT = "internal-tls server"
"""No host name on purpose: names stand in the SANs, and a client that falls back to the CN finds nothing there."""

# X.509 counts whole seconds.
_A_SECOND = timedelta(seconds=1)


class AuthorityExpires(ValueError):
    """The authority has no time left in which a leaf could be valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its private key, both in PEM. The key is not part of the `repr`."""

    certificate_pem: str
    key_pem: str = field(repr=False)


def create_authority(common_name: str, *, now: datetime) -> KeyPair:
    """A new authority that may sign leaves but no further authority. `now` is aware; it lives ten years."""
    key = keys.generate(AUTHORITY_KEY_TYPE)
    subject = _common_name(common_name)
    builder = _builder(
        subject=subject,
        issuer=subject,
        key=key.public_key(),
        not_before=now - BACKDATED,
        not_after=now + AUTHORITY_LIFETIME,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
    return _signed(builder, key=key, signer=key)


def issue_server(authority: KeyPair, request: CertificateRequest, *, now: datetime) -> KeyPair:
    """A new key and server certificate for what is asked, signed by the authority. `now` is aware.

    Raises AuthorityExpires where the authority has no time left, MalformedKey where its key is none.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem.encode("ascii"))
    key = keys.generate(request.key_type)
    builder = _builder(
        subject=_common_name(SERVER_SUBJECT),
        issuer=issuer.subject,
        key=key.public_key(),
        not_before=max(now - BACKDATED, issuer.not_valid_before_utc),
        not_after=_leaf_not_after(issuer, now=now, days=request.days),
    )
    issuer_ski = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_ski), False),
        (x509.SubjectAlternativeName([_general_name(name) for name in request.names]), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return _signed(builder, key=key, signer=keys.from_pem(authority.key_pem))


def _leaf_not_after(issuer: x509.Certificate, *, now: datetime, days: int) -> datetime:
    latest = issuer.not_valid_after_utc - _A_SECOND
    if latest <= now:
        raise AuthorityExpires(
            f"the authority's notAfter is {issuer.not_valid_after_utc.isoformat()}: no certificate can be issued that "
            "expires before it; a new authority is needed"
        )
    return min(now + timedelta(days=days), latest)


def _builder(
    *, subject: x509.Name, issuer: x509.Name, key: keys.PublicKey, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    """What every certificate has: names, validity, a random serial number and a SKI."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, *, key: keys.PrivateKey, signer: keys.PrivateKey) -> KeyPair:
    certificate = builder.sign(signer, hashes.SHA256())
    return KeyPair(certificate_pem=certificate.public_bytes(Encoding.PEM).decode("ascii"), key_pem=keys.to_pem(key))


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(name: str) -> x509.GeneralName:
    address: IPv4Address | IPv6Address | None = parse_ip(name)
    return x509.IPAddress(address) if address is not None else x509.DNSName(name)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
