"""Every kind of legal move on real servers under load, one `pulumi up` a move: no request may fail.

The lab with one app, so that the walk is what `tour.py` chose from the rules for such an inventory; which app it is,
and how many there are, no server sees.
"""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import yaml

from lab import apps
from lab.figures import Move
from lab.files import write
from lab.lab import Lab
from lab.load.profiles import KINDS
from lab.measure import Request, Window, overlapping
from lab.traffic import Traffic
from lab.walk import SETTLE_SECONDS, Walker, follow_after, follow_before
from proof.space import Kind, explore, legal_moves, one_app
from proof.tour import Way, made, tour
from rollout.path import ahead, behind, with_value
from rollout.steps import GENERATION, PREPARED, TRACKS, stages
from toolchain.progress import part

APP = "worker"
LOAD = tuple(kind for kind in KINDS if kind == f"http-{APP}" or kind.startswith(("postgres-", "redis-")))
PACK = ("--policy-pack", "policy")
_LOAD_SECONDS = 2 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A move that was made, its window, and what the load sent in it."""

    kind: Kind
    window: Window
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """All moves, and every request from the first to the end."""

    moves: tuple[Moved, ...]
    requests: list[Request] = field(repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """One object a move."""
        return [
            {
                "move": str(one.kind),
                "direction": one.kind.direction,
                "seconds": round(one.seconds, 2),
                "requests": len(sent),
                "failed": sum(not request.ok for request in sent),
            }
            for one in self.moves
            for sent in [overlapping(self.requests, one.window)]
        ]

    def failures(self) -> list[str]:
        """Each failed request in a sentence."""
        return [f"{one.kind} at {one.start:.1f}: {one.error}" for one in self.requests if not one.ok]


def all_kinds() -> Way:
    """The walk that makes every kind of move that the rules allow."""
    start = one_app(APP)
    return tour(start, explore(start).kinds)


def pairs(count: int, seed: int = 1) -> Way:
    """Both tracks at once: moves drawn from what is legal, each of the other track than the one before where it can be.

    Only the values of the rollout itself, so that the two tracks meet in as many of their places as `count` allows.
    """
    drawn = random.Random(seed)  # noqa: S311  # a sample, no secret
    here, way, last = one_app(APP), [], ""
    for key, value in ahead(here)[:2]:
        here = with_value(here, key, value)
        way.append((key, value))
    ways = [stage for track in TRACKS for stage in stages(track, here.settings)]
    places = {(stage.key, value) for stage in ways for value in (stage.row.target, stage.lower)}
    while len(way) < count:
        legal = [move for move in legal_moves(here) if move in places and move[0] not in (PREPARED, GENERATION)]
        other = [move for move in legal if _track(move[0]) != last] or legal
        key, value = drawn.choice(other)
        here, last = with_value(here, key, value), _track(key)
        way.append((key, value))
    return (*way, *behind(here))


def _track(key: str) -> str:
    return "redis" if "REDIS" in key else "postgres"


def walk(lab: Lab, way: Way) -> Walked:
    """The lab brought up with its one app, and the moves made one after another under load."""
    lab.up()
    walker = Walker(lab)
    _leave_one_app(lab)
    with part("deploying the servers as the stack declares them (pulumi up)"):
        walker.up()
    apps.start(lab.layout, APP)
    moved = []
    with Traffic(lab, "proof", seconds=_LOAD_SECONDS, kinds=LOAD) as traffic:
        traffic.wait_until_flowing()
        for number, ((key, value), kind) in enumerate(zip(way, made(walker.declared(), way), strict=True), 1):
            with part(f"{number} of {len(way)}: {kind}"):
                moved.append(_move(walker, traffic, key, value, kind))
    return Walked(moves=tuple(moved), requests=traffic.requests())


def pack_seconds(lab: Lab, pairs: int = 5) -> dict[str, Any]:
    """What the policy pack adds to `pulumi preview` of a step: with and without it in turn, whole processes."""
    walker = Walker(lab)
    walker.set(PREPARED, "on")
    taken: dict[str, list[float]] = {"without": [], "with": []}
    try:
        walker.pulumi("preview", *PACK)
        for _ in range(pairs):
            for name, arguments in (("without", ()), ("with", PACK)):
                start = time.monotonic()
                walker.pulumi("preview", *arguments)
                taken[name].append(round(time.monotonic() - start, 2))
    finally:
        walker.set(PREPARED, "off")
    added = [one - other for one, other in zip(taken["with"], taken["without"], strict=True)]
    return {**taken, "added_median": round(statistics.median(added), 2)}


def _move(walker: Walker, traffic: Traffic, key: str, value: str, kind: Kind) -> Moved:
    move = Move(key=key, value=value, direction=kind.direction)
    follow_before(move, traffic)
    walker.set(key, value)
    start = time.time()
    walker.up()
    seconds = time.time() - start
    time.sleep(SETTLE_SECONDS)
    follow_after(move, traffic)
    return Moved(kind=kind, window=Window(start=start, end=start + seconds + SETTLE_SECONDS), seconds=seconds)


def _leave_one_app(lab: Lab) -> None:
    """The inventory of `one_app`, in the stack's configuration."""
    document = yaml.safe_load(lab.layout.stack_config.read_text())
    config = document["config"]
    config["internal-tls:apps"] = {APP: config["internal-tls:apps"][APP]}
    config["internal-tls:hosts"] = {host: config["internal-tls:hosts"][host] for host in ("database", APP)}
    write(lab.layout.stack_config, yaml.safe_dump(document, sort_keys=False))
