"""A PEM certificate as a plain value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki.keys import describe

_USAGES = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}


class MalformedCertificate(ValueError):
    """The text is no certificate in PEM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateInfo:
    """What a certificate says. Times are aware, in UTC; `sha256` is that of its DER, in lower-case hex.

    `names` are the SANs (DNS names and addresses), sorted. `usages` are the extended key usages by name
    (`serverAuth`, `clientAuth`), others dotted. `key_bits` is 0 for a key of an unknown kind.
    """

    subject: str
    issuer: str
    serial: int
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    sha256: str
    is_ca: bool
    key_type: str
    key_bits: int
    usages: tuple[str, ...]


def inspect(pem: str) -> CertificateInfo:
    """The first certificate of a PEM. Raises MalformedCertificate."""
    return describe_certificate(load(pem))


def load(pem: str) -> x509.Certificate:
    """The first certificate of a PEM, as the library's object. Raises MalformedCertificate."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        # The library's message may quote what it was given, and someone may have given it a key.
        raise MalformedCertificate("the text is no certificate in PEM") from None


def describe_certificate(certificate: x509.Certificate) -> CertificateInfo:
    """What a certificate says. Raises MalformedCertificate where an extension can't be read."""
    try:
        key_type, key_bits = describe(certificate.public_key())
        extensions = certificate.extensions
    except ValueError as error:
        raise MalformedCertificate(f"the certificate can't be read: {error}") from None
    return CertificateInfo(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=certificate.serial_number,
        names=_names(extensions),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sha256=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        is_ca=_is_ca(extensions),
        key_type=key_type,
        key_bits=key_bits,
        usages=_usages(extensions),
    )


def _names(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        san = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in san.get_values_for_type(x509.IPAddress))
    return tuple(sorted({*san.get_values_for_type(x509.DNSName), *addresses}))


def _is_ca(extensions: x509.Extensions) -> bool:
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _usages(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(_USAGES.get(oid, oid.dotted_string) for oid in usages)
