"""What can be asked for, and the digest that tells requests apart."""

from typing import Any

import pytest

from pki.request import CertificateRequest, RequestError

USUAL: dict[str, Any] = {"names": ("db.lab.internal", "10.0.0.7"), "key_type": "ecdsa-p256", "days": 397}


def test_two_spellings_of_one_request_are_equal_and_have_one_digest() -> None:
    usual = CertificateRequest(**USUAL)
    other = CertificateRequest(names=("10.0.0.7", "DB.lab.internal.", "db.lab.internal"))
    assert usual == other
    assert usual.digest() == other.digest()
    assert usual.names == ("10.0.0.7", "db.lab.internal")


def test_digest_is_sixteen_hex_characters_and_never_changes_between_versions() -> None:
    # Hosts keep it: another value would look like a reissue that nobody asked for.
    assert CertificateRequest(**USUAL).digest() == "a8ed830df51396c1"


@pytest.mark.parametrize(
    "change",
    [{"names": ("db.lab.internal",)}, {"key_type": "rsa-3072"}, {"days": 90}],
    ids=lambda change: next(iter(change)),
)
def test_digest_changes_with_whatever_is_asked(change: dict[str, Any]) -> None:
    assert CertificateRequest(**{**USUAL, **change}).digest() != CertificateRequest(**USUAL).digest()


@pytest.mark.parametrize(
    ("change", "key", "quoted"),
    [
        ({"names": ("db lab",)}, "names", "'db lab'"),
        ({"names": ()}, "names", "at least one"),
        ({"key_type": "dsa"}, "keyType", "'dsa'"),
        ({"days": 0}, "days", "0"),
        ({"days": 826}, "days", "826"),
        ({"days": True}, "days", "True"),
        ({"days": 1.5}, "days", "1.5"),
    ],
)
def test_impossible_request_is_refused_naming_the_field_and_the_value(
    change: dict[str, Any], key: str, quoted: str
) -> None:
    with pytest.raises(RequestError) as refused:
        CertificateRequest(**{**USUAL, **change})
    [(where, text)] = refused.value.problems
    assert where == key
    assert quoted in text


def test_every_problem_of_a_request_is_told_at_once() -> None:
    with pytest.raises(RequestError) as refused:
        CertificateRequest(names=("db lab", "db.lab.internal", "10.0.0.0/8"), key_type="dsa", days=-1)
    assert [problem.key for problem in refused.value.problems] == ["names", "names", "keyType", "days"]
