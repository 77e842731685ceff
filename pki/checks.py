"""What must hold before a certificate is served.

Each rule yields a typed problem that says what was asked, what is so and what to do. `problems` finds them all; `check`
raises them once. A check that rests on another (a signature by an issuer that is no authority) is made regardless, so
that one look tells everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki import keys
from pki.inspection import CertificateInfo, MalformedCertificate, describe_certificate, load
from pki.names import NotAName, covers, normalise
from pki.request import KEY_TYPES

_STORE_BOTH = "store the two that belong together, or reissue (raise CERTIFICATE_GENERATION)"


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason not to serve a certificate; `str()` is the sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Unreadable(Problem):
    """`what` (the CA certificate, the server certificate, the private key) is not what it should be."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; reissue (raise CERTIFICATE_GENERATION)"


@dataclass(frozen=True, slots=True)
class WrongIssuer(Problem):
    """The certificate names another issuer than the CA."""

    issuer: str
    authority: str

    def __str__(self) -> str:
        return f"the certificate's issuer is {self.issuer!r}, the CA is {self.authority!r}; {_STORE_BOTH}"


@dataclass(frozen=True, slots=True)
class WrongSignature(Problem):
    """The certificate names the CA as its issuer and was not signed by its key."""

    authority: str

    def __str__(self) -> str:
        return (
            f"the certificate's signature is not by the key of {self.authority!r}; store the two that belong together"
        )


@dataclass(frozen=True, slots=True)
class KeyMismatch(Problem):
    """The private key belongs to another certificate."""

    certificate_sha256: str

    def __str__(self) -> str:
        return f"the private key is not that of certificate {self.certificate_sha256[:12]}; {_STORE_BOTH}"


@dataclass(frozen=True, slots=True)
class NameNotCovered(Problem):
    """Clients dial a name that no SAN covers."""

    name: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        held = ", ".join(self.names) or "no SAN at all"
        return f"clients dial {self.name}, the certificate has {held}; add it to certificate.names and reissue"


@dataclass(frozen=True, slots=True)
class NotYetValid(Problem):
    """`what` starts after `now`."""

    what: str
    not_before: datetime
    now: datetime

    def __str__(self) -> str:
        return (
            f"{self.what} is valid from {self.not_before.isoformat()}, it is {self.now.isoformat()}; "
            "check this machine's clock"
        )


@dataclass(frozen=True, slots=True)
class Expired(Problem):
    """`what` ended before `now`."""

    what: str
    not_after: datetime
    now: datetime

    def __str__(self) -> str:
        return (
            f"{self.what} expired at {self.not_after.isoformat()}, it is {self.now.isoformat()}; "
            "reissue (raise CERTIFICATE_GENERATION)"
        )


@dataclass(frozen=True, slots=True)
class OutlivesIssuer(Problem):
    """The certificate does not end before its CA does."""

    not_after: datetime
    authority_not_after: datetime

    def __str__(self) -> str:
        return (
            f"the certificate's notAfter {self.not_after.isoformat()} is not before the CA's "
            f"{self.authority_not_after.isoformat()}; issue it for fewer days"
        )


@dataclass(frozen=True, slots=True)
class LeafIsAuthority(Problem):
    """The server's certificate could sign others."""

    subject: str

    def __str__(self) -> str:
        return f"the server certificate {self.subject!r} is a CA; serve a leaf, never the CA itself"


@dataclass(frozen=True, slots=True)
class IssuerIsNoAuthority(Problem):
    """The CA certificate has no CA flag."""

    subject: str

    def __str__(self) -> str:
        return (
            f"the CA certificate {self.subject!r} has no CA flag (basicConstraints CA:true); clients refuse the chain"
        )


@dataclass(frozen=True, slots=True)
class WeakKey(Problem):
    """`what` has a key below 112 bits of security."""

    what: str
    key_type: str

    def __str__(self) -> str:
        return f"{self.what} has a key of type {self.key_type}; use one of {', '.join(KEY_TYPES)}"


@dataclass(frozen=True, slots=True)
class NotForServers(Problem):
    """The certificate lacks the extended key usage serverAuth."""

    usages: tuple[str, ...]

    def __str__(self) -> str:
        held = ", ".join(self.usages) or "none"
        return f"the certificate's extended key usage is {held}; a server needs serverAuth: reissue it"


class CertificateError(ValueError):
    """The certificate must not be served; `problems` has every reason, not only the first."""

    def __init__(self, found: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in found))
        self.problems = found


_CA = "the CA certificate"
_LEAF = "the server certificate"
_KEY = "the private key"


def check(
    *, ca_pem: str, certificate_pem: str, key_pem: str | None, dialled: Iterable[str], now: datetime
) -> CertificateInfo:
    """The server certificate, checked; raises CertificateError with every problem that `problems` finds."""
    found = problems(ca_pem=ca_pem, certificate_pem=certificate_pem, key_pem=key_pem, dialled=dialled, now=now)
    if found:
        raise CertificateError(found)
    return describe_certificate(load(certificate_pem))


def problems(
    *, ca_pem: str, certificate_pem: str, key_pem: str | None, dialled: Iterable[str], now: datetime
) -> tuple[Problem, ...]:
    """Every reason not to serve this certificate for the names that clients dial; `()` where there is none.

    `key_pem` None leaves the key out, for those who have no access to it. `now` is aware.
    """
    found: list[Problem] = []
    authority = _readable(_CA, ca_pem, found)
    leaf = _readable(_LEAF, certificate_pem, found)
    if authority is not None:
        found += _authority_problems(describe_certificate(authority), now)
    if leaf is not None:
        found += _leaf_problems(describe_certificate(leaf), dialled, now)
    if authority is not None and leaf is not None:
        found += _chain_problems(leaf, authority)
    if key_pem is not None:
        found += _key_problems(key_pem, leaf)
    return tuple(found)


def _readable(what: str, pem: str, found: list[Problem]) -> x509.Certificate | None:
    try:
        certificate = load(pem)
        describe_certificate(certificate)
    except MalformedCertificate as error:
        found.append(Unreadable(what, str(error)))
        return None
    return certificate


def _authority_problems(authority: CertificateInfo, now: datetime) -> Iterator[Problem]:
    if not authority.is_ca:
        yield IssuerIsNoAuthority(authority.subject)
    yield from _common_problems(_CA, authority, now)


def _leaf_problems(leaf: CertificateInfo, dialled: Iterable[str], now: datetime) -> Iterator[Problem]:
    if leaf.is_ca:
        yield LeafIsAuthority(leaf.subject)
    if "serverAuth" not in leaf.usages:
        yield NotForServers(leaf.usages)
    for name in sorted(set(dialled)):
        if not _covered(name, leaf.names):
            yield NameNotCovered(name, leaf.names)
    yield from _common_problems(_LEAF, leaf, now)


def _common_problems(what: str, certificate: CertificateInfo, now: datetime) -> Iterator[Problem]:
    if now < certificate.not_before:
        yield NotYetValid(what, certificate.not_before, now)
    if now > certificate.not_after:
        yield Expired(what, certificate.not_after, now)
    if not keys.is_strong(certificate.key_type, certificate.key_bits):
        yield WeakKey(what, certificate.key_type)


def _chain_problems(leaf: x509.Certificate, authority: x509.Certificate) -> Iterator[Problem]:
    if leaf.not_valid_after_utc >= authority.not_valid_after_utc:
        yield OutlivesIssuer(leaf.not_valid_after_utc, authority.not_valid_after_utc)
    if leaf.issuer != authority.subject:
        yield WrongIssuer(leaf.issuer.rfc4514_string(), authority.subject.rfc4514_string())
        return
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):
        yield WrongSignature(authority.subject.rfc4514_string())


def _key_problems(key_pem: str, leaf: x509.Certificate | None) -> Iterator[Problem]:
    try:
        key = keys.from_pem(key_pem)
    except keys.MalformedKey as error:
        yield Unreadable(_KEY, str(error))
        return
    if leaf is not None:
        encoding = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if key.public_key().public_bytes(*encoding) != leaf.public_key().public_bytes(*encoding):
            yield KeyMismatch(describe_certificate(leaf).sha256)


def _covered(name: str, sans: tuple[str, ...]) -> bool:
    try:
        wanted = normalise(name)
    except NotAName:
        return False
    return any(covers(san.lower(), wanted) for san in sans)
