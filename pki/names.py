"""Names in certificates: normal form, and which SAN covers which dialled name.

The rules are RFC 5280 §4.2.1.6 (what a dNSName is), RFC 1123 §2.1 (letters, digits, hyphens) and RFC 6125 §6.4.3
(a wildcard is the whole leftmost label and stands for exactly one label). An IP address is never matched by a dNSName.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_MAX_DNS_NAME = 253

# IDNA 2003, which Python speaks, and IDNA 2008 map these differently (RFC 5894 §7.2): the certificate would carry
# another name than the client dials.
_AMBIGUOUS_IN_IDNA = frozenset("ßς\u200c\u200d")


class NotAName(ValueError):
    """The text can't stand in a certificate. `value` is the text, `why` what is wrong with it."""

    def __init__(self, value: str, why: str) -> None:
        super().__init__(f"{value!r} is neither a DNS name nor an IP address: {why}")
        self.value = value
        self.why = why


def parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    """The address that the text spells, or None. A zone (`fe80::1%eth0`) has no place in a certificate."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else address


def normalise(text: str) -> str:
    """The normal form: an address compressed, a DNS name in lower case and A-labels, without the root's dot.

    Raises NotAName.
    """
    address = parse_ip(text)
    return str(address) if address is not None else _normalise_dns(text)


def normalise_all(texts: Iterable[str]) -> tuple[str, ...]:
    """All in normal form, sorted, each once. Raises NotAName for the first that is no name."""
    return tuple(sorted({normalise(text) for text in texts}))


def covers(san: str, dialled: str) -> bool:
    """Whether a SAN (in normal form) covers a name (in normal form) that a client dials."""
    if san == dialled:
        return True
    if parse_ip(dialled) is not None or not san.startswith("*."):
        return False
    leftmost, _, rest = dialled.partition(".")
    # A wildcard does not match an A-label: RFC 6125 leaves it open, and strict clients refuse.
    return rest == san[2:] and not leftmost.startswith("xn--")


def _normalise_dns(text: str) -> str:
    name = text.removesuffix(".")
    if not name:
        raise NotAName(text, "it is empty")
    if not name.isascii():
        name = _to_a_labels(text, name)
    name = name.lower()
    if len(name) > _MAX_DNS_NAME:
        raise NotAName(text, f"it has {len(name)} characters; a DNS name has at most {_MAX_DNS_NAME}")
    labels = name.split(".")
    if labels[0] == "*":
        if len(labels) < 3:
            raise NotAName(text, "a wildcard needs at least two labels after it, such as *.lab.internal")
        labels = labels[1:]
    for label in labels:
        _check_label(text, label)
    if labels[-1].isdigit():
        raise NotAName(text, "its last label is a number, which no DNS name ends in")
    return name


def _check_label(text: str, label: str) -> None:
    if not label:
        raise NotAName(text, "it has an empty label")
    if "*" in label:
        raise NotAName(text, "a wildcard is the whole leftmost label, such as *.lab.internal")
    if not _LABEL.fullmatch(label):
        raise NotAName(text, f"{label!r} is not 1 to 63 letters, digits and inner hyphens")
    if label.startswith("xn--"):
        try:
            label.encode("ascii").decode("idna")
        except UnicodeError:
            raise NotAName(text, f"{label!r} is no valid A-label") from None


def _to_a_labels(text: str, name: str) -> str:
    if _AMBIGUOUS_IN_IDNA & set(name):
        raise NotAName(text, "its internationalised form is ambiguous; write it in its xn-- form")
    wildcard, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return wildcard + rest.encode("idna").decode("ascii")
    except UnicodeError:
        raise NotAName(text, "it has no internationalised (IDNA) form") from None
