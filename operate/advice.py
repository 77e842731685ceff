"""Commands to tell the operator: how to take a step back, and which steps are allowed from where a stack stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from operate.report import Advice
from rollout.declared import Declared
from rollout.moves import describe
from rollout.path import set_command, with_value
from rollout.rules import move_violations, standing
from rollout.steps import TRACKS

Blocked = Callable[[Declared, Declared], bool]
"""Whether something besides the rules of a move forbids it: the ladder."""


def undo(environment: str, previous: Declared, following: Declared) -> tuple[Advice, ...]:
    """How to take `previous → following` back, once it is applied or has failed."""
    move = describe(previous, following)
    if move.key is not None and not move.reissue:
        return (
            Advice(
                what=f"set {move.key} back to {move.before}",
                command=set_command(move.key, move.before, stack=environment),
            ),
        )
    blocked = move_violations(following, previous)
    if blocked:
        return (Advice(what=f"not in one step: {blocked[0]}", command=""),)
    if move.reissue:
        return (Advice(what="put the former values back: that issues once more, under the same CA", command=""),)
    return (Advice(what="put the former lines back, in a pull request of their own", command=""),)


def allowed_now(environment: str, stands: Declared, blocked: Blocked) -> tuple[Advice, ...]:
    """The steps that are legal from where the stack stands: each track's next, and its way back."""
    return tuple(dict.fromkeys(_legal(environment, stands, blocked)))


def _legal(environment: str, stands: Declared, blocked: Blocked) -> Iterator[Advice]:
    for word in ("next", "back"):
        for track in TRACKS:
            key, equals, value = standing(stands.settings, track)[word].partition(" ")[0].partition("=")
            if not equals:
                continue
            following = with_value(stands, key, value)
            if not move_violations(stands, following) and not blocked(stands, following):
                yield Advice(what=describe(stands, following).line, command=set_command(key, value, stack=environment))


def pending_ways(
    environment: str, confirmed: Declared, attempted: Declared, hosts: tuple[str, ...]
) -> tuple[Advice, ...]:
    """The two ways out of a move that `hosts` have not confirmed."""
    move = describe(confirmed, attempted)
    finish = (
        f"finish {move.line or 'the last move'}: repair {', '.join(hosts)}, keep the file as it is on the base branch"
    )
    if move.key is None:
        back = Advice(what="or go back: put the former lines back", command="")
    else:
        back = Advice(
            what=f"or go back: {move.key} to {move.before}",
            command=set_command(move.key, move.before, stack=environment),
        )
    return (
        Advice(what=finish, command=f"pulumi up --stack {environment}"),
        back,
    )
