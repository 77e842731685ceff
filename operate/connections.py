"""What differs between two configs besides the declaration: how hosts are reached, and where secrets are kept.

None of it is a step, and rules have nothing against it; but a host whose connection changes is reached again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from operate.stack_file import StackFile

_KEYS = {
    "host_key": "hostKey",
    "kms_key_id": "kmsKeyId",
    "recovery_days": "recoveryWindowDays",
    "server_role_arns": "serverRoleArns",
    "app_role_arns": "appRoleArns",
}
"""Fields whose config key is another word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """`hosts` are those that are reached again; `lines` say what differs, never a value that is secret."""

    hosts: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def connections(before: StackFile | None, after: StackFile) -> Connections:
    """What differs; nothing where one of the two is not there or is no good config."""
    base, head = before.configuration if before else None, after.configuration
    if before is None or base is None or head is None:
        return Connections()
    known = {host.name: host for host in base.hosts}
    lines = []
    hosts = []
    for host in head.hosts:
        changed = _changed(known[host.name], host) if host.name in known else ()
        if changed:
            hosts.append(host.name)
            lines.append(f"host {host.name} is reached by another {', '.join(changed)}: its settings are applied again")
    if _changed(base.ssh, head.ssh) or before.sealed != after.sealed:
        hosts = [host.name for host in head.hosts]
        lines.append("how every host is reached changes (SSH key or hostTimeoutSeconds): settings are applied again")
    # The prefix and the region are the declaration's as well.
    secrets = [key for key in _changed(base.secrets, head.secrets) if key not in ("prefix", "region")]
    if secrets:
        lines.append(f"the entries in Secrets Manager change ({', '.join(secrets)}); no host is touched by that")
    return Connections(hosts=tuple(hosts), lines=tuple(lines))


def _changed(old: Any, new: Any) -> tuple[str, ...]:
    return tuple(_differing(old, new))


def _differing(old: Any, new: Any) -> Iterator[str]:
    for field in fields(old):
        if getattr(old, field.name) != getattr(new, field.name):
            yield _KEYS.get(field.name, field.name)
