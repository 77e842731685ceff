"""What the `aws` stand-in's resource types share: differences as Terraform's schema defines them, refreshed inputs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from offline.provider import Diff, Failure, unknown_inputs
from offline.secretsmanager import SecretsManager
from offline.wire import Properties, Property, differences, has_unknown, plain

Client = Callable[[], SecretsManager]
"""The configured client; raises ProviderError before Configure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A type's inputs. `computed`: AWS fills them in where the program does not; `replaces`: ForceNew."""

    type: str
    inputs: frozenset[str]
    required: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()

    def check(self, news: Properties) -> list[Failure]:
        missing = [
            Failure(f"{self.type}: missing required input {key!r}") for key in sorted(self.required - news.keys())
        ]
        return [*unknown_inputs(news, known=self.inputs, what=self.type), *missing]

    def diff(self, state: Properties, news: Properties) -> Diff:
        changes: dict[str, str] = {}
        for key in sorted(self.inputs):
            old, new = state.get(key), news.get(key)
            if (new is None and key in self.computed) or equivalent(key, old, new):
                continue
            changes |= differences(empty_as_none(old), empty_as_none(new), key)
        return Diff(
            changes=changes,
            replaces=frozenset(path for path in changes if path.split(".")[0].split("[")[0] in self.replaces),
        )


def empty_as_none(value: Property) -> Property:
    """Terraform knows no difference between an absent text or map and an empty one."""
    return None if value in ("", {}, []) else value


def equivalent(key: str, old: Property, new: Property) -> bool:
    """Equal but for secretness, and JSON policies whatever their layout."""
    if has_unknown(new):
        return False
    old, new = empty_as_none(plain(old)), empty_as_none(plain(new))
    return bool(old == new or (key == "policy" and same_json(old, new)))


def same_json(old: Property, new: Property) -> bool:
    try:
        return bool(json.loads(old) == json.loads(new))
    except (TypeError, ValueError):
        return False


def check_json(news: Properties, key: str, type: str) -> list[Failure]:
    value = news.get(key)
    if value is None or has_unknown(value):
        return []
    try:
        json.loads(plain(value))
    except (TypeError, ValueError):
        return [Failure(f"{type}: {key!r} contains an invalid JSON policy")]
    return []


def refreshed(inputs: Properties, state: Properties) -> Properties:
    """The inputs with what AWS has now; inputs that the program did not give stay away."""
    return {
        key: state[key] if key in state and not equivalent(key, state[key], value) else value
        for key, value in inputs.items()
    }


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: list[dict[str, Any]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}
