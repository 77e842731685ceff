"""The whole way of a rollout as config changes, for whoever walks it: one `(key, value)` a deploy."""

from __future__ import annotations

from dataclasses import replace

from rollout.declared import Declared
from rollout.steps import TRACKS, Stage, app_of, rank, stages

Moves = tuple[tuple[str, str], ...]


def with_value(declared: Declared, key: str, value: str) -> Declared:
    """The declaration after that line of config."""
    return replace(declared, settings={**declared.settings, key: value})


def set_command(key: str, value: str, *, stack: str = "") -> str:
    """How that line is set: `pulumi config set --path apps.api.REDIS_TLS_ENABLED true`; "" is the selected stack."""
    return f"pulumi config set {f'--stack {stack} ' if stack else ''}{'--path ' if app_of(key) else ''}{key} {value}"


def forward(declared: Declared) -> Moves:
    """Every move of both tracks from the initial state on, optional ones included, for the declared apps."""
    return tuple((stage.key, stage.row.target) for stage in whole_way(declared))


def back(declared: Declared) -> Moves:
    """The same way from its end to the initial state."""
    return tuple((stage.key, stage.lower) for stage in reversed(whole_way(declared)))


def ahead(declared: Declared) -> Moves:
    """The part of `forward` that is still to be gone from where `declared` stands."""
    settings = declared.settings
    return tuple((key, value) for key, value in forward(declared) if rank(key, settings[key]) < rank(key, value))


def behind(declared: Declared) -> Moves:
    """The part of `back` that leads from where `declared` stands to the initial state."""
    settings = declared.settings
    return tuple((key, value) for key, value in back(declared) if rank(key, settings[key]) > rank(key, value))


def whole_way(declared: Declared) -> tuple[Stage, ...]:
    """The stages of all tracks one after another; what tracks share comes once."""
    found: dict[tuple[str, str], Stage] = {}
    for track in TRACKS:
        for stage in stages(track, declared.settings):
            found.setdefault((stage.key, stage.row.target), stage)
    return tuple(found.values())
