"""Looks for a private key in texts, in every form in which one leaks: PEM, base64 of PEM, and the bare number.

The needles are taken from the part of the key that is secret: a key's file also holds its public half, which is in
every certificate.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def needles(key_pem: str) -> dict[str, bytes]:
    """What must not be found, by the form that it is: for an ECDSA key in PEM."""
    key = load_pem_private_key(key_pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes(key.key_size // 8, "big")
    found = {"raw bytes": scalar, "hex": scalar.hex().encode(), "hex in capitals": scalar.hex().upper().encode()}
    for shift in range(3):
        found[f"base64, shifted by {shift}"] = _certain(b"\0" * shift + scalar, shift, shift + len(scalar))
    body = b"".join(key_pem.encode().splitlines()[1:-1])
    secret = found[f"base64, shifted by {_offset(body, scalar) % 3}"]
    start = body.index(secret)
    for number, line in enumerate(key_pem.encode().splitlines()[1:-1]):
        part = line[max(0, start - 64 * number) : max(0, start + len(secret) - 64 * number)]
        if len(part) >= 12:
            found[f"PEM, line {number + 1}"] = part
            where = key_pem.encode().index(part)
            found[f"base64 of PEM, line {number + 1}"] = _certain(key_pem.encode(), where, where + len(part))
    return found


def hits(texts: Mapping[str, bytes], key_pem: str) -> list[str]:
    """Where the key is found, and in which form."""
    wanted = needles(key_pem)
    return [f"{where}: {form}" for where, text in texts.items() for form, needle in wanted.items() if needle in text]


def _offset(body: bytes, scalar: bytes) -> int:
    return base64.b64decode(body).index(scalar)


def _certain(whole: bytes, start: int, end: int) -> bytes:
    """The characters of the base64 of `whole` that depend on nothing but the bytes from `start` to `end`."""
    first, last = -(-start * 8 // 6), end * 8 // 6
    return base64.b64encode(whole)[first:last]
