"""What differs between two declarations, in words and as data; whether it may be applied is asked in `rules.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollout.declared import Declared
from rollout.steps import GENERATION, TRACKS, app_of, attribute_of, generic, length, rank, stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What differs between two declarations. `key` is None where no step variable changes, or several do.

    `place` is where the table has it: `postgres 5/7 (web, 2 of 5)`.
    """

    key: str | None
    before: str = ""
    after: str = ""
    place: str = ""
    reissue: str = ""
    other: str = ""

    @property
    def direction(self) -> str:
        """`forward`, `back`, or `-` where nothing has an order (a reissue, an inventory change)."""
        if self.key is None:
            return "-"
        return "forward" if rank(self.key, self.after) > rank(self.key, self.before) else "back"

    @property
    def line(self) -> str:
        """The readable line of a preview: `postgres 2/7: POSTGRES_TLS_ENABLED off → on`."""
        parts = []
        if self.key is not None:
            back = " back" if self.direction == "back" else ""
            parts.append(f"{self.place}{back}: {self.key} {self.before} → {self.after}")
        if self.reissue:
            parts.append(f"certificate reissued: {self.reissue}" if self.key is None else self.reissue)
        if self.other:
            parts.append(self.other)
        return "; ".join(parts)


def describe(previous: Declared, following: Declared) -> Move:
    """The move between two declarations, legal or not; several changed variables are joined in `other`."""
    before, after = previous.settings, following.settings
    keys = changed_keys(before, after)
    other = [
        *inventory_changes(previous, following),
        *site_changes(previous, following),
        *(attribute_change(previous, following, key) for key in changed_attributes(previous, following)),
    ]
    if len(keys) != 1:
        several = ", ".join(f"{key} {before[key]} → {after[key]}" for key in keys)
        reissue = "" if keys else reissue_reasons(previous, following)
        return Move(key=None, reissue=reissue, other="; ".join(filter(None, (several, *other))))
    key = keys[0]
    return Move(
        key=key,
        before=before[key],
        after=after[key],
        place=_place(key, before, after),
        reissue=reissue_reasons(previous, following),
        other="; ".join(other),
    )


def changed_keys(previous: Mapping[str, str], following: Mapping[str, str]) -> tuple[str, ...]:
    """The step variables that differ, in the table's order. Those of a new or a removed app differ from nothing."""
    return tuple(key for key in following if key in previous and previous[key] != following[key])


def changed_attributes(previous: Declared, following: Declared) -> tuple[str, ...]:
    """The attributes that differ, in the table's order."""
    return changed_keys(previous.attributes, following.attributes)


def is_move(previous: Declared, following: Declared) -> bool:
    """Whether anything differs that has a place in the order of deploys: all but free attributes."""
    return bool(
        changed_keys(previous.settings, following.settings)
        or reissue_reasons(previous, following)
        or inventory_changes(previous, following)
        or site_changes(previous, following)
        or any(not is_free(key) for key in changed_attributes(previous, following))
    )


def attribute_change(previous: Declared, following: Declared, key: str) -> str:
    """One attribute's change in words, long values cut."""
    return f"{key} {_brief(previous.attributes[key])} → {_brief(following.attributes[key])}"


def taken_rows(key: str, before: str, after: str, track: str) -> tuple[int, ...]:
    """The numbers of the track's rows that a move of `key` takes, forward or back.

    They are those whose target lies between the two values. A move forward that does not reach the first target is the
    beginning of that row; one back from there, its end.
    """
    low, high = sorted((rank(key, before), rank(key, after)))
    rows = [(number, rank(key, row.target)) for number, row in enumerate(TRACKS[track]) if row.key == generic(key)]
    taken = tuple(number for number, target in rows if low < target <= high)
    return taken or tuple(number for number, target in rows[:1] if high < target)


def _place(key: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    for track in TRACKS:
        own = [stage.number for stage in stages(track, after) if stage.key == key]
        if not own:
            continue
        number = (*taken_rows(key, before[key], after[key], track), own[-1])[0]
        if number == 0:
            return "step 0"
        place = f"{track} {number}/{length(track)}"
        if not app_of(key):
            return place
        row = [stage.key for stage in stages(track, after) if stage.number == number]
        return f"{place} ({app_of(key)}, {row.index(key) + 1} of {len(row)})"
    raise KeyError(key)


def reissue_reasons(previous: Declared, following: Declared) -> str:
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


def site_changes(previous: Declared, following: Declared) -> tuple[str, ...]:
    """The site's change in words; the dialed names are a reissue's where there is one."""
    before = previous.site
    if reissue_reasons(previous, following):
        before = replace(before, dialed_names=following.site.dialed_names)
    if before == following.site:
        return ()
    return ("site attributes change (environment, dialed names, secrets prefix, region or protected)",)


def inventory_changes(previous: Declared, following: Declared) -> tuple[str, ...]:
    """What changed in hosts and in apps' contracts, a sentence each."""
    parts = [f"host {name} added" for name in following.hosts if name not in previous.hosts]
    parts += [f"host {name} removed" for name in previous.hosts if name not in following.hosts]
    for name, host in following.hosts.items():
        if name in previous.hosts:
            parts += _differences(f"host {name}", previous.hosts[name].to_plain(), host.to_plain())
    parts += [f"app {name} added" for name in following.apps if name not in previous.apps]
    parts += [f"app {name} removed" for name in removed_apps(previous, following)]
    for name, app in following.apps.items():
        if name in previous.apps:
            parts += _differences(f"app {name}", previous.apps[name].to_plain(), app.to_plain())
    before = [app for app in previous.apps if app in following.apps]
    after = [app for app in following.apps if app in previous.apps]
    if before != after:
        parts.append(f"apps are flipped in the order {', '.join(after)}, was {', '.join(before)}")
    return tuple(parts)


def removed_apps(previous: Declared, following: Declared) -> tuple[str, ...]:
    """The apps that leave the inventory."""
    return tuple(name for name in previous.apps if name not in following.apps)


def _differences(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}: {key} {_told(old.get(key))} → {_told(new.get(key))}"
        for key in dict.fromkeys((*new, *old))
        if old.get(key) != new.get(key)
    ]


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_told(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return _brief(value or "")


def _brief(value: str) -> str:
    return (value if len(value) <= 60 else value[:59] + "…") or "none"


def is_free(key: str) -> bool:
    """Whether an attribute changes with anything, any time."""
    return not attribute_of(key).step
