"""Private keys: generating them, and their PEM (PKCS#8, unencrypted)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_GENERATORS: Final[Mapping[str, Callable[[], PrivateKey]]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa-3072": lambda: rsa.generate_private_key(public_exponent=65537, key_size=3072),
}

_CURVES: Final[Mapping[str, str]] = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384", "secp521r1": "ecdsa-p521"}

_MIN_EC_BITS = 256
_MIN_RSA_BITS = 2048


class MalformedKey(ValueError):
    """The text is no private key in PEM that a server could use. The text itself is never part of the message."""


def generate(key_type: str) -> PrivateKey:
    """A new private key of one of `pki.request.KEY_TYPES`."""
    return _GENERATORS[key_type]()


def to_pem(key: PrivateKey) -> str:
    """The key as PKCS#8 in PEM, unencrypted: what Postgres, PgBouncer and Redis read."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def from_pem(pem: str) -> PrivateKey:
    """The key that a PEM holds. Raises MalformedKey, without a cause that could quote the text."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except Exception:  # the library's errors are of many types
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise MalformedKey("the private key is not an unencrypted ECDSA or RSA key in PEM")
    return key


def describe(key: PublicKeyTypes) -> tuple[str, int]:
    """A public key's type, such as `ecdsa-p256` or `rsa-3072`, and its size in bits (0: of an unknown kind)."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, key.curve.name), key.key_size
    return type(key).__name__, 0


def is_strong(key_type: str, bits: int) -> bool:
    """Whether a key is as strong as OpenSSL's security level 2 (112 bits) wants it: the level of Debian's servers."""
    return bits >= (_MIN_RSA_BITS if key_type.startswith("rsa-") else _MIN_EC_BITS)
