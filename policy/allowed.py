"""The one command that is allowed now: derived from the record and proved by the rules before it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollout.declared import Declared
from rollout.ledger import Record, Refused, advance, unconfirmed_hosts
from rollout.moves import changed_keys, describe
from rollout.path import set_command, with_value
from rollout.rules import standing
from rollout.steps import TRACKS, stages

UP = "`pulumi up`"


def allowed_now(record: Record | None, declared: Declared, receipts: Mapping[str, str]) -> str:
    """What may be done now instead of `declared`, as a sentence that begins with `allowed now:`."""
    if record is None and receipts:
        return "allowed now: `pulumi stack import --file CHECKPOINT` with the last good checkpoint"
    if record is None:
        return f"allowed now: every step variable at its initial value, then {UP}"
    found = [f"`{set_command(key, value)}`" for key, value in _candidates(record, declared, receipts)]
    if found:
        return f"allowed now: undo this change, then {' or '.join(dict.fromkeys(found))}, then {UP}"
    return f"allowed now: the config as it was for the last move ({record.move}), then {UP}"


def _candidates(record: Record, declared: Declared, receipts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Changes of one variable of what was attempted last that the ledger would accept."""
    if unconfirmed_hosts(record, receipts):
        move = describe(record.confirmed, record.attempted)
        tried = [] if move.key is None else [(move.key, move.after), (move.key, move.before)]
    else:
        tried = list(_steps(record.attempted, declared))
    for key, value in tried:
        if _accepted(record, with_value(record.attempted, key, value), receipts):
            yield key, value


def _steps(now: Declared, declared: Declared) -> Iterator[tuple[str, str]]:
    """The next step of every track that the refused change is about; of all where it is about none."""
    changed = set(changed_keys(now.settings, declared.settings))
    about = [track for track in TRACKS if changed & {stage.key for stage in stages(track, now.settings)}]
    for track in about or TRACKS:
        key, _, value = standing(now.settings, track)["next"].removesuffix(" (optional)").partition("=")
        if key:
            yield key, value


def _accepted(record: Record, declared: Declared, receipts: Mapping[str, str]) -> bool:
    try:
        advance(record, declared, receipts)
    except Refused:
        return False
    return True
