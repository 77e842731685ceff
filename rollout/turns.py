"""Which hosts of a move wait for which: the table says how, this says who."""

from __future__ import annotations

from itertools import pairwise

from rollout.declared import Declared
from rollout.moves import describe
from rollout.render import touched_hosts
from rollout.steps import app_of, variable_of


def turns(previous: Declared, following: Declared) -> dict[str, tuple[str, ...]]:
    """Each touched host that waits, with the hosts that must confirm the move before it is reached."""
    move = describe(previous, following)
    if move.key is None:
        return {}
    variable = variable_of(move.key)
    if variable.turns == "rolling":
        return {host: (before,) for before, host in pairwise(following.running(app_of(move.key)))}
    if variable.turns == "by role":
        groups = _by_role(following, touched_hosts(previous, following), variable.roles)
        return {
            host: before
            for before, group in pairwise(groups if move.direction == "forward" else reversed(groups))
            for host in group
        }
    return {}


def _by_role(declared: Declared, hosts: tuple[str, ...], roles: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The hosts in groups, one a role in the order of `roles`; a host with several belongs to its first."""
    groups = []
    seen: set[str] = set()
    for role in roles:
        group = tuple(host for host in hosts if role in declared.hosts[host].roles and host not in seen)
        seen.update(group)
        if group:
            groups.append(group)
    return groups
