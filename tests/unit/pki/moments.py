"""What the tests of `pki` share: a moment, a CA and a certificate (making keys is what takes time)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from pki.issue import KeyPair, create_authority, issue_server
from pki.request import CertificateRequest

NOW = datetime(2027, 3, 1, 12, 0, 0, tzinfo=UTC)
NAMES = ("10.0.0.7", "db.lab.internal", "voiceai-postgres", "voiceai-redis")


@cache
def authority(name: str = "lab CA") -> KeyPair:
    return create_authority(name, now=NOW)


@cache
def server(*, key_type: str = "ecdsa-p256", days: int = 397) -> KeyPair:
    return issue_server(authority(), CertificateRequest(names=NAMES, key_type=key_type, days=days), now=NOW)
