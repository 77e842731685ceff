"""Pulumi mocks that record what a program registers, as plain data to assert on.

Mocks accept misspelled arguments and never run hooks: what matters is proved on the engine (`tests/engine`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pulumi
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks, set_mocks


@dataclass
class Recorder(Mocks):
    """Every resource by name. `outputs` adds to what a resource of a type (its last part) returns."""

    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    resources: dict[str, MockResourceArgs] = field(default_factory=dict)
    hooks: list[str] = field(default_factory=list)

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.resources[args.name] = args
        kind = args.typ.rsplit(":", 1)[1]
        return f"{args.name}-id", {**args.inputs, "arn": f"arn:{args.name}", **self.outputs.get(kind, {})}

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"nothing is to be called: {args.token}")

    def register_resource_hook(self, hook: pulumi.ResourceHook) -> None:
        self.hooks.append(hook.name)

    def inputs(self, name: str) -> dict[str, Any]:
        """A resource's inputs, secrets unwrapped, without the reference to a dynamic provider."""
        given = {key: pulumi.runtime.rpc.unwrap_rpc_secret(value) for key, value in self.resources[name].inputs.items()}
        return {key: value for key, value in given.items() if key != "__provider"}

    def of_type(self, kind: str) -> list[str]:
        return sorted(name for name, args in self.resources.items() if args.typ == kind)


def record(program: Callable[[], None], **outputs: dict[str, Any]) -> Recorder:
    """What the program registers, once all of it is."""
    recorder = Recorder(outputs=outputs)
    set_mocks(recorder, project="trial", stack="staging")

    async def callbacks() -> Recorder:
        return recorder

    # Mocks say that they support hooks and have nowhere to register them.
    with patch("pulumi.runtime.resource._get_callbacks", callbacks):
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    return recorder
