"""A sealed text opens under its passphrase and for its purpose, and tells nothing otherwise."""

import pytest

from pki.sealing import CannotOpen, seal, unseal

PLAIN = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----\n"


def test_sealed_text_opens_again() -> None:
    sealed = seal(PLAIN, passphrase="pass", purpose="server 12")
    assert unseal(sealed, passphrase="pass", purpose="server 12") == PLAIN
    assert "\n" not in sealed
    assert "MIGHAgEA" not in sealed


@pytest.mark.parametrize(("passphrase", "purpose"), [("other", "server 12"), ("pass", "server 13")])
def test_sealed_text_does_not_open_otherwise(passphrase: str, purpose: str) -> None:
    sealed = seal(PLAIN, passphrase="pass", purpose="server 12")
    with pytest.raises(CannotOpen, match="another passphrase"):
        unseal(sealed, passphrase=passphrase, purpose=purpose)


def test_every_seal_differs() -> None:
    assert len({seal(PLAIN, passphrase="pass", purpose="p") for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-8] + ("AAAAAAA=" if text[-8:] != "AAAAAAA=" else "BBBBBBB="),
        lambda text: text[:40],
        lambda text: text[:10],
        lambda text: text.removeprefix("sealed."),
        lambda text: text[:20] + "!" + text[20:],
    ],
    ids=["changed", "cut", "cut short", "no mark", "not base64"],
)
def test_damaged_text_does_not_open(change) -> None:  # type: ignore[no-untyped-def]
    damaged = change(seal(PLAIN, passphrase="pass", purpose="p"))
    with pytest.raises(CannotOpen):
        unseal(damaged, passphrase="pass", purpose="p")
