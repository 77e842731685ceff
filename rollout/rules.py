"""The two questions about settings that everything else asks: is this state usable, and is this move legal?

Rules (the table in `steps.py` holds their data):

* **state**: every `Need` of every step holds.
* **move**: at most one step variable changes. Forward, every earlier step of its track is done. Back is legal
  whenever the resulting state is usable: order binds forward moves only.
* A change of the certificate's request (names, key type, days) is a reissue: alone, or together with
  `CERTIFICATE_GENERATION`. A change of the inventory or of site attributes is a move of its own.

Worked sequence: `off/disable` → POSTGRES_TLS_ENABLED=on (needs a certificate) → PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca
→ back to disable → POSTGRES_TLS_ENABLED=off. Turning Postgres off while PgBouncer verifies is refused: the resulting
state is not usable.

A `Violation` says what was asked, what is so, and what to do next. All violations are returned, none raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollout.declared import Declared
from rollout.steps import GENERATION, TRACKS, Step, initial_settings, offered_steps, place_of, step_of


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
class Move:
    """What differs between two declarations. `key` is None where no step variable changes."""

    key: str | None
    before: str = ""
    after: str = ""
    reissue: str = ""
    other: str = ""

    @property
    def direction(self) -> str:
        """`forward`, `back`, or `-` where nothing has an order (a reissue, an inventory change)."""
        if self.key is None:
            return "-"
        step = step_of(self.key)
        return "forward" if step.rank(self.after) > step.rank(self.before) else "back"

    @property
    def line(self) -> str:
        """The readable line of a preview: `postgres 2/7: POSTGRES_TLS_ENABLED off → on`."""
        parts = []
        if self.key is not None:
            track, number, of = place_of(self.key)
            back = " back" if self.direction == "back" else ""
            parts.append(f"{track} {number}/{of}{back}: {self.key} {self.before} → {self.after}")
        if self.reissue:
            parts.append(f"certificate reissued: {self.reissue}" if self.key is None else self.reissue)
        if self.other:
            parts.append(self.other)
        return "; ".join(parts)


def state_violations(settings: Mapping[str, str]) -> tuple[Violation, ...]:
    """Why this state is not usable; empty when every hop works. `settings` holds every offered variable."""
    found = []
    for step in offered_steps():
        value = settings[step.key]
        for need in step.needs:
            other = step_of(need.key)
            if step.rank(value) < step.rank(need.at):
                continue
            if other.rank(settings[need.key]) >= other.rank(need.least):
                continue
            found.append(
                Violation(
                    key=step.key,
                    asked=f"{step.key}={value}",
                    so=f"{need.key} is {settings[need.key]}, and {need.because}",
                    todo=f"set {need.key} to {need.least} first, or keep {step.key} below {need.at}",
                )
            )
    return tuple(found)


def changed_keys(previous: Mapping[str, str], following: Mapping[str, str]) -> tuple[str, ...]:
    """The step variables that differ, in the table's order."""
    return tuple(step.key for step in offered_steps() if previous[step.key] != following[step.key])


def describe(previous: Declared, following: Declared) -> Move:
    """The move between two declarations, legal or not; several changed variables are joined in `other`."""
    keys = changed_keys(previous.settings, following.settings)
    other = _other_changes(previous, following)
    if len(keys) > 1:
        several = ", ".join(f"{k} {previous.settings[k]} → {following.settings[k]}" for k in keys)
        return Move(key=None, other="; ".join(filter(None, (several, other))))
    key = keys[0] if keys else None
    return Move(
        key=key,
        before=previous.settings[key] if key else "",
        after=following.settings[key] if key else "",
        reissue=_reissue(previous, following),
        other=other,
    )


def move_violations(previous: Declared, following: Declared) -> tuple[Violation, ...]:
    """Why `previous → following` may not be applied; empty when it is one legal move, or none at all."""
    found = list(state_violations(following.settings))
    keys = changed_keys(previous.settings, following.settings)
    found += _one_at_a_time(previous, following, keys)
    if len(keys) == 1:
        found += _order(previous.settings, following.settings, step_of(keys[0]))
    return tuple(found)


def standing(settings: Mapping[str, str], track: str) -> dict[str, str]:
    """Where a track stands: `{"step": "2", "of": "7", "next": "KEY=value", "back": "KEY=value"}`.

    `step` counts the steps done without a gap; `next` and `back` are "" at either end, and `next` says so where the
    following step is not in this version.
    """
    steps = TRACKS[track]
    done = 0
    for step in steps:
        if not step.offered or not step.done(settings[step.key]):
            break
        done += 1
    ahead = steps[done] if done < len(steps) else None
    behind = steps[done - 1] if done else None
    following = "" if ahead is None else f"{ahead.key}={ahead.target}"
    if ahead is not None and not ahead.offered:
        following += " (not in this version yet)"
    return {
        "step": str(done),
        "of": str(len(steps)),
        "next": following,
        "back": "" if behind is None else f"{behind.key}={behind.initial}",
    }


def _one_at_a_time(previous: Declared, following: Declared, keys: tuple[str, ...]) -> list[Violation]:
    changes = [f"{key} {previous.settings[key]} → {following.settings[key]}" for key in keys]
    reissue = _reissue(previous, following)
    # At generation 0 nothing is issued: what will be asked for may change freely.
    if reissue and keys != (GENERATION,) and previous.settings[GENERATION] != "0":
        changes.append(f"certificate reissue ({reissue})")
    changes += filter(None, [_other_changes(previous, following)])
    if len(changes) <= 1:
        return []
    first = keys[0] if keys else "certificate"
    return [
        Violation(
            key=first,
            asked=" and ".join(changes),
            so=f"{len(changes)} things change at once, and one deploy makes one move",
            todo=f"keep {changes[0]} and undo the rest in this change",
        )
    ]


def _order(previous: Mapping[str, str], following: Mapping[str, str], step: Step) -> list[Violation]:
    before, after = step.rank(previous[step.key]), step.rank(following[step.key])
    if after < before:
        return []
    asked = f"{step.key}={following[step.key]}"
    found = []
    if not step.values and after > before + 1:
        found.append(
            Violation(
                key=step.key,
                asked=asked,
                so=f"it is {before} now, and generations are issued one at a time",
                todo=f"set {step.key} to {before + 1}",
            )
        )
    track = next(steps for steps in TRACKS.values() if step in steps)
    already_said = {need.key for need in step.needs if after >= step.rank(need.at)}
    for earlier in track[: track.index(step)]:
        if earlier.optional or not earlier.offered or earlier.done(previous[earlier.key]):
            continue
        if earlier.key in already_said and not earlier.done(following[earlier.key]):
            continue
        found.append(
            Violation(
                key=step.key,
                asked=asked,
                so=f"{earlier.key} is {previous[earlier.key]} and comes before it",
                todo=f"set {earlier.key} to {earlier.target} first, in a deploy of its own",
            )
        )
    return found


def _reissue(previous: Declared, following: Declared) -> str:
    """What changed in the certificate's request, in words; "" where nothing did or nothing is issued."""
    if following.settings[GENERATION] == "0" or previous.settings[GENERATION] == "0":
        return ""
    old, new = previous.certificate, following.certificate
    parts = [f"SAN added: {name}" for name in new.names if name not in old.names]
    parts += [f"SAN removed: {name}" for name in old.names if name not in new.names]
    if old.key_type != new.key_type:
        parts.append(f"key type {old.key_type} → {new.key_type}")
    if old.days != new.days:
        parts.append(f"days {old.days} → {new.days}")
    return ", ".join(parts)


def _other_changes(previous: Declared, following: Declared) -> str:
    parts = [f"host {name} added" for name in following.hosts if name not in previous.hosts]
    parts += [f"host {name} removed" for name in previous.hosts if name not in following.hosts]
    parts += [
        f"host {name} runs {', '.join(following.hosts[name])}, was {', '.join(previous.hosts[name])}"
        for name in following.hosts
        if name in previous.hosts and following.hosts[name] != previous.hosts[name]
    ]
    if previous.site != following.site and not _reissue(previous, following):
        parts.append("site attributes change (environment, dialed names, secrets prefix or region)")
    return "; ".join(parts)


def at_start(declared: Declared) -> Declared:
    """The same deployment before its first step: what a first `up` is judged against."""
    return replace(declared, settings=initial_settings())
