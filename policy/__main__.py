"""Registers the policies; what they check is beside, in plain functions. docs/policy.md tells of their settings."""

import sys
from datetime import UTC, datetime
from pathlib import Path

# This folder alone is on the path, and its modules must not stand in for the standard library's.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pulumi_policy import PolicyPack  # noqa: E402

from policy import certificate_rules, command_rules, ledger_rules, secret_rules  # noqa: E402
from policy.adapter import STACK, Rule, Settings, config_in_force  # noqa: E402
from policy.inputs import LEDGER, Resource  # noqa: E402
from policy.seen import Seen  # noqa: E402


def rollout_state(resource: Resource, _seen: Seen, _settings: Settings) -> list[str]:
    return ledger_rules.rollout_state(resource) if resource.kind == LEDGER else []


def rollout_move(resource: Resource, seen: Seen, _settings: Settings) -> list[str]:
    return ledger_rules.rollout_move(resource, seen) if resource.kind == LEDGER else []


def settings_are_declared(resource: Resource, seen: Seen, settings: Settings) -> list[str]:
    return command_rules.settings_are_declared(resource, seen, other=tuple(settings["otherCommands"]))


def commands_are_safe(resource: Resource, _seen: Seen, settings: Settings) -> list[str]:
    return command_rules.commands_are_safe(resource, maximum_seconds=int(settings["maximumSeconds"]))


def certificates(resource: Resource, seen: Seen, settings: Settings) -> list[str]:
    minimum = int(settings["minimumDaysLeft"])
    return certificate_rules.certificates(resource, seen, now=datetime.now(UTC), minimum_days=minimum)


def secrets(resource: Resource, seen: Seen, settings: Settings) -> list[str]:
    found = secret_rules.plain_config(*config_in_force()) if resource.kind == STACK else []
    return found + secret_rules.secrets(
        resource,
        seen,
        minimum_recovery_days=int(settings["minimumRecoveryDays"]),
        protected_ca=bool(settings["protectedCa"]),
    )


def left_to_up(_resource: Resource, seen: Seen, _settings: Settings) -> list[str]:
    return seen.take_notices()


RULES = (
    Rule(
        name="rollout-state",
        description="Every hop of the state that is asked for is usable.",
        check=rollout_state,
    ),
    Rule(
        name="rollout-move",
        description="One move a deploy: forward in order, or back to any usable state.",
        check=rollout_move,
    ),
    Rule(
        name="settings-are-declared",
        description="A host is told exactly what the ledger declares for it.",
        check=settings_are_declared,
        settings={"otherCommands": {"type": "array", "items": {"type": "string"}, "default": []}},
    ),
    Rule(
        name="commands-are-safe",
        description="Remote commands pin the host's key, end by themselves, and run nothing when they are removed.",
        check=commands_are_safe,
        settings={"maximumSeconds": {"type": "integer", "minimum": 1, "default": 3600}},
    ),
    Rule(
        name="certificates",
        description="Certificates cover what clients dial, are strong, and last. Before the first issue the provider "
        "and each host's preflight check what a preview can't know.",
        check=certificates,
        settings={"minimumDaysLeft": {"type": "integer", "minimum": 0, "default": 14}},
    ),
    Rule(
        name="secrets",
        description="One secret a variable, kept as its environment wants; no private key where it could be read.",
        check=secrets,
        settings={
            "minimumRecoveryDays": {"type": "integer", "minimum": 0, "maximum": 30, "default": 7},
            "protectedCa": {"type": "boolean", "default": False},
        },
    ),
    Rule(
        name="left-to-up",
        description="What the other policies could not judge in this run, or do not block the way back for.",
        check=left_to_up,
        advisory=True,
    ),
)

PolicyPack(
    "internal-tls",
    policies=[rule.registered() for rule in RULES],
    description="A TLS rollout one reversible step at a time (docs/policy.md).",
)
