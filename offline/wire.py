"""Property values on the wire between the engine and a provider, and what may be done with them.

A secret stays wrapped from the request to the response: `Secret` has no readable repr, and only `plain` unwraps it.
The signatures are the SDK's (pulumi/runtime/rpc.py; sdk/go/common/resource/sig).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from google.protobuf.struct_pb2 import ListValue, Struct, Value

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  a type signature, the same in every Pulumi program
ASSET: Final = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Property: TypeAlias = Any
"""None, bool, float, str, Secret, UNKNOWN, a list or a dict of these; assets and archives are dicts with SIGNATURE."""

Properties: TypeAlias = dict[str, Property]


class _Unknown:
    """The value of an output that only an update will know."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that the engine encrypts in its state and hides in its output."""

    value: Property = field(repr=False)


def decode_struct(struct: Struct) -> Properties:
    """The properties in a request. Nulls are kept out, as a missing property and a null one mean the same."""
    decoded = {key: decode(value) for key, value in struct.fields.items()}
    return {key: value for key, value in decoded.items() if value is not None}


def decode(value: Value) -> Property:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_STRING else value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "number_value":
        return value.number_value
    if kind == "list_value":
        return [decode(item) for item in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE in fields and fields[SIGNATURE].string_value == SECRET:
            return Secret(decode(fields["value"]))
        return decode_struct(value.struct_value)
    return None


def encode_struct(properties: Mapping[str, Property]) -> Struct:
    """The opposite of decode_struct."""
    return Struct(fields={key: encode(value) for key, value in properties.items() if value is not None})


def encode(value: Property) -> Value:
    if value is None:
        return Value(null_value=0)  # type: ignore[arg-type]  # NULL_VALUE, whose stub is an enum type
    if value is UNKNOWN:
        return Value(string_value=UNKNOWN_STRING)
    if isinstance(value, Secret):
        return Value(struct_value=Struct(fields={SIGNATURE: encode(SECRET), "value": encode(value.value)}))
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int | float):
        return Value(number_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, list):
        return Value(list_value=ListValue(values=[encode(item) for item in value]))
    return Value(struct_value=encode_struct(value))


def plain(value: Property) -> Property:
    """The value without secret wrappers, at any depth: to be used, never to be returned or logged."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def has_unknown(value: Property) -> bool:
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    return value is UNKNOWN


def has_secret(value: Property) -> bool:
    if isinstance(value, list):
        return any(has_secret(item) for item in value)
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    return isinstance(value, Secret)


def is_asset(value: Property) -> bool:
    return isinstance(value, dict) and value.get(SIGNATURE) == ASSET


def is_archive(value: Property) -> bool:
    return isinstance(value, dict) and value.get(SIGNATURE) == ARCHIVE


def differences(old: Property, new: Property, path: str = "") -> dict[str, str]:
    """Changed property paths (`connection`, `triggers[0]`) -> 'add', 'delete' or 'update'.

    Secrets are compared whole, and a value that becomes secret has changed (PropertyValue.DeepEquals of the engine).
    """
    if old is None and new is None:
        return {}
    if old is None:
        return {path: "add"}
    if new is None:
        return {path: "delete"}
    if isinstance(old, list) and isinstance(new, list):
        longest = max(len(old), len(new))
        pairs = [
            (f"{path}[{index}]", old[index : index + 1] or [None], new[index : index + 1] or [None])
            for index in range(longest)
        ]
        return {key: kind for where, [a], [b] in pairs for key, kind in differences(a, b, where).items()}
    if isinstance(old, dict) and isinstance(new, dict) and SIGNATURE not in old and SIGNATURE not in new:
        prefix = f"{path}." if path else ""
        keys = [*old, *(key for key in new if key not in old)]
        return {
            where: kind
            for key in keys
            for where, kind in differences(old.get(key), new.get(key), f"{prefix}{key}").items()
        }
    return {} if old == new and old is not UNKNOWN else {path: "update"}
