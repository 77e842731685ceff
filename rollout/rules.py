"""The two questions about settings that everything else asks: is this state usable, and is this move legal?

Rules (the table in `steps.py` holds their data):

* **state**: every `Need` of every row holds.
* **move**: at most one step variable changes. Forward, every earlier row of its tracks is done. Back is legal
  whenever the resulting state is usable and the row's limits hold: order binds forward moves only.
* A step's attribute changes with its step, or alone while the step stands at its initial value. Free ones change with
  anything.
* A change of the certificate's request (names, key type, days) is a reissue: alone, or together with
  `CERTIFICATE_GENERATION`. A change of the inventory or of site attributes is a move of its own.
* An app leaves the inventory only when `leaving` says that it is disconnected.

Worked sequence: `off/disable` → POSTGRES_TLS_ENABLED=on (needs a certificate) → PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca
→ back to disable → POSTGRES_TLS_ENABLED=off. Turning Postgres off while PgBouncer verifies is refused: the resulting
state is not usable.

A `Violation` says what was asked, what is so, and what to do next. All violations are returned, none raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rollout.declared import Declared
from rollout.moves import (
    attribute_change,
    changed_attributes,
    changed_keys,
    inventory_changes,
    is_free,
    reissue_reasons,
    removed_apps,
    site_changes,
    taken_rows,
)
from rollout.steps import (
    GENERATION,
    ROWS,
    TRACKS,
    Need,
    app_of,
    attribute_of,
    for_app,
    generic,
    initial_settings,
    keys_of,
    length,
    rank,
    stages,
    variable_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A refusal: `key` is the config key to look at; `str()` is the sentence for the operator."""

    key: str
    asked: str
    so: str
    todo: str

    def __str__(self) -> str:
        return f"{self.asked}: {self.so}; {self.todo}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """`key` stands where it needs more of `other` than there is."""

    key: str
    need: Need
    other: str


def state_violations(settings: Mapping[str, str], changed: tuple[str, ...] = ()) -> tuple[Violation, ...]:
    """Why this state is not usable; empty when every hop works.

    `changed` are the variables that a move has just set: a refusal speaks of them rather than of what stood before.
    """
    return tuple(_state_violation(settings, unmet, changed) for unmet in _unmet(settings))


def move_violations(previous: Declared, following: Declared) -> tuple[Violation, ...]:
    """Why `previous → following` may not be applied; empty when it is one legal move, or none at all."""
    before, after = previous.settings, following.settings
    keys = changed_keys(before, after)
    found = [*state_violations(after, keys), *inventory_violations(previous, following)]
    found += _attributes_without_step(previous, following, keys)
    found += _one_at_a_time(previous, following, keys)
    if len(keys) == 1:
        key = keys[0]
        if rank(key, after[key]) > rank(key, before[key]):
            found += _skipped_generations(before, after, key)
            found += _skipped_rows(before, after, key)
        else:
            found += _over_limits(before, after, key)
    return tuple(found)


def inventory_violations(previous: Declared, following: Declared) -> tuple[Violation, ...]:
    """Why the change of the inventory may not be applied."""
    return tuple(
        Violation(
            key="leaving",
            asked=f"app {app} removed",
            so="without it no closing step would look for its clients any more, and nothing shows that they are gone",
            todo=f"stop {app} on {', '.join(previous.running(app))}, then remove it with leaving: [{app}]",
        )
        for app in removed_apps(previous, following)
        if app not in following.leaving
    )


def standing(settings: Mapping[str, str], track: str) -> dict[str, str]:
    """Where a track stands: `{"step": "2", "of": "7", "next": "KEY=value", "back": "KEY=value"}`.

    `step` counts the rows done without a gap; `next` is "" at the end, and says so where it is optional; `back` is the
    last thing to be taken back, "" where that would leave no usable state (the other track still stands on it).
    """
    way = stages(track, settings)
    ahead = next((stage for stage in way if not stage.done(settings)), None)
    standing_up = [stage for stage in way if rank(stage.key, settings[stage.key]) > rank(stage.key, stage.lower)]
    back = ""
    if standing_up:
        last = standing_up[-1]
        if not state_violations({**settings, last.key: last.lower}):
            back = f"{last.key}={last.lower}"
    following = "" if ahead is None else f"{ahead.key}={ahead.row.target}"
    if ahead is not None and ahead.row.optional:
        following += " (optional)"
    done = length(track) if ahead is None else max(ahead.number - 1, 0)
    return {"step": str(done), "of": str(length(track)), "next": following, "back": back}


def at_start(declared: Declared) -> Declared:
    """The same deployment before its first step: what a first `up` is judged against."""
    return replace(declared, settings=initial_settings({name: app.uses for name, app in declared.apps.items()}))


def _unmet(settings: Mapping[str, str]) -> Iterator[Unmet]:
    for row in ROWS:
        for key in keys_of(row.key, settings):
            for need in row.needs:
                if rank(key, settings[key]) < rank(key, need.at):
                    continue
                for other in keys_of(need.key, settings):
                    if rank(other, settings[other]) < rank(other, need.least):
                        yield Unmet(key=key, need=need, other=other)


def _state_violation(settings: Mapping[str, str], unmet: Unmet, changed: tuple[str, ...]) -> Violation:
    key, other, need = unmet.key, unmet.other, unmet.need
    because = need.because.format(app=app_of(other) or app_of(key))
    below = _stop_below(key, need.at)
    if other in changed and key not in changed:
        return Violation(
            key=other,
            asked=f"{other}={settings[other]}",
            so=f"{key} is {settings[key]}, and {because}",
            todo=f"set {key} to {below} first",
        )
    return Violation(
        key=key,
        asked=f"{key}={settings[key]}",
        so=f"{other} is {settings[other]}, and {because}",
        todo=f"set {other} to {_stop_from(other, need.least)} first, or leave {key} at {below}",
    )


def _stop_below(key: str, value: str) -> str:
    """The last value on the way of a rollout that is weaker than `value`."""
    targets = [row.target for row in ROWS if row.key == generic(key) and rank(key, row.target) < rank(key, value)]
    return targets[-1] if targets else variable_of(key).initial


def _stop_from(key: str, value: str) -> str:
    """The first value on the way of a rollout that is at least `value`."""
    return next(row.target for row in ROWS if row.key == generic(key) and rank(key, row.target) >= rank(key, value))


def _attributes_without_step(previous: Declared, following: Declared, keys: tuple[str, ...]) -> Iterator[Violation]:
    for key in changed_attributes(previous, following):
        step = for_app(attribute_of(key).step, app_of(key))
        if is_free(key) or step in keys or previous.settings[step] == variable_of(step).initial:
            continue
        yield Violation(
            key=key,
            asked=attribute_change(previous, following, key),
            so=f"{step} is {previous.settings[step]}, so the value that it was taken with is in use",
            todo=f"keep {key} at {previous.attributes[key]}, or set {step} back to {variable_of(step).initial} first "
            "and change it then",
        )


def _one_at_a_time(previous: Declared, following: Declared, keys: tuple[str, ...]) -> list[Violation]:
    changes = [f"{key} {previous.settings[key]} → {following.settings[key]}" for key in keys]
    reissue = reissue_reasons(previous, following)
    # At generation 0 nothing is issued: what will be asked for may change freely.
    if reissue and keys != (GENERATION,):
        changes.append(f"certificate reissue ({reissue})")
    other = (*inventory_changes(previous, following), *site_changes(previous, following))
    alone = (
        attribute_change(previous, following, key)
        for key in changed_attributes(previous, following)
        if not is_free(key) and for_app(attribute_of(key).step, app_of(key)) not in keys
    )
    changes += filter(None, ("; ".join(other), "; ".join(alone)))
    if len(changes) <= 1:
        return []
    first = keys[0] if keys else "certificate" if reissue else "hosts"
    return [
        Violation(
            key=first,
            asked=" and ".join(changes),
            so=f"{len(changes)} things change at once, and one deploy makes one move",
            todo=f"keep {changes[0]} and undo the rest in this change",
        )
    ]


def _skipped_generations(before: Mapping[str, str], after: Mapping[str, str], key: str) -> Iterator[Violation]:
    now, then = rank(key, before[key]), rank(key, after[key])
    if not variable_of(key).values and then > now + 1:
        yield Violation(
            key=key,
            asked=f"{key}={then}",
            so=f"it is {now} now, and generations are issued one at a time",
            todo=f"set {key} to {now + 1}",
        )


def _skipped_rows(before: Mapping[str, str], after: Mapping[str, str], key: str) -> Iterator[Violation]:
    """What must be done before the rows that the move takes and is not, each once."""
    # What makes the state unusable was said so already, with more reason.
    said = {unmet.other for unmet in _unmet(after) if unmet.key == key}
    for track in TRACKS:
        taken = taken_rows(key, before[key], after[key], track)
        way = stages(track, before)
        own = [place for place, stage in enumerate(way) if stage.key == key and stage.number in taken]
        for stage in way[: own[-1]] if own else ():
            reached = stage.key == key and stage.number in taken
            if stage.row.optional or reached or stage.done(before) or stage.key in said:
                continue
            said.add(stage.key)
            yield Violation(
                key=key,
                asked=f"{key}={after[key]}",
                so=f"{stage.key} is {before[stage.key]} and comes before it",
                todo=f"set {stage.key} to {stage.row.target} first, in a deploy of its own",
            )


def _over_limits(before: Mapping[str, str], after: Mapping[str, str], key: str) -> Iterator[Violation]:
    """What must be taken back before the rows that the move takes back."""
    low, high = rank(key, after[key]), rank(key, before[key])
    for row in ROWS:
        if row.key != generic(key) or not low < rank(key, row.target) <= high:
            continue
        for limit in row.limits:
            if rank(limit.key, after[limit.key]) > rank(limit.key, limit.most):
                yield Violation(
                    key=key,
                    asked=f"{key}={after[key]}",
                    so=f"{limit.key} is {after[limit.key]}, and {limit.because}",
                    todo=f"set {limit.key} to {limit.most} first",
                )
