"""Between the policy SDK and the plain functions: a resource in, sentences out. Nothing else here knows `pulumi`.

* An input that is unknown becomes `UNKNOWN`; with the SDK's own proxies, touching one would end the policy as a notice.
* Secrets reach a policy in plaintext and without a mark (the SDK drops it), so no rule depends on one.
* An error in a check is a violation: nothing is let through unchecked. It is told by its type alone, because the text
  of an exception may quote what was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env
from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policy.inputs import LEDGER, UNKNOWN, Resource
from policy.key_material import has_private_key
from policy.ledger_rules import remember
from policy.seen import Seen

Settings = Mapping[str, Any]
Check = Callable[[Resource, Seen, Settings], list[str]]

_UNTOLD = "what is wrong here holds a private key and is not repeated; see what the policy `secrets` says of it"

STACK = "pulumi:pulumi:Stack"

_lock = RLock()
_seen: list[Seen] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy: `settings` maps what can be configured to its JSON schema, which has a default."""

    name: str
    description: str
    check: Check
    advisory: bool = False
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def registered(self) -> ResourceValidationPolicy:
        """As the SDK wants it."""

        def validate(args: ResourceValidationArgs, report: Callable[[str, str | None], None]) -> None:
            with _lock:
                for sentence in self._sentences(args):
                    report(sentence, None)

        return ResourceValidationPolicy(
            name=self.name,
            description=self.description,
            validate=validate,
            enforcement_level=EnforcementLevel.ADVISORY if self.advisory else EnforcementLevel.MANDATORY,
            config_schema=PolicyConfigSchema({key: dict(schema) for key, schema in self.settings.items()}),
        )

    def _sentences(self, args: ResourceValidationArgs) -> list[str]:
        defaults = {key: schema["default"] for key, schema in self.settings.items()}
        try:
            resource, memory = _resource(args), seen()
            if resource.kind == LEDGER:
                # Here and not in a policy: those that rest on it hold whichever of them are switched off.
                remember(resource, memory)
            found = self.check(resource, memory, {**defaults, **(args.get_config() or {})})
            return [_UNTOLD if has_private_key(sentence) else sentence for sentence in found]
        except Exception as error:
            return [
                f"{args.name}: the check itself failed ({type(error).__name__}), and nothing is let through unchecked; "
                "let the pack and the program be of one revision"
            ]


def seen() -> Seen:
    """This run's memory; made when the engine asks first, because only then it is known whether it is a preview."""
    if not _seen:
        _seen.append(Seen(at_up=not pulumi.runtime.is_dry_run()))
    return _seen[0]


def config_in_force() -> tuple[dict[str, str], list[str]]:
    """The stack's config, and the keys of it that are secret."""
    keys = get_config_secret_keys_env()
    return {key: str(value) for key, value in get_config_env().items()}, list(keys)


def _resource(args: ResourceValidationArgs) -> Resource:
    return Resource(
        kind=args.resource_type,
        name=args.name,
        urn=args.urn,
        inputs=_plain(args.props),
        protect=bool(args.opts.protect),
        secret_outputs=tuple(args.opts.additional_secret_outputs),
    )


def _plain(value: Any) -> Any:
    """The SDK's proxies as plain data; assets by their text or path."""
    if isinstance(value, Mapping):
        return {key: _taken(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_taken(value, place) for place in range(len(value))]
    if isinstance(value, pulumi.Asset | pulumi.Archive):
        return {key: _plain(inner) for key, inner in vars(value).items() if isinstance(inner, str | dict)}
    return value


def _taken(values: Any, key: Any) -> Any:
    try:
        return _plain(values[key])
    except UnknownValueError:
        return UNKNOWN
