"""A stack's file as config: the text of `Pulumi.<environment>.yaml` to what the program itself would be given.

The values come to `rollout.config.parse` exactly as `components.stack_config` hands them over: keys of the project's
namespace, text as the engine writes it, the project's defaults beneath. Encrypted values (`secure:`) are not read.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from operate.errors import BadInput
from operate.source import LADDER, PROJECT, Version, stack_file
from operate.yaml_text import load
from rollout.config import Configuration, parse
from rollout.reader import ConfigError, Problem

SECRET = ("sshPrivateKey",)
"""What may be encrypted: nothing that the rules look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFile:
    """One environment's file, read. `configuration` is None where there are `problems`.

    `sealed` are the encrypted values, unread: only whether they differ can be told.
    """

    environment: str
    configuration: Configuration | None
    problems: tuple[Problem, ...] = ()
    sealed: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What stack files build on: the namespace of their keys, and the defaults as text."""

    namespace: str
    defaults: Mapping[str, str]


def read_stack_file(version: Version, environment: str) -> StackFile:
    """The environment's file in this version, parsed; raises `BadInput` where it is no YAML."""
    where = f"{version.name}: {stack_file(environment)}" if not version.one else version.name
    project = read_project(version)
    raw = _config(load(version.stacks[environment], where), where)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        namespace, colon, name = key.partition(":")
        if not colon or namespace == project.namespace:
            values[name if colon else key] = value
    sealed = {name: as_text(value) for name, value in values.items() if any(_sealed(name, value))}
    unread = {key for name, value in values.items() for key in _sealed(name, value) if key not in SECRET}
    problems = [*_of_no_namespace(raw, project.namespace)]
    problems += [
        Problem(
            key=key,
            text="it is encrypted, so that nobody can check it beforehand; only "
            f"{', '.join(SECRET)} is a secret here: `pulumi config set` it without --secret",
        )
        for key in sorted(unread)
    ]
    plain = {name: as_text(value) for name, value in values.items() if name not in sealed}
    configuration = None
    try:
        configuration = parse({**project.defaults, **plain})
    except ConfigError as error:
        problems += [problem for problem in error.problems if problem.key not in unread]
    return StackFile(
        environment=environment,
        configuration=None if problems else configuration,
        problems=tuple(problems),
        sealed=sealed,
    )


def read_project(version: Version) -> Project:
    """The project that Pulumi.yaml describes; without one, this project's name and no defaults."""
    where = f"{version.name}: {PROJECT}"
    document = load(version.project, where)
    if document is None:
        return Project(namespace="internal-tls", defaults={})
    if not isinstance(document, dict) or not isinstance(document.get("name"), str):
        raise BadInput(f"{where}: it has no `name`; it should be the project's Pulumi.yaml")
    schema = document.get("config") or {}
    if not isinstance(schema, dict):
        raise BadInput(f"{where}: `config` is no map")
    return Project(
        namespace=document["name"],
        defaults={
            str(key).removeprefix(f"{document['name']}:"): as_text(entry["default"])
            for key, entry in schema.items()
            if isinstance(entry, dict) and "default" in entry
        },
    )


def read_ladder(version: Version) -> tuple[str, ...]:
    """The environments in the order in which a step reaches them; () where no ladder is declared."""
    where = f"{version.name}: {LADDER}"
    document = load(version.ladder, where)
    if document is None:
        return ()
    names = document.get("ladder") if isinstance(document, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise BadInput(f"{where}: write `ladder: [staging, production]`, each environment once, the first one first")
    return tuple(names)


def as_text(value: Any) -> str:
    """A value as the engine hands it to the program: text as it is, everything else as JSON, nothing as ""."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _config(document: Any, where: str) -> dict[str, Any]:
    config = document.get("config") if isinstance(document, dict) else None
    if document is None or (isinstance(document, dict) and config is None):
        return {}
    if not isinstance(config, dict):
        raise BadInput(f"{where}: it is not a stack's file; its values stand below `config:`, a key a line")
    return {str(key): value for key, value in config.items()}


def _of_no_namespace(raw: Mapping[str, Any], namespace: str) -> Iterator[Problem]:
    """Keys that the engine would pass by in silence: their namespace is the project's, misspelled."""
    for key in raw:
        given, _, name = key.rpartition(":")
        if given not in ("", namespace) and difflib.get_close_matches(given, [namespace], cutoff=0.8):
            yield Problem(key=key, text=f"nothing reads a key of {given}; did you mean {namespace}:{name}?")


def _sealed(where: str, value: Any) -> Iterator[str]:
    """The keys below `where` whose value is encrypted."""
    if isinstance(value, dict):
        if value.keys() == {"secure"}:
            yield where
            return
        for name, inner in value.items():
            yield from _sealed(f"{where}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _sealed(where, inner)
