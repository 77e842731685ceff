"""What a pull request is, environment by environment: a step, or why it is refused. Pure: texts in, a report out.

Rules are asked, never repeated: where a stack was read its ledger's logic judges (`rollout.ledger.advance`), else the
move between the two files; the ladder stands in `rollout.ladder`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from operate.advice import allowed_now, pending_ways, undo
from operate.connections import Connections, connections
from operate.report import Advice, Finding, Refusal, Report, Touched
from operate.source import Version, stack_file
from operate.stack_file import StackFile, read_ladder, read_project, read_stack_file
from operate.stacks import Stack, Stacks, apart
from rollout import ladder as rungs
from rollout.declared import Declared
from rollout.ledger import Refused, advance, last_confirmed, unconfirmed_hosts
from rollout.moves import Move, describe, is_move
from rollout.render import touched_hosts
from rollout.rules import at_start, move_violations, state_violations
from rollout.steps import app_of, for_app
from rollout.traffic import REACHED_ANEW, rows_taken, told, traffic_of, unseen
from rollout.turns import turns

BASE_BROKEN = (
    "what stands on the base is no good config, so that the move to this one can't be told; only its state was judged"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One environment's two versions, and what is known of its stack and of the one below."""

    environment: str
    base: StackFile | None
    head: StackFile
    stack: Stack | None
    why_unread: str
    lower: str
    lower_confirmed: Declared | None
    why_lower_unread: str


def check(base: Version, head: Version, stacks: Stacks) -> Report:
    """The report on `base → head`; raises `BadInput` where a file is no YAML."""
    # The ladder that was merged holds: a pull request can't lift itself over it.
    ladder = read_ladder(base) or read_ladder(head)
    names = sorted({*base.stacks, *head.stacks})
    names.sort(key=lambda name: ladder.index(name) if name in ladder else len(ladder))
    findings = [found for name in names for found in [_of(name, base, head, stacks, ladder)] if found is not None]
    return Report(base=base.name, head=head.name, findings=tuple(findings), refusals=_several(base, findings))


def environments_asked(base: Version, head: Version) -> tuple[str, ...]:
    """The environments whose stacks a check of `base → head` wants to know: those that change, those on the ladder."""
    ladder = read_ladder(base) or read_ladder(head)
    changed = [name for name in head.stacks if _differs(name, base, head)]
    return tuple(dict.fromkeys((*changed, *filter(None, (rungs.below(ladder, name) for name in changed)))))


def _differs(environment: str, base: Version, head: Version) -> bool:
    if base.stacks.get(environment) != head.stacks.get(environment):
        return True
    return base.project != head.project and read_project(base) != read_project(head)


def _of(environment: str, base: Version, head: Version, stacks: Stacks, ladder: tuple[str, ...]) -> Finding | None:
    if not _differs(environment, base, head):
        return None
    if environment not in head.stacks:
        return Finding(
            environment=environment,
            file=stack_file(environment),
            verdict="unchanged",
            step="the file is removed",
            notes=(f"nothing is applied: the stack {environment} and its hosts stay as they are",),
        )
    lower = rungs.below(ladder, environment)
    known = stacks.read.get(lower)
    confirmed = last_confirmed(known.record, known.receipts) if known and known.record else None
    why = f"its stack has no ledger yet: nothing was ever applied in {lower}" if known else stacks.why_unread(lower)
    return _judge(
        Place(
            environment=environment,
            base=read_stack_file(base, environment) if environment in base.stacks else None,
            head=read_stack_file(head, environment),
            stack=stacks.read.get(environment),
            why_unread=stacks.why_unread(environment),
            lower=lower,
            lower_confirmed=confirmed,
            why_lower_unread=why,
        )
    )


def _judge(place: Place) -> Finding:
    configuration = place.head.configuration
    if configuration is None:
        file = stack_file(place.environment)
        problems = tuple(Refusal.of_problem(problem, file) for problem in place.head.problems)
        return Finding(
            environment=place.environment,
            file=stack_file(place.environment),
            verdict="refused",
            step="the config is not one that the program takes",
            moves=True,
            refusals=problems,
        )
    following = configuration.declared.as_kept()
    stands = _stands(place, following)
    refusals = _refusals(place, stands, following)
    before = stands if stands is not None else following
    move = describe(before, following)
    reached = connections(place.base, place.head)
    notes = (*_against_the_stack(place), *reached.lines)
    moves = is_move(before, following) or place.base is None
    finding = Finding(
        environment=place.environment,
        file=stack_file(place.environment),
        verdict="refused" if refusals else "allowed",
        step=_step(place, following, move, reached),
        direction=move.direction,
        moves=moves,
        notes=notes,
    )
    if refusals:
        return replace(finding, refusals=refusals, now=_now(place, stands))
    hosts = _hosts(place, before, following, reached)
    repaired = place.base is not None and place.base.configuration is None
    if not (moves or hosts or move.line or reached.lines or repaired):
        return replace(finding, verdict="unchanged")
    return replace(
        finding,
        hosts=hosts,
        traffic=told(before, following) or ((REACHED_ANEW,) if hosts else ()),
        unseen=_unseen(move, following),
        undo=undo(place.environment, before, following) if move.line else (),
        page=tuple(dict.fromkeys(f"docs/runbook/{traffic_of(row).page}" for row in rows_taken(move))),
    )


def _stands(place: Place, following: Declared) -> Declared | None:
    """What the move starts from: what the stack last attempted, else the base; None where nobody can tell."""
    if place.stack is not None:
        return place.stack.record.attempted if place.stack.record else at_start(following)
    if place.base is None:
        return at_start(following)
    return place.base.configuration.declared.as_kept() if place.base.configuration else None


def _refusals(place: Place, stands: Declared | None, following: Declared) -> tuple[Refusal, ...]:
    found = []
    if place.stack is not None or place.base is None:
        record, receipts = (place.stack.record, place.stack.receipts) if place.stack else (None, {})
        try:
            advance(record, following, receipts)
        except Refused as refused:
            found += [Refusal.of_violation(violation) for violation in refused.violations] or [
                Refusal.of_sentence(reason) for reason in refused.reasons
            ]
    elif stands is not None:
        found += [Refusal.of_violation(violation) for violation in move_violations(stands, following)]
    else:
        found += [Refusal.of_violation(violation) for violation in state_violations(following.settings)]
    start = stands if stands is not None else at_start(following)
    found += _ladder(place, start, following)
    return tuple(found)


def _ladder(place: Place, start: Declared, following: Declared) -> tuple[Refusal, ...]:
    if not place.lower:
        return ()
    violations = rungs.ladder_violations(start, following, lower=place.lower, confirmed=place.lower_confirmed)
    refusals = tuple(Refusal.of_violation(violation) for violation in violations)
    if place.lower_confirmed is None:
        return tuple(replace(one, why=f"{one.why} ({place.why_lower_unread})") for one in refusals)
    return refusals


def _now(place: Place, stands: Declared | None) -> tuple[Advice, ...]:
    record = place.stack.record if place.stack else None
    if stands is None:
        return ()
    if record is not None and place.stack is not None:
        pending = unconfirmed_hosts(record, place.stack.receipts)
        if pending:
            return pending_ways(place.environment, record.confirmed, record.attempted, pending)
    return allowed_now(place.environment, stands, partial(_blocked, place))


def _blocked(place: Place, previous: Declared, following: Declared) -> bool:
    return bool(_ladder(place, previous, following))


def _step(place: Place, following: Declared, move: Move, reached: Connections) -> str:
    if move.line:
        return move.line
    record = place.stack.record if place.stack else None
    if record is not None and place.stack is not None and unconfirmed_hosts(record, place.stack.receipts):
        return f"the last move again: {record.move}"
    if place.base is None:
        return "where the stack stands already" if record else "first deployment, every variable at its initial value"
    base = place.base.configuration
    if base is None:
        return "from a config that the program refused to one that it takes"
    if place.stack is not None and base.declared.as_kept() != following:
        return f"to where the stack stands already ({describe(base.declared, following).line})"
    if reached.hosts:
        return "how hosts are reached"
    return "what stands beside the rollout" if reached.lines else "nothing that the program reads"


def _hosts(place: Place, before: Declared, following: Declared, reached: Connections) -> tuple[Touched, ...]:
    record = place.stack.record if place.stack else None
    first = place.base is None if place.stack is None else record is None
    touched = following.hosts if first else touched_hosts(before, following)
    waiting = dict(turns(before, following))
    if record is not None and place.stack is not None and before == following:
        pending = unconfirmed_hosts(record, place.stack.receipts)
        touched, waiting = pending, dict(record.order)
    names = [host for host in following.hosts if host in touched or host in reached.hosts]
    return tuple(
        Touched(host=host, runs=following.hosts[host].roles, after=waiting.get(host, ()))
        for host in _ordered(names, waiting)
    )


def _ordered(names: list[str], waiting: dict[str, tuple[str, ...]]) -> list[str]:
    """Those that wait for nobody first, then those that wait for them, and so on."""
    done: list[str] = []
    while len(done) < len(names):
        ready = [one for one in names if one not in done and {*waiting.get(one, ())} & {*names} <= {*done}]
        done += ready or [one for one in names if one not in done]
    return done


def _against_the_stack(place: Place) -> tuple[str, ...]:
    """How the base compares with what the stack remembers."""
    if place.stack is None and place.base is not None and place.base.configuration is None:
        return (f"{BASE_BROKEN}: {place.why_unread}",)
    if place.stack is None:
        return (f"compared with the base's file, not with what is confirmed: {place.why_unread}",)
    record = place.stack.record
    if record is None:
        return ("the stack was read and has no ledger yet: nothing was ever applied",)
    notes = []
    pending = unconfirmed_hosts(record, place.stack.receipts)
    if pending:
        notes.append(f"the last move ({record.move}) is not confirmed by {', '.join(pending)}")
    base = place.base.configuration.declared.as_kept() if place.base and place.base.configuration else None
    if base is None:
        return tuple(notes)
    if base == record.attempted:
        return (*notes, *(() if pending else ("the base is what the stack has confirmed",)))
    if pending and base == record.confirmed:
        return (*notes, "the base is what was confirmed before it, and was not applied since")
    differ = apart(record.attempted, base) or "attributes differ"
    return (*notes, f"the base was never applied: {differ}; judged from where the stack stands")


def _unseen(move: Move, following: Declared) -> tuple[str, ...]:
    app = app_of(move.key or "")
    kind = following.apps[app].kind if app else ""
    return tuple(for_app(f"{one.wants}: {one.look}", app) for one in unseen(move, kind))


def _several(base: Version, findings: list[Finding]) -> tuple[Refusal, ...]:
    """Two environments are two steps. Back is never blocked: several steps back may come together."""
    moving = [finding for finding in findings if finding.moves]
    if len(moving) < 2 or all(finding.direction == "back" for finding in moving):
        return ()
    first, *others = moving
    names = [finding.environment for finding in others]
    return (
        Refusal(
            key="",
            why=f"{len(moving)} environments in one pull request are {len(moving)} steps: "
            + "; ".join(f"{finding.environment}: {finding.step}" for finding in moving),
            todo=f"keep {first.environment} here and take {' and '.join(names)} out ({_take_out(base, others)}), merge "
            f"it and let every host confirm it; then open one pull request for {', then one for '.join(names)}",
        ),
    )


def _take_out(base: Version, findings: list[Finding]) -> str:
    """How these files become again what they are on the base."""
    old = " ".join(finding.file for finding in findings if finding.environment in base.stacks)
    new = " ".join(finding.file for finding in findings if finding.environment not in base.stacks)
    # In CI the base has a name that means something else in the author's clone.
    restore = f"`git checkout {base.commit[:12]} -- {old}`" if base.commit else f"put {old} back"
    return ", ".join(filter(None, (old and restore, new and f"`git rm --cached {new}`")))
