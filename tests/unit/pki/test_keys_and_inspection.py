"""Reading keys and certificates; what is wrong with one is told without quoting it."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pki.inspection import MalformedCertificate, inspect
from pki.keys import MalformedKey, from_pem, is_strong
from tests.unit.pki.moments import NOW, authority, server


def text_of(error: BaseException) -> str:
    chained = [error]
    while error_ := chained[-1].__cause__ or (None if chained[-1].__suppress_context__ else chained[-1].__context__):
        chained.append(error_)
    return " ".join(f"{one!r} {one}" for one in chained)


@pytest.mark.parametrize("damage", ["PRIVATE KEY-----\n", "", "!"], ids=["no end", "empty", "not base64"])
def test_malformed_key_is_refused_without_a_word_of_it(damage: str) -> None:
    body = server().key_pem.splitlines()[1]
    text = damage and server().key_pem.replace("-----END PRIVATE KEY-----\n", "").replace("A", damage, 1)
    with pytest.raises(MalformedKey) as refused:
        from_pem(text)
    assert body[:12] not in text_of(refused.value)


def test_key_of_another_kind_is_refused() -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(MalformedKey, match="ECDSA or RSA"):
        from_pem(pem)


def test_key_given_where_a_certificate_belongs_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(MalformedCertificate) as refused:
        inspect(server().key_pem)
    assert server().key_pem.splitlines()[1][:12] not in text_of(refused.value)


def test_inspection_tells_what_the_certificate_says() -> None:
    info = inspect(server().certificate_pem)
    assert info.sha256 == info.sha256.lower()
    assert len(info.sha256) == 64
    assert info.not_after.tzinfo is not None
    assert info.not_after > NOW
    assert info.key_bits == 256
    assert info.serial > 0
    assert inspect(authority().certificate_pem).usages == ()


@pytest.mark.parametrize(
    ("key_type", "bits", "strong"),
    [
        ("rsa-1024", 1024, False),
        ("rsa-2048", 2048, True),
        ("ecdsa-p256", 256, True),
        ("secp192r1", 192, False),
        ("Ed25519", 0, False),
    ],
)
def test_strength_is_openssls_security_level_two(key_type: str, bits: int, strong: bool) -> None:
    assert is_strong(key_type, bits) is strong
