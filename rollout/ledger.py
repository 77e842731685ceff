"""The ledger's logic: what was confirmed, what is attempted, and the revision that each host must confirm.

A move counts once every host that it touches has printed the revision that the ledger gave it (a *receipt*).

Invariants:

* nothing is accepted that `rules.move_violations` refuses;
* while the last attempt is not confirmed, only the same declaration again or the way back is accepted;
* a host's revision grows each time that its content changes, so that a step taken back after a failure runs again;
* hosts that must follow one another (`rollout.turns`) still do when a move is tried again after a failure;
* where nothing moved, the record is carried over to the letter: a second `up` changes nothing;
* receipts without a record mean that the record was lost or replaced: refused, never guessed;
* a first declaration further on than one step is taken over, not reached: revision 0 tells each host to confirm that it
  runs these settings already and to change nothing otherwise (a host on which nothing runs yet comes to them).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rollout.declared import Declared
from rollout.moves import describe, is_free
from rollout.render import generation, host_content, touched_hosts
from rollout.rules import Violation, at_start, inventory_violations, move_violations, standing, state_violations
from rollout.steps import SERVER_ROLES, TRACKS
from rollout.turns import turns

Order = Mapping[str, tuple[str, ...]]

TAKEN_OVER = "0"
"""The revision of a host that must run its settings already."""


class Refused(Exception):
    """The move may not be applied. `reasons` holds every sentence; nothing was changed.

    `violations` are the same where the rules of a move refuse it; empty where the ledger's own do.
    """

    def __init__(self, reasons: tuple[str, ...], violations: tuple[Violation, ...] = ()) -> None:
        self.reasons = reasons
        self.violations = violations
        super().__init__("\n".join(reasons))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the ledger remembers. `revisions` maps each host to a count kept as text.

    `order` maps a host to those that must confirm the move before it is reached; hosts that wait for none are left out.
    """

    confirmed: Declared
    attempted: Declared
    revisions: Mapping[str, str]
    move: str
    order: Order = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data for the resource's inputs."""
        return {
            "confirmed": self.confirmed.to_plain(),
            "attempted": self.attempted.to_plain(),
            "revisions": dict(self.revisions),
            "move": self.move,
            "order": {host: list(earlier) for host, earlier in self.order.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Record:
        """The inverse of `to_plain`."""
        return cls(
            confirmed=Declared.from_plain(plain["confirmed"]),
            attempted=Declared.from_plain(plain["attempted"]),
            revisions=dict(plain["revisions"]),
            move=plain["move"],
            order={host: tuple(earlier) for host, earlier in (plain.get("order") or {}).items()},
        )


def record_fields(record: Record) -> dict[str, Any]:
    """The record with what hosts and readers need from it, as plain strings, lists and maps.

    `contents` is each host's settings text, `generation` the certificate's, `standing` where each track stands.
    """
    attempted = record.attempted
    return record.to_plain() | {
        "contents": {host: host_content(attempted, host) for host in attempted.hosts},
        "generation": str(generation(attempted.settings)),
        "standing": {track: standing(attempted.settings, track) for track in TRACKS},
    }


def is_taken_over(record: Record) -> bool:
    """Whether its hosts must run what it declares already, so that nothing moves."""
    return set(record.revisions.values()) == {TAKEN_OVER}


def unconfirmed_hosts(record: Record, receipts: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts whose last receipt is not the revision that the record gave them."""
    return tuple(host for host, revision in record.revisions.items() if receipts.get(host) != revision)


def last_confirmed(record: Record, receipts: Mapping[str, str]) -> Declared:
    """What every host has confirmed: the last attempt once all have, until then what stood before it."""
    return record.confirmed if unconfirmed_hosts(record, receipts) else record.attempted


def advance(record: Record | None, declared: Declared, receipts: Mapping[str, str]) -> Record:
    """The record after `declared` is accepted; raises `Refused` with every reason where it is not.

    `receipts` maps hosts to the revisions that they printed in the last successful `up`.
    """
    if record is None:
        return _first(declared, receipts)
    if declared == record.attempted:
        return record
    if not receipts and is_taken_over(record):
        # No host has confirmed anything, so another declaration may be the one that they run.
        return _first(declared, receipts)
    pending = unconfirmed_hosts(record, receipts)
    if not pending:
        _refuse(move_violations(record.attempted, declared))
        return _moved(record, confirmed=record.attempted, declared=declared)
    retry, back = (_elsewhere_as(declared, target) for target in (record.attempted, record.confirmed))
    if declared not in (retry, back):
        raise Refused((_still_pending(record, pending),))
    _refuse((*state_violations(declared.settings), *inventory_violations(record.attempted, declared)))
    moved = _moved(record, confirmed=back, declared=declared)
    if declared != retry:
        return moved
    return replace(moved, move=record.move, order=_among(record.order, declared.hosts))


def _among(order: Order, hosts: Collection[str]) -> Order:
    """The order among the hosts that are still there: who waited for one that has left waits for that one's own."""

    def waits(host: str) -> Iterator[str]:
        for earlier in order.get(host, ()):
            yield from (earlier,) if earlier in hosts else waits(earlier)

    kept = {host: tuple(dict.fromkeys(waits(host))) for host in order if host in hosts}
    return {host: earlier for host, earlier in kept.items() if earlier}


def _elsewhere_as(declared: Declared, target: Declared) -> Declared:
    """`target` with what may change while it is pending as `declared` has it: the inventory and free attributes.

    A host that is gone or an app that is wrongly declared must not hold the others up.
    """
    return replace(
        declared,
        settings={key: target.settings.get(key, value) for key, value in declared.settings.items()},
        attributes={
            key: value if is_free(key) else target.attributes.get(key, value)
            for key, value in declared.attributes.items()
        },
        certificate=target.certificate,
        site=target.site,
    )


def _refuse(violations: tuple[Violation, ...]) -> None:
    if violations:
        raise Refused(tuple(str(violation) for violation in violations), violations)


def _first(declared: Declared, receipts: Mapping[str, str]) -> Record:
    if receipts:
        raise Refused(
            (
                f"the ledger has no record, yet hosts are already set ({', '.join(sorted(receipts))}): its record was "
                "replaced or deleted; restore the stack's previous state (`pulumi stack import`), do not replace the "
                "ledger",
            )
        )
    start = at_start(declared)
    _refuse(state_violations(declared.settings))
    if move_violations(start, declared):
        return _taken_over(declared, start)
    move = describe(start, declared).line or "first deployment, every variable at its initial value"
    return Record(confirmed=start, attempted=declared, revisions=dict.fromkeys(declared.hosts, "1"), move=move)


def _taken_over(declared: Declared, start: Declared) -> Record:
    """A first deployment somewhere on the way. Servers first: on new hosts the apps' proofs need them."""
    servers = tuple(host for host, spec in declared.hosts.items() if set(spec.roles) & set(SERVER_ROLES))
    return Record(
        confirmed=start,
        attempted=declared,
        revisions=dict.fromkeys(declared.hosts, TAKEN_OVER),
        move="first deployment, taken over where it stands: each host must run these settings already, or run nothing",
        order={host: servers for host in declared.hosts if host not in servers and servers},
    )


def _moved(record: Record, *, confirmed: Declared, declared: Declared) -> Record:
    touched = touched_hosts(record.attempted, declared)
    revisions = {
        host: str(int(record.revisions.get(host, "0")) + 1) if host in touched else record.revisions[host]
        for host in declared.hosts
    }
    move = describe(record.attempted, declared).line or "attributes change, no host is touched"
    order = turns(record.attempted, declared)
    return Record(confirmed=confirmed, attempted=declared, revisions=revisions, move=move, order=order)


def _still_pending(record: Record, pending: tuple[str, ...]) -> str:
    return (
        f"the last move ({record.move}) is not confirmed by {', '.join(pending)}: finish it by `pulumi up` with the "
        "config as it was for that move, or go back to the config before it; only then comes another move"
    )
