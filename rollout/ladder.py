"""The ladder between environments: a step reaches an environment only after the one below has confirmed it.

Rules:

* it binds moves forward only: **back is never blocked**, whatever stands below;
* what counts below is what is *confirmed* there, read from that stack's record, never what its file declares;
* a value of a variable is asked for as it is; of a count (`CERTIFICATE_GENERATION`) only the table's step, because
  generations are counted in each environment for itself;
* an app that the environment below does not have goes after all those that it has.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollout.declared import Declared
from rollout.moves import changed_keys
from rollout.rules import Violation
from rollout.steps import ROWS, generic, keys_of, rank, variable_of


def below(ladder: tuple[str, ...], environment: str) -> str:
    """The environment that must have confirmed a step before `environment` may take it; "" for none."""
    place = ladder.index(environment) if environment in ladder else 0
    return ladder[place - 1] if place else ""


def ladder_violations(
    previous: Declared, following: Declared, *, lower: str, confirmed: Declared | None
) -> tuple[Violation, ...]:
    """Why `following` may not be reached yet. `confirmed` is what `lower` has confirmed, None where nobody knows."""
    return tuple(_violations(previous, following, lower, confirmed))


def _violations(previous: Declared, following: Declared, lower: str, confirmed: Declared | None) -> Iterator[Violation]:
    for key in changed_keys(previous.settings, following.settings):
        value = _asked(key, following.settings[key])
        if rank(key, following.settings[key]) <= rank(key, previous.settings[key]) or value is None:
            continue
        asked = f"{key}={following.settings[key]}"
        if confirmed is None:
            yield Violation(
                key=key,
                asked=asked,
                so=f"{lower} comes first on the ladder, and what it has confirmed is not known",
                todo=f"let the record of {lower} be read (--stack-record FILE or --read-stacks); going back needs none",
            )
            continue
        yield from (
            Violation(
                key=key,
                asked=asked,
                so=f"{lower} comes first on the ladder, and has confirmed {other}={confirmed.settings[other]}",
                todo=f"take {other} to {value} in {lower} first and let every host confirm it",
            )
            for other in _same_step(key, confirmed)
            if rank(other, confirmed.settings[other]) < rank(other, value)
        )


def _asked(key: str, value: str) -> str | None:
    """What must stand below for `value` to be reached; None where the table has no step as far as that."""
    if variable_of(key).values:
        return value
    last = [row.target for row in ROWS if row.key == generic(key)][-1]
    return last if rank(key, value) <= rank(key, last) else None


def _same_step(key: str, confirmed: Declared) -> tuple[str, ...]:
    """The variable as the environment below has it: an app's own, or those of all apps where it has no such app."""
    return (key,) if key in confirmed.settings else keys_of(generic(key), confirmed.settings)
