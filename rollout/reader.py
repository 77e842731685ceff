"""Reading untrusted config: values are taken one by one, and every problem is kept with its key."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_SWITCHED = {"off": 0, "false": 0, "on": 1, "true": 1}

_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.@-]+"
ABSOLUTE_PATH = re.compile(rf"(?:/{_PART})+")
"""A path that means the same to every shell and parser that it passes through."""
PLAIN_PATH = re.compile(rf"/?{_PART}(?:/{_PART})*")
"""The same, relative ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with the config: `key` is where, `text` what was asked, what is so, what to do."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


class ConfigError(Exception):
    """Everything that is wrong with a stack's config."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class Reader:
    """Collects problems while values are read; every `take_*` returns something usable so that reading goes on."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, key: str, text: str) -> None:
        self.problems.append(Problem(key=key, text=text))

    def unknown(self, where: str, names: Iterable[str], known: Iterable[str], kind: str) -> None:
        known = sorted(known)
        for name in names:
            if name in known:
                continue
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            self.wrong(f"{where}{name}", f"there is no such {kind}; {hint}")

    def mapping(self, key: str, value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(key, "a map of names to values is wanted")
            return {}
        return {str(name): inner for name, inner in value.items()}

    def words(self, key: str, value: Any) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong(key, "a list of names is wanted")
            return ()
        return tuple(value)

    def text(
        self,
        key: str,
        value: Any,
        *,
        pattern: re.Pattern[str],
        wanted: str,
        default: str | None = None,
        secret: bool = False,
    ) -> str:
        if value is None or value == "":
            if default is None:
                self.wrong(key, f"it is missing; set it to {wanted}")
            return default or ""
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.wrong(key, f"{'what is set' if secret else shown(value)} is not {wanted}")
            return default or ""
        return value

    def count(self, key: str, value: Any, *, allowed: range | tuple[int, ...], default: int) -> int:
        if value is None:
            return default
        number = whole(value)
        if number is None or number not in allowed:
            self.wrong(key, f"{shown(value)} is not a whole number {span(allowed)}")
            return default
        return number

    def choice(self, key: str, value: Any, *, values: tuple[str, ...], default: str) -> str:
        """One of `values` in their own words; `values` empty is a count."""
        if value is None:
            return default
        word = spoken(values, value)
        if word is None:
            wanted = f"one of {', '.join(values)}" if values else "a whole number from 0 on"
            self.wrong(key, f"{shown(value)} is not {wanted}")
            return default
        return word


def spoken(values: tuple[str, ...], value: Any) -> str | None:
    """`value` in the words of `values`, None where it is none of them.

    YAML's `on` and `true`, and those words as text in any case, mean the same: whichever the table says.
    """
    if not values:
        number = whole(value)
        return str(number) if number is not None and number >= 0 else None
    word = str(value).lower() if isinstance(value, bool | str) else ""
    if word in _SWITCHED and set(values) <= _SWITCHED.keys():
        return values[_SWITCHED[word]]
    return word if word in values else None


def decoded(text: str) -> Any:
    """A structured value from its JSON; any other text as it is."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value):
        return int(value)
    return None


def span(allowed: range | tuple[int, ...]) -> str:
    if isinstance(allowed, range):
        return f"from {allowed[0]} to {allowed[-1]}"
    return f"of {allowed[0]}, or from {allowed[1]} to {allowed[-1]}"


def shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(text if len(text) <= 60 else text[:57] + "…")
