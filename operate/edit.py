"""One variable of a stack's file changed, every other byte as it was. Pure: text in, text out.

`pulumi config set` writes the whole file anew: comments move, quotes and line ends change, and a pull request would
show more than the step. Here the scalar alone is replaced, in its own quotes, or one line is added where the variable
was not written yet. What comes out is read again, as the engine reads it: anything but this one value that differs is
refused.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from typing import Any

import yaml

from operate.errors import BadInput
from operate.yaml_text import load
from rollout.path import set_command

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def with_value(text: str, key: str, value: str, *, namespace: str, where: str) -> str:
    """The text with the step variable `key` (`apps.web.REDIS_TLS_ENABLED`) at `value`; raises `BadInput` where that
    can't be done in one line. `where` names the file."""
    parts = key.split(".")
    by_hand = (
        f"{where}: {key} can't be set in one line here; `{set_command(key, value)}` does it, and rewrites the file"
    )
    # A plain key is also taken without its namespace, as the program's own reader does.
    document = load(text, where)
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise BadInput(f"{where}: it has no `config:` to set {key} in; write its first values by `pulumi config set`")
    first = parts[0] if parts[0] in config else f"{namespace}:{parts[0]}"
    path = ["config", first, *parts[1:]]
    edited = _edited(text, path, value)
    if edited is None or not _is_good(edited, document, path, value, where):
        raise BadInput(by_hand)
    return edited


def diff(before: str, after: str, name: str) -> str:
    """The change as a unified diff that `git apply` takes."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=1
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _edited(text: str, path: list[str], value: str) -> str | None:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, part in enumerate(path):
        if not isinstance(node, yaml.MappingNode):
            return None
        following = next((v for k, v in node.value if isinstance(k, yaml.ScalarNode) and k.value == part), None)
        if following is None:
            return _added(text, node, path[depth:], value)
        node = following
    if not isinstance(node, yaml.ScalarNode) or node.style in ("|", ">"):
        return None
    return f"{text[: node.start_mark.index]}{_scalar(value, node)}{text[node.end_mark.index :]}"


def _scalar(value: str, node: yaml.ScalarNode) -> str:
    if node.style in ("'", '"'):
        return f"{node.style}{value}{node.style}"
    # An empty value (`KEY:`) stands right behind its colon.
    return value if node.start_mark.index != node.end_mark.index else f" {value}"


def _added(text: str, parent: yaml.MappingNode, rest: list[str], value: str) -> str | None:
    """The missing lines at the end of a block mapping, at the depth of its other keys; in `{…}` one more entry."""
    if not parent.value:
        return None
    if parent.flow_style:
        end = parent.value[-1][1].end_mark.index
        return f"{text[:end]}, {rest[0]}: {value}{text[end:]}" if len(rest) == 1 else None
    indent = parent.value[0][0].start_mark.column
    end = _last(parent.value[-1][1]).end_mark.index
    newline = "\r\n" if "\r\n" in text else "\n"
    if end > 0 and text[end - 1] != "\n":
        found = text.find("\n", end)
        if found < 0:
            text, found = text + newline, len(text) + len(newline) - 1
        end = found + 1
    lines = [f"{' ' * (indent + 2 * depth)}{part}:" for depth, part in enumerate(rest)]
    return f"{text[:end]}{newline.join(lines)} {value}{newline}{text[end:]}"


def _last(node: yaml.Node) -> yaml.Node:
    """The last scalar of a block: a block's own end is where the next token stands, comments passed over."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last(last[1] if isinstance(last, tuple) else last)
    return node


def _is_good(edited: str, document: Any, path: list[str], value: str, where: str) -> bool:
    try:
        return _differs_only(document, load(edited, where), path, value)
    except BadInput:
        # The value carried an anchor that another one refers to.
        return False


def _differs_only(before: Any, after: Any, path: list[str], value: str) -> bool:
    expected = copy.deepcopy(before)
    place = expected
    for part in path[:-1]:
        place = place.setdefault(part, {})
    found = after
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    place[path[-1]] = found
    said = found if isinstance(found, str) else json.dumps(found)
    return bool(expected == after and said == value and _PLAIN.fullmatch(value))
