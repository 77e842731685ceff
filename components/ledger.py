"""The ledger: the resource through which every move passes, and the guard that outlives no certificate in use.

`Ledger` is a dynamic resource. Its provider's `check(olds, news)` sees the inputs last applied, at preview too, and
what it returns as inputs is what dependents (and policies) see, known at preview. So a move is judged there, before
any host is touched, and host settings are rendered from the ledger's outputs only.

It carries no `protect`: a replaced, re-targeted or deleted ledger meets receipts without a record and refuses
(`rollout.ledger`), and `pulumi destroy` is refused by `CertificatesInUse` with the way out, where `protect` would
advise `pulumi state unprotect` instead.

The provider classes are pickled by reference: do not rename this module or the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from rollout.declared import Declared
from rollout.ledger import Record, Refused, advance, record_fields
from rollout.steps import GENERATION

FIELDS = ("confirmed", "attempted", "revisions", "move", "order", "contents", "generation", "standing")
"""What the ledger holds: `rollout.ledger.record_fields`."""


class LedgerProvider(ResourceProvider):
    """Judges moves in `check`; `create` and `update` only keep what `check` decided."""

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Accepts or refuses the declaration; the accepted inputs are the new record."""
        provider_state = {key: value for key, value in news.items() if key not in ("declared", "receipts", *FIELDS)}
        record = Record.from_plain(olds) if olds.get("attempted") else None
        receipts = {host: str(revision) for host, revision in (news.get("receipts") or {}).items()}
        try:
            accepted = advance(record, Declared.from_plain(news["declared"]), receipts)
        except Refused as refused:
            # A policy pack still sees what is returned here: the record as it is, beside what was asked of it.
            asked = news | {key: value for key, value in _fields(olds).items() if value is not None}
            # An empty property name prints the sentence alone; a named one would dump the whole value with it.
            return CheckResult(asked, [CheckFailure("", reason) for reason in refused.reasons])
        return CheckResult(provider_state | record_fields(accepted), [])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Changed where any field of the record is; never a replacement."""
        return DiffResult(changes=_fields(olds) != _fields(news))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Keeps the record."""
        return CreateResult("ledger", _fields(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Keeps the record."""
        return UpdateResult(_fields(news))


class Ledger(Resource, module="tls", name="Ledger"):
    """One per stack. Inputs: what config declares, and the receipts of the last successful `up`."""

    attempted: pulumi.Output[Any]
    revisions: pulumi.Output[Mapping[str, str]]
    move: pulumi.Output[str]
    order: pulumi.Output[Mapping[str, Sequence[str]]]
    contents: pulumi.Output[Mapping[str, str]]
    generation: pulumi.Output[str]
    standing: pulumi.Output[Mapping[str, Mapping[str, str]]]

    def __init__(
        self,
        name: str,
        *,
        declared: Declared,
        receipts: pulumi.Input[Mapping[str, str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            LedgerProvider(),
            name,
            {"declared": declared.to_plain(), "receipts": receipts, **dict.fromkeys(FIELDS)},
            opts,
        )


class GuardProvider(ResourceProvider):
    """Remembers the generation, so that deleting can tell whether certificates are still issued."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Keeps the generation."""
        return CreateResult("certificates-in-use", {"generation": props["generation"]})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Changed where the generation is."""
        return DiffResult(changes=olds.get("generation") != news.get("generation"))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Keeps the generation."""
        return UpdateResult({"generation": news["generation"]})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Refuses while certificates are issued. It depends on everything, so nothing was deleted before it."""
        if props["generation"] != "0":
            raise RuntimeError(
                f"destroy refused: {GENERATION} is {props['generation']}, hosts hold these certificates and may serve "
                "them. Nothing was deleted and no host was touched. Set the steps back one by one "
                "(`pulumi stack output postgres` and `redis` name the next: `back`), down to "
                f"`pulumi config set {GENERATION} 0` and `pulumi up`; then `pulumi destroy` passes."
            )


class CertificatesInUse(Resource, module="tls", name="CertificatesInUse"):
    """Depends on every other resource, so that `pulumi destroy` comes to it first and is refused in words."""

    def __init__(self, name: str, *, generation: pulumi.Input[str], opts: pulumi.ResourceOptions) -> None:
        super().__init__(GuardProvider(), name, {"generation": generation}, opts)


def own_receipts() -> pulumi.Output[dict[str, str]]:
    """The receipts of this stack's last successful `up`, {} before the first: read through a reference to itself."""
    own = pulumi.StackReference(
        "confirmed-receipts", stack_name=f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    )
    return own.get_output("receipts").apply(lambda receipts: dict(receipts or {}))


def announce(ledger: Ledger, receipts: pulumi.Output[dict[str, str]]) -> None:
    """Prints the move's line, at preview and `up`, while a host has still to confirm it."""

    def say(known: list[Any]) -> None:
        revisions, confirmed, move = known
        if revisions != confirmed:
            pulumi.log.info(move, ledger)

    pulumi.Output.all(ledger.revisions, receipts, ledger.move).apply(say)


def _fields(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: properties.get(key) for key in FIELDS}
