"""What is done with private keys: made, sealed, opened, always inside a dynamic provider's process.

Imported by the providers only when one creates or updates. A preview makes no key, so it does not wait for
`cryptography` to load either.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from components.passphrase import sealing_passphrase
from pki.checks import check
from pki.inspection import inspect
from pki.issue import KeyPair, create_authority, issue_server
from pki.request import CertificateRequest
from pki.sealing import CannotOpen, seal, unseal


def new_authority(common_name: str) -> dict[str, Any]:
    """A new authority's outputs, its key sealed."""
    authority = create_authority(common_name, now=_now())
    info = inspect(authority.certificate_pem)
    return {
        "common_name": common_name,
        "ca_pem": authority.certificate_pem,
        "ca_sha256": info.sha256,
        "not_after": info.not_after.isoformat(),
        "key_sealed": seal(authority.key_pem, passphrase=sealing_passphrase(), purpose=_authority_purpose(info.sha256)),
    }


def issue(*, names: tuple[str, ...], key_type: str, days: int, ca_pem: str, ca_key_sealed: str) -> dict[str, Any]:
    """A new server certificate's outputs, its key sealed; checked as a whole before anything is returned.

    Raises RuntimeError where the authority's key does not open, and the typed errors of `pki`.
    """
    now, passphrase = _now(), sealing_passphrase()
    request = CertificateRequest(names=names, key_type=key_type, days=days)
    authority_key = _open(
        ca_key_sealed,
        passphrase=passphrase,
        purpose=_authority_purpose(inspect(ca_pem).sha256),
        what="the CA's private key",
        since="the CA was made",
    )
    issued = issue_server(KeyPair(certificate_pem=ca_pem, key_pem=authority_key), request, now=now)
    info = check(
        ca_pem=ca_pem,
        certificate_pem=issued.certificate_pem,
        key_pem=issued.key_pem,
        dialled=request.names,
        now=now,
    )
    return {
        "certificate_pem": issued.certificate_pem,
        "certificate_sha256": info.sha256,
        "not_after": info.not_after.isoformat(),
        "key_sealed": seal(issued.key_pem, passphrase=passphrase, purpose=server_purpose(info.sha256)),
    }


def open_server_key(sealed: str, certificate_sha256: str) -> str:
    """The server's private key in PEM. Raises RuntimeError where it does not open."""
    return _open(
        sealed,
        passphrase=sealing_passphrase(),
        purpose=server_purpose(certificate_sha256),
        what="the server's private key",
        since="the certificate was issued",
    )


def server_purpose(sha256: str) -> str:
    """What the server's key is sealed for: this one certificate, by its SHA-256."""
    return f"server {sha256}"


def _authority_purpose(sha256: str) -> str:
    return f"authority {sha256}"


def _open(sealed: str, *, passphrase: str, purpose: str, what: str, since: str) -> str:
    try:
        return unseal(sealed, passphrase=passphrase, purpose=purpose)
    except CannotOpen as error:
        raise RuntimeError(
            f"{what} in the stack's state does not open: {error}. Set INTERNAL_TLS_SEALING_PASSPHRASE to the "
            f"passphrase that was in force when {since}"
        ) from None


def _now() -> datetime:
    return datetime.now(UTC)
