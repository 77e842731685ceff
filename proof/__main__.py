"""`make proof`: the rules against themselves, exhaustively, and against real servers. Writes `build/proof.json`.

1. In the pure core, every state that legal moves lead to: no dead end, no usable way back that is refused.
2. On real servers, every combination of settings that differs for one of them: usable exactly where it is allowed.
3. On the lab under load, every kind of legal move, and moves of both tracks in turn: no request fails.

Where rules and servers disagree, the rules are wrong, and the run ends with 1.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from lab import images, report
from lab.containers import DockerError
from lab.errors import LabError
from lab.lab import Lab
from lab.measure import LoadInvalid
from lab.walk import report_path
from proof import moves
from proof.certificates import material
from proof.matrix import Combination, combinations
from proof.servers import OK, Servers
from proof.space import explore, one_app
from proof.tour import Way
from toolchain.errors import SetupError, end_on_sigterm
from toolchain.progress import part, say

_PAIRS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A combination and what a client that connected anew met: `ok`, or its own error."""

    combination: Combination
    answer: str

    @property
    def agrees(self) -> bool:
        """Usable exactly where it is allowed."""
        return (self.answer == OK) == (not self.combination.refusal)

    def row(self) -> dict[str, Any]:
        """For the report: what breaks stands beside the rule that forbids it."""
        return {
            "hop": self.combination.hop,
            "tried": dict(self.combination.tried),
            "allowed": not self.combination.refusal,
            "rule": self.combination.refusal,
            "servers": self.answer,
            "agrees": self.agrees,
        }


def core() -> dict[str, Any]:
    """The exhaustive look at the rules."""
    with part("every state that legal moves lead to"):
        found = explore(one_app())
    return {**asdict(found), "kinds": sorted(map(str, found.kinds))}


def matrix() -> list[Tried]:
    """Every combination on real servers."""
    images.ensure(part)
    issued = material()
    asked = list(combinations(issued, datetime.now(UTC)))
    with part(f"{len(asked)} combinations on real servers"), Servers(material=issued) as servers:
        return [Tried(combination=one, answer=servers.tried(one)) for one in asked]


def walked(lab: Lab, name: str, way: Way) -> dict[str, Any]:
    """A way on the lab, with what the load met."""
    say(f"{name}: {len(way)} moves under load")
    done = moves.walk(lab, way)
    return {
        "moves": len(done.moves),
        "kinds": len({one.kind for one in done.moves}),
        "requests": len(done.requests),
        "failed": sum(not one.ok for one in done.requests),
        "failures": done.failures(),
        "steps": done.rows(),
    }


def run(chosen: argparse.Namespace) -> int:
    """Prove, write, show. 1 where something disagrees or failed, else 0."""
    lab = Lab("proof")
    found: dict[str, Any] = {"core": core()}
    tried = matrix()
    found["combinations"] = [one.row() for one in tried]
    if not chosen.without_moves:
        try:
            found["every kind of move"] = walked(lab, "every kind of move", moves.all_kinds())
            found["both tracks in turn"] = walked(lab, "both tracks in turn", moves.pairs(chosen.pairs))
            with part("previews with and without the policy pack"):
                found["pack_seconds"] = moves.pack_seconds(lab)
        finally:
            lab.down()
    found["counts"] = counts(found, tried)
    report.write(report_path(lab, "proof.json"), found)
    for key, value in found["counts"].items():
        print(f"{key:34} {value}")
    if "pack_seconds" in found:
        print(f"{'the pack adds to a preview, s':34} {found['pack_seconds']['added_median']}")
    for one in tried:
        if not one.agrees:
            print(
                f"disagree: {one.combination.title}: the servers say {one.answer}, the rules {one.combination.refusal}"
            )
    return 1 if bad(found["counts"]) else 0


def counts(found: dict[str, Any], tried: Sequence[Tried]) -> dict[str, int]:
    """What is proved, in figures."""
    walks = [walk for walk in found.values() if isinstance(walk, dict) and "steps" in walk]
    return {
        "states reached by legal moves": found["core"]["states"],
        "moves judged": found["core"]["moves"],
        "legal moves": found["core"]["legal"],
        "dead ends": len(found["core"]["dead_ends"]),
        "usable ways back refused": len(found["core"]["blocked_back"]),
        "kinds of legal moves": len(found["core"]["kinds"]),
        "combinations tried": len(tried),
        "combinations that agree": sum(one.agrees for one in tried),
        "forbidden and seen to break": sum(bool(one.combination.refusal) and one.answer != OK for one in tried),
        "kinds of moves made": max((walk["kinds"] for walk in walks), default=0),
        "moves made under load": sum(walk["moves"] for walk in walks),
        "requests": sum(walk["requests"] for walk in walks),
        "failed": sum(walk["failed"] for walk in walks),
    }


def bad(figures: dict[str, int]) -> bool:
    """Whether anything is not as it must be."""
    made = figures["moves made under load"] == 0 or figures["kinds of moves made"] == figures["kinds of legal moves"]
    agree = figures["combinations that agree"] == figures["combinations tried"]
    return not (made and agree) or any(figures[key] for key in ("dead ends", "usable ways back refused", "failed"))


def main(arguments: Sequence[str]) -> int:
    """0 proved, 1 something disagrees or failed, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m proof", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--without-moves", action="store_true", help="leave out the walks on the lab (3)")
    parser.add_argument("--pairs", type=int, default=_PAIRS, help=f"moves of both tracks in turn (default: {_PAIRS})")
    chosen = parser.parse_args(arguments)
    end_on_sigterm()
    try:
        return run(chosen)
    except (LabError, DockerError, SetupError, LoadInvalid) as error:
        say(f"proof: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nproof: interrupted; `make lab-down` removes what is left")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
