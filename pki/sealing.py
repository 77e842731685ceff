"""A private key encrypted so that it may travel through a tool that logs.

Pulumi's engine prints every property in plaintext, secrets included, at `-v=9` (measured with 3.250: outputs, inputs
and even secret config; without `--logtostderr` the same goes to a file in the temporary directory). So a private key
never passes through the engine as such: what the state holds is sealed, and opened only inside the process that needs
the key.

AES-256-GCM under a key that scrypt derives from a passphrase, with a salt of its own for every sealed text. `purpose`
is authenticated along: a text that was sealed for one certificate does not open as another's.
"""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_FORMAT = "sealed.v1."
_SALT_BYTES = 16
_NONCE_BYTES = 12
_KEY_BYTES = 32

# 32 MiB and about 0.1 s here. The state is locked by the same passphrase through PBKDF2 (Pulumi's choice), which is
# cheaper to attack than this, so a higher cost would protect nothing more.
_COST = {"n": 2**15, "r": 8, "p": 1}


class CannotOpen(ValueError):
    """The text does not open: another passphrase, another purpose, or it was changed. Which, can't be told."""


def seal(plain: str, *, passphrase: str, purpose: str) -> str:
    """The text encrypted, as one line of ASCII. Two seals of one text differ."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    ciphertext = AESGCM(_derive(passphrase, salt)).encrypt(nonce, plain.encode(), purpose.encode())
    return _FORMAT + base64.b64encode(salt + nonce + ciphertext).decode("ascii")


def unseal(sealed: str, *, passphrase: str, purpose: str) -> str:
    """The text that `seal` was given. Raises CannotOpen."""
    if not sealed.startswith(_FORMAT):
        raise CannotOpen("the text was not sealed by this program")
    try:
        blob = base64.b64decode(sealed.removeprefix(_FORMAT), validate=True)
    except binascii.Error:
        raise CannotOpen("the sealed text is damaged") from None
    salt, nonce, ciphertext = blob[:_SALT_BYTES], blob[_SALT_BYTES:][:_NONCE_BYTES], blob[_SALT_BYTES + _NONCE_BYTES :]
    try:
        return AESGCM(_derive(passphrase, salt)).decrypt(nonce, ciphertext, purpose.encode()).decode()
    except (InvalidTag, ValueError):
        raise CannotOpen("sealed under another passphrase or for another certificate, or damaged since") from None


def _derive(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=_KEY_BYTES, **_COST).derive(passphrase.encode())
