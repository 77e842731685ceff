"""Finds private keys in text: PEM, base64 of PEM at any offset, and the DER of a key in base64 or hex.

What is looked for is what every such file has and nothing else does: the armour with a body behind it, and the
beginnings of PKCS#8 (RFC 5208: version 0, then the key's algorithm) and of SEC 1 (RFC 5915: version 1, then 32 bytes).
Nothing that is found is ever repeated. What a compressed archive holds is not seen.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

_ARMOUR = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:\\r|\\n|\s)+[A-Za-z0-9+/]{4}")

_DER = tuple(
    bytes.fromhex(text)
    for text in (
        "020100300d06092a864886f70d010101",  # PKCS#8, RSA
        "020100301306072a8648ce3d0201",  # PKCS#8, P-256
        "020100301006072a8648ce3d0201",  # PKCS#8, P-384 and P-521
        "020100300506032b6570",  # PKCS#8, Ed25519
        "30770201010420",  # SEC 1, P-256
        "3081a40201010430",  # SEC 1, P-384
    )
)


def _in_base64(part: bytes) -> Iterator[str]:
    """The characters that stand for `part` alone, for each of the three ways in which it may lie in base64."""
    for shift in range(3):
        first, last = -(-shift * 8 // 6), (shift + len(part)) * 8 // 6
        yield base64.b64encode(b"\0" * shift + part).decode()[first:last]


_NEEDLES = (
    *_in_base64(b"PRIVATE KEY-----"),
    *(form for part in _DER for form in _in_base64(part)),
    *(part.hex() for part in _DER),
)

_BREAKS = re.compile(r"\s+|\\r|\\n")


def has_private_key(text: str) -> bool:
    """Whether the text holds a private key. Line breaks inside base64 hide nothing."""
    if len(text) < 40:
        return False
    if _ARMOUR.search(text):
        return True
    whole = _BREAKS.sub("", text)
    return any(needle in whole for needle in _NEEDLES) or any(part.hex() in whole.lower() for part in _DER)
