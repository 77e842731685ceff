"""A resource as the pack sees it: plain data, with a value of its own where a preview does not know one yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

COMMAND: Final = "command:remote:Command"
LEDGER: Final = "pulumi-python:dynamic/tls:Ledger"
AUTHORITY: Final = "pulumi-python:dynamic/tls:Authority"
SERVER_CERTIFICATE: Final = "pulumi-python:dynamic/tls:ServerCertificate"
DYNAMIC_PROVIDER: Final = "pulumi:providers:pulumi-python"
SEALED_VERSION: Final = "pulumi-python:dynamic/tls:SealedSecretVersion"
SECRET: Final = "aws:secretsmanager/secret:Secret"  # noqa: S105  a type's name
SECRET_VERSION: Final = "aws:secretsmanager/secretVersion:SecretVersion"  # noqa: S105


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


class Unknown:
    """The one value of this type stands where a preview does not know a value yet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "known at up"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource before it is applied. `inputs` are those that its provider's `check` returned."""

    kind: str
    name: str
    inputs: Mapping[str, Any] = field(repr=False)
    urn: str = ""
    protect: bool = False
    secret_outputs: tuple[str, ...] = ()


def is_unknown(value: Any) -> bool:
    """Whether the value, or anything in it, is not known yet."""
    if isinstance(value, Mapping):
        return any(is_unknown(inner) for inner in value.values())
    if isinstance(value, list):
        return any(is_unknown(inner) for inner in value)
    return value is UNKNOWN


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in the value with its path (`connection.privateKey`, `names[0]`); maps' keys are texts too.

    A key that is no plain word shows as `…`: it may be anything.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            word = key if _WORD.fullmatch(key) else "…"
            where = f"{path}.{word}" if path else word
            yield where, key
            yield from texts(inner, where)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from texts(inner, f"{path}[{place}]")
    elif isinstance(value, str):
        yield path, value
