"""The rules, exhaustively: every state that legal moves lead to, for one app that uses both servers. Pure.

Of each state: it is usable, the rollout can be finished and taken back from it, and every single move back that leaves
a usable state is allowed but for the limits that the table states.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rollout.declared import CertificateSpec, Declared, HostSpec, Site, default_app
from rollout.path import Moves, ahead, behind, with_value
from rollout.rules import move_violations, state_violations
from rollout.steps import ROWS, generic, initial_attributes, initial_settings, rank, variable_of

Settings = Mapping[str, str]
State = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Kind:
    """A move as a server meets it: which variable goes from which value to which."""

    key: str
    before: str
    after: str

    @property
    def direction(self) -> str:
        """`forward` or `back`."""
        return "forward" if rank(self.key, self.after) > rank(self.key, self.before) else "back"

    def __str__(self) -> str:
        return f"{self.key} {self.before} → {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What was found: `states` that are reached, `moves` judged and of them `legal`, the `kinds` of legal ones, and in
    `dead_ends` and `blocked_back` a sentence for each thing that must not be."""

    states: int
    moves: int
    legal: int
    kinds: frozenset[Kind]
    dead_ends: tuple[str, ...]
    blocked_back: tuple[str, ...]


def one_app(app: str = "api") -> Declared:
    """A deployment with one app before its first step."""
    uses = {app: ("postgres", "redis")}
    names = ("voiceai-pgbouncer", "voiceai-postgres", "voiceai-redis")
    return Declared(
        settings=initial_settings(uses),
        attributes=initial_attributes(uses),
        certificate=CertificateSpec(names=names, key_type="ecdsa-p256", days=397, request="0123456789abcdef"),
        site=Site(environment="proof", dialed_names=names, secrets_prefix="proof/", region="eu-west-1"),
        hosts={
            "database": HostSpec(roles=("pgbouncer", "postgres", "redis"), client_addresses=("10.0.0.10",)),
            app: HostSpec(roles=(app,), client_addresses=("10.0.0.20",)),
        },
        apps={app: default_app(app)},
    )


def legal_moves(declared: Declared) -> Iterator[tuple[str, str]]:
    """Every `(key, value)` that may be deployed next; generations beyond the first are all alike."""
    for key, value in _all_moves(declared):
        if not move_violations(declared, with_value(declared, key, value)):
            yield key, value


def explore(start: Declared) -> Explored:
    """Everything that legal moves lead to from `start`."""
    seen, queue = {_state(start)}, deque([start])
    moves = legal = 0
    kinds: set[Kind] = set()
    dead_ends: list[str] = []
    blocked: list[str] = []
    while queue:
        here = queue.popleft()
        dead_ends += _dead_ends(here)
        for key, value in _all_moves(here):
            moves += 1
            there = with_value(here, key, value)
            if move_violations(here, there):
                blocked += _wrongly_blocked(here, there, key)
                continue
            legal += 1
            kinds.add(Kind(key=generic(key), before=here.settings[key], after=value))
            if _state(there) not in seen:
                seen.add(_state(there))
                queue.append(there)
    return Explored(
        states=len(seen),
        moves=moves,
        legal=legal,
        kinds=frozenset(kinds),
        dead_ends=tuple(dead_ends),
        blocked_back=tuple(blocked),
    )


def _all_moves(declared: Declared) -> Iterator[tuple[str, str]]:
    for key, now in declared.settings.items():
        for value in variable_of(key).values or ("0", "1"):
            if value != now:
                yield key, value


def _state(declared: Declared) -> State:
    return tuple(declared.settings.values())


def _dead_ends(declared: Declared) -> Iterator[str]:
    if state_violations(declared.settings):
        yield f"not usable: {_brief(declared.settings)}"
    for name, way in (("forward", ahead(declared)), ("back", behind(declared))):
        stuck = _first_refusal(declared, way)
        if stuck:
            yield f"no way {name} from {_brief(declared.settings)}: {stuck}"


def _first_refusal(declared: Declared, way: Moves) -> str:
    for key, value in way:
        there = with_value(declared, key, value)
        found = move_violations(declared, there)
        if found:
            return str(found[0])
        declared = there
    return ""


def _wrongly_blocked(here: Declared, there: Declared, key: str) -> Iterator[str]:
    """A refused move back to a usable state that no limit of the table forbids."""
    before, after = here.settings, there.settings
    if rank(key, after[key]) > rank(key, before[key]) or state_violations(after):
        return
    limits = [limit for row in ROWS if row.key == generic(key) for limit in row.limits]
    if all(rank(limit.key, after[limit.key]) <= rank(limit.key, limit.most) for limit in limits):
        yield f"{key} {before[key]} → {after[key]} from {_brief(before)}"


def _brief(settings: Settings) -> str:
    """Only what does not stand at its initial value."""
    standing = (f"{key}={value}" for key, value in settings.items() if value != variable_of(key).initial)
    return ", ".join(standing) or "the start"
