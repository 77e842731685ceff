"""`rollout-state` and `rollout-move`: the ledger's record, judged by the functions by which the ledger judges.

The ledger refuses in its own `check` too. What it accepted shows here as a record; what it refused as the record before
with `declared` and `receipts` beside it, so that the refusal comes as a policy violation as well, with what is allowed
instead. A record that no ledger of this program would have written is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policy.allowed import allowed_now
from policy.inputs import Resource, is_unknown
from policy.seen import Seen
from rollout.declared import Declared
from rollout.ledger import Record, Refused, advance, is_taken_over, record_fields
from rollout.moves import changed_keys
from rollout.rules import move_violations, state_violations


class Unreadable(ValueError):
    """The ledger's inputs are not those of this program's ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The ledger's inputs, read. `refused` is what it did not accept, None where it accepted."""

    record: Record | None
    refused: Declared | None
    receipts: Mapping[str, str]


def read(inputs: Mapping[str, Any]) -> Entry:
    """The ledger's inputs as values; raises Unreadable."""
    try:
        record = Record.from_plain(inputs) if inputs.get("attempted") else None
        declared = inputs.get("declared")
        refused = Declared.from_plain(declared) if declared else None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unreadable from None
    if (record is None and refused is None) or is_unknown(inputs):
        raise Unreadable
    receipts = {host: str(revision) for host, revision in (inputs.get("receipts") or {}).items()}
    return Entry(record=record, refused=refused, receipts=receipts)


def remember(resource: Resource, seen: Seen) -> None:
    """Keeps an accepted record for the resources that follow; a second ledger takes the first's word away."""
    first = not seen.ledger_urn or seen.ledger_urn == resource.urn
    seen.ledger_urn = seen.ledger_urn or resource.urn
    seen.record = None
    try:
        entry = read(resource.inputs)
    except Unreadable:
        return
    if first and entry.refused is None:
        seen.record = entry.record


def rollout_state(resource: Resource) -> list[str]:
    """Why the state that the ledger is asked for is not usable."""
    try:
        entry = read(resource.inputs)
    except Unreadable:
        return []  # rollout_move says so
    return _with_help(_state(entry), entry)


def rollout_move(resource: Resource, seen: Seen) -> list[str]:
    """Why the ledger's move is not one legal move, or its record not one of this program's ledger."""
    if seen.ledger_urn and seen.ledger_urn != resource.urn:
        return [f"{resource.name}: it is a second ledger, and hosts follow one; remove it"]
    try:
        entry = read(resource.inputs)
    except Unreadable:
        return [
            f"{resource.name}: its inputs are not those of this program's ledger, so no move can be judged; "
            "use components.ledger.Ledger unchanged, and let the pack and the program be of one revision"
        ]
    said = set(_state(entry))
    if entry.refused is not None:
        return _with_help([reason for reason in _refusals(entry) if reason not in said], entry)
    if entry.record is None:
        raise AssertionError("read() gives one of the two")
    record = entry.record
    # What hosts must run already is no move; that its state is usable is judged as ever.
    moved = () if is_taken_over(record) else move_violations(record.confirmed, record.attempted)
    reasons = [str(violation) for violation in moved]
    found = _with_help([reason for reason in reasons if reason not in said], entry)
    return [*found, *_not_derived(resource.inputs, record)]


def _with_help(reasons: list[str], entry: Entry) -> list[str]:
    """The reasons, the last with what is allowed now on a line of its own."""
    if not reasons:
        return []
    if entry.refused is not None:
        help_ = allowed_now(entry.record, entry.refused, entry.receipts)
    else:
        # The ledger let it through, so nothing tells here which hosts confirmed what.
        help_ = "allowed now: the config as it was before this move, then `pulumi up`"
    return [*reasons[:-1], f"{reasons[-1]}\n{help_}"]


def _state(entry: Entry) -> list[str]:
    if entry.refused is not None:
        before = entry.record.attempted.settings if entry.record else {}
        after = entry.refused.settings
    elif entry.record is not None:
        before, after = entry.record.confirmed.settings, entry.record.attempted.settings
    return [str(violation) for violation in state_violations(after, changed_keys(before, after))]


def _refusals(entry: Entry) -> tuple[str, ...]:
    if entry.refused is None:
        raise AssertionError("asked of what was refused")
    try:
        advance(entry.record, entry.refused, entry.receipts)
    except Refused as refused:
        return refused.reasons
    return (
        "the ledger's inputs hold what config declares and no record of it: its check did not judge this move; "
        "use components.ledger.Ledger unchanged",
    )


def _not_derived(inputs: Mapping[str, Any], record: Record) -> list[str]:
    """The fields that differ from what the ledger derives from its record."""
    derived = record_fields(record)
    wrong = [key for key, value in derived.items() if (inputs.get(key) or {}) != (value or {})]
    if set(record.revisions) != set(record.attempted.hosts):
        wrong.append("revisions")
    if not wrong:
        return []
    return [
        f"the ledger's {', '.join(dict.fromkeys(wrong))} differ from what follows from its record: hosts would be told "
        "something else than was judged; use components.ledger.Ledger unchanged, and let the pack and the program be "
        "of one revision"
    ]
