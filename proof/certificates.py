"""What a server may have on disk when it is told to serve TLS, and what the certificate's own rules say of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pki.checks import problems
from pki.issue import KeyPair, create_authority, issue_server
from pki.request import CertificateRequest

NAMES = ("voiceai-postgres", "voiceai-pgbouncer", "voiceai-redis")
"""What clients dial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The CA that clients trust, and a pair of each kind but `absent`."""

    ca_pem: str
    pairs: dict[str, KeyPair] = field(repr=False)

    def refusal(self, kind: str, now: datetime) -> str:
        """The first reason not to serve this pair to those clients, "" for none."""
        pair = self.pairs[kind]
        found = problems(
            ca_pem=self.ca_pem, certificate_pem=pair.certificate_pem, key_pem=pair.key_pem, dialled=NAMES, now=now
        )
        return str(found[0]) if found else ""


def material(now: datetime | None = None) -> Material:
    """Issued by `pki/`, whose checks judge them too: an expired one is a good one of a year ago."""
    now = now or datetime.now(UTC)
    long_ago = now - timedelta(days=400)
    authority = create_authority("internal CA", now=long_ago)
    # The same name, so that only the key tells them apart.
    other = create_authority("internal CA", now=long_ago)
    good, elsewhere = CertificateRequest(names=NAMES), CertificateRequest(names=("db.elsewhere.internal",))
    return Material(
        ca_pem=authority.certificate_pem,
        pairs={
            "good": issue_server(authority, good, now=now),
            "wrong SAN": issue_server(authority, elsewhere, now=now),
            "wrong CA": issue_server(other, good, now=now),
            "expired": issue_server(authority, CertificateRequest(names=NAMES, days=30), now=long_ago),
        },
    )
