"""What may stand in a certificate as a name, and what it covers."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.names import NotAName, covers, normalise, normalise_all

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda text: text[2:4] != "--")
DNS_NAMES = (
    st.lists(LABELS, min_size=1, max_size=5).map(".".join).filter(lambda text: not text.split(".")[-1].isdigit())
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("DB.Lab.Internal", "db.lab.internal"),
        ("db.lab.internal.", "db.lab.internal"),
        ("voiceai-postgres", "voiceai-postgres"),
        ("*.lab.internal", "*.lab.internal"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("10.0.0.7", "10.0.0.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("1.2.3.4.nip.io", "1.2.3.4.nip.io"),
    ],
)
def test_name_is_brought_into_normal_form(text: str, normal: str) -> None:
    assert normalise(text) == normal


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (".", "empty"),
        ("db lab", "letters"),
        ("db_1.lab.internal", "letters"),
        ("-db.lab.internal", "letters"),
        ("db..internal", "empty label"),
        ("db.lab.internal:5432", "letters"),
        ("postgres://db.lab.internal", "letters"),
        ("10.0.0.0/8", "letters"),
        ("10.0.0", "number"),
        ("256.1.1.1", "number"),
        ("fe80::1%eth0", "letters"),
        ("*", "wildcard"),
        ("*.internal", "wildcard"),
        ("db*.lab.internal", "leftmost label"),
        ("db.*.internal", "leftmost label"),
        ("xn--\u00e4.example", "IDNA"),
        ("xn--999999999.example", "A-label"),
        ("straße.example", "ambiguous"),
        ("a" * 64 + ".example", "1 to 63"),
        (".".join(["a" * 60] * 5), "at most 253"),
    ],
)
def test_text_that_is_no_name_is_refused_with_the_text_and_the_reason(text: str, why: str) -> None:
    with pytest.raises(NotAName, match=why) as refused:
        normalise(text)
    assert refused.value.value == text
    assert repr(text) in str(refused.value)


@given(st.text(max_size=40))
def test_any_text_is_normalised_or_refused_and_the_normal_form_is_stable(text: str) -> None:
    try:
        normal = normalise(text)
    except NotAName:
        return
    assert normalise(normal) == normal
    assert normal.isascii()


@given(st.ip_addresses())
def test_every_address_is_a_name_whatever_its_spelling(address: object) -> None:
    assert normalise(str(address).upper()) == str(ip_address(str(address)))


@given(st.lists(DNS_NAMES, max_size=6))
def test_order_and_repetition_of_names_do_not_matter(names: list[str]) -> None:
    assert normalise_all(names) == normalise_all([*reversed(names), *(name.upper() for name in names)])


@pytest.mark.parametrize(
    ("san", "dialled", "covered"),
    [
        ("db.lab.internal", "db.lab.internal", True),
        ("db.lab.internal", "db2.lab.internal", False),
        ("*.lab.internal", "db.lab.internal", True),
        ("*.lab.internal", "lab.internal", False),
        ("*.lab.internal", "a.db.lab.internal", False),
        ("*.lab.internal", "xn--bcher-kva.lab.internal", False),
        ("*.0.0.7", "10.0.0.7", False),
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.8", False),
    ],
)
def test_san_covers_what_clients_accept_and_nothing_else(san: str, dialled: str, covered: bool) -> None:
    assert covers(san, dialled) is covered


@given(DNS_NAMES, LABELS)
def test_wildcard_stands_for_exactly_one_label(name: str, label: str) -> None:
    assert covers(f"*.{name}", f"{label}.{name}")
    assert not covers(f"*.{name}", name)
    assert not covers(f"*.{name}", f"{label}.{label}.{name}")
