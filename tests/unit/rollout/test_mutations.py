"""Each rule earns its place: taken out, one after another, something is judged wrongly, and that is seen.

What must be is the oracle's; for attributes and the inventory a scenario's. `test_rules.py` holds the rules as they are
to all of it; here every mutant has to fail somewhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from rollout import rules
from rollout.declared import Declared
from rollout.steps import ROWS, TRACKS, Row

from . import oracle, test_rules
from .declarations import (
    CERTIFICATES,
    CLIENT_LEG,
    REDIS_OFFERS,
    SERVER_LEG,
    declared,
    having,
    settings,
    without_app,
)

Mutation = Callable[[pytest.MonkeyPatch], None]


def _without(row: Row, **changed: object) -> Mutation:
    mutant = tuple(replace(one, **changed) if one is row else one for one in ROWS)  # type: ignore[arg-type]
    return lambda patch: patch.setattr(rules, "ROWS", mutant)


def _out_of_order(row: Row) -> Mutation:
    """The row in no track: nothing comes before it, and it comes before nothing."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        for track, rows in TRACKS.items():
            patch.setitem(TRACKS, track, tuple(one for one in rows if one is not row))

    return mutate


def _silent(name: str) -> Mutation:
    return lambda patch: patch.setattr(rules, name, lambda *_: ())


MUTANTS: dict[str, Mutation] = {
    **{
        f"{row.key}={need.at} needs {need.key}": _without(row, needs=tuple(one for one in row.needs if one is not need))
        for row in ROWS
        for need in row.needs
    },
    **{f"{row.key} limited by {limit.key}": _without(row, limits=()) for row in ROWS for limit in row.limits},
    **{f"the place of {row.key}={row.target}": _out_of_order(row) for row in ROWS},
    **{
        name: _silent(name)
        for name in (
            "state_violations",
            "inventory_violations",
            "_attributes_without_step",
            "_one_at_a_time",
            "_skipped_generations",
            "_skipped_rows",
            "_over_limits",
        )
    },
}

NO_APPS = without_app(without_app(declared(**CERTIFICATES), "api"), "web")

# before, after: what is refused and is no matter of one variable
REFUSED: tuple[tuple[Declared, Declared], ...] = (
    (declared(**CERTIFICATES), declared(**{**SERVER_LEG, "leg2": "disable", "redis": "true"})),
    (declared(**REDIS_OFFERS), having(declared(**REDIS_OFFERS), REDIS_TLS_PORT="6390")),
    (declared(**CLIENT_LEG), without_app(declared(**CLIENT_LEG), "web")),
    # No app needs Redis's listener; it is Redis that would have none.
    (
        replace(NO_APPS, settings={**NO_APPS.settings, "REDIS_TLS_ENABLED": "true", "REDIS_FORCE_TLS": "true"}),
        replace(NO_APPS, settings={**NO_APPS.settings, "REDIS_FORCE_TLS": "true"}),
    ),
)


def _wrong() -> Iterator[str]:
    """Where the rules and what must be differ, lazily."""
    for before, after in REFUSED:
        if not rules.move_violations(before, after):
            yield f"allowed: {before} → {after}"
    # The smaller one first.
    for track in reversed(test_rules.TRACKS):
        for state in test_rules.states(track):
            before = declared(**state)
            if (rules.state_violations(before.settings) == ()) is not oracle.usable(settings(**state)):
                yield f"usable: {state}"
            for neighbour in test_rules.neighbours(track, state):
                after = declared(**neighbour)
                legal = rules.move_violations(before, after) == ()
                if legal is not oracle.legal(before.settings, after.settings):
                    yield f"legal: {state} → {neighbour}"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_without_this_rule_something_is_judged_wrongly(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[mutant](monkeypatch)
    assert next(_wrong(), ""), f"nothing misses the rule {mutant}"


def test_every_kind_of_rule_is_taken_out() -> None:
    assert len(MUTANTS) == sum(len(row.needs) + len(row.limits) for row in ROWS) + len(ROWS) + 7


def test_as_they_are_the_rules_refuse_what_is_no_matter_of_one_variable() -> None:
    assert all(rules.move_violations(before, after) for before, after in REFUSED)
