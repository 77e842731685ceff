"""YAML as the Pulumi engine reads it, with the line where something is wrong.

PyYAML's own loader follows YAML 1.1 (`off` and `no` are booleans, `12:34` is a number, of two equal keys the last one
wins in silence). The engine's does not; a test compares the two on the engine.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from operate.errors import BadInput

_BOOLEANS = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGERS = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)|0[0-7_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+")
_FLOATS = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOTHING = re.compile(r"~|null|Null|NULL|")


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as the engine does. Dates stay text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the name is PyYAML's


for _tag, _pattern, _first in (
    ("bool", _BOOLEANS, "tTfF"),
    ("int", _INTEGERS, "-+0123456789"),
    ("float", _FLOATS, "-+.0123456789"),
    ("null", _NOTHING, ["~", "n", "N", ""]),
    ("merge", re.compile(r"<<"), "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern.pattern})$"), list(_first))


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    if re.fullmatch(r"0[0-7]+", text):
        return int(text, 8)
    return int(text, 0)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
            raise yaml.constructor.ConstructorError(None, None, f"{key.value} is written twice", key.start_mark)
        seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load(text: str, where: str) -> Any:
    """The document in `text`, None for an empty one; `where` names it in a `BadInput`, with the line."""
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer resolvers
        json.dumps(document, skipkeys=True)  # a `!!set` or `!!binary` is nothing that config can be
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise BadInput(f"{where}{line}: it is not YAML: {error.problem}; correct that line") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"{where}: it is not YAML that config can be: {first}; correct it") from None
    return document
