"""`make bench`: the whole rollout several times under load, then once the naive way; the server leg flipped many times,
previews timed.

Writes `build/bench.json`, `build/rollout.svg` and the figures behind it. The lab is its own and is removed at the end.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import flips, picture
from bench.calls import AcrossTelpro
from bench.naive import Naive
from bench.timeline import Timeline, timeline
from lab import figures, report
from lab.containers import DockerError
from lab.errors import LabError
from lab.figures import Round
from lab.lab import Lab
from lab.layout import HOSTS
from lab.measure import LoadInvalid, Request
from lab.traffic import Traffic
from lab.walk import Walker, report_path
from toolchain.errors import SetupError, end_on_sigterm
from toolchain.progress import part, say

_PREVIEWS = 5
_LOAD_SECONDS = 3 * 3600.0
_STATE = ("/var/lib/voiceai/settings", "/var/lib/voiceai/journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of taking the steps, walked: its rounds, calls across telpro's flips, all requests sent meanwhile."""

    title: str
    rounds: tuple[Round, ...]
    calls: list[dict[str, Any]]
    requests: list[Request] = field(repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """One object a move."""
        return figures.rows(self.rounds, self.requests)

    def failures(self) -> list[str]:
        """Each failed request in a sentence."""
        return figures.failures([step for one in self.rounds for step in one.steps], self.requests)

    def timeline(self) -> Timeline:
        """The way forward of the first round, for the picture."""
        return timeline(
            self.title, [step for step in self.rounds[0].steps if step.move.direction == "forward"], self.requests
        )


def our_way(walker: Walker, rounds: int) -> Way:
    """Every move by `pulumi up`, forward and back."""
    with Traffic(walker.lab, "rounds", seconds=_LOAD_SECONDS) as traffic:
        traffic.wait_until_flowing()
        across = AcrossTelpro(walker.lab)
        walked = tuple(walker.round(traffic, across) for _ in range(rounds))
    return Way(title="This program", rounds=walked, calls=across.outcomes, requests=traffic.requests())


def naive_way(walker: Walker) -> Way:
    """The same moves by recreated containers, forward and back once."""
    with Traffic(walker.lab, "naive", seconds=_LOAD_SECONDS) as traffic:
        traffic.wait_until_flowing()
        across = AcrossTelpro(walker.lab)
        walked = (Naive(walker).round(traffic, across),)
    title = "The same steps by recreating containers"
    return Way(title=title, rounds=walked, calls=across.outcomes, requests=traffic.requests())


def preview_seconds(walker: Walker, times: int) -> list[float]:
    """How long `pulumi preview` of the next step takes, whole process, nothing else running."""
    walker.set("POSTGRES_TLS_ENABLED", "on")
    taken = []
    for _ in range(times):
        start = time.monotonic()
        walker.pulumi("preview")
        taken.append(round(time.monotonic() - start, 2))
    walker.set("POSTGRES_TLS_ENABLED", "off")
    return taken


def second_up(walker: Walker) -> dict[str, Any]:
    """A second `up`: how many resources change, and whether a host was reached (its update.sh leaves a journal)."""
    before = _touched(walker.lab)
    start = time.monotonic()
    changed = walker.up()
    return {
        "changed": changed,
        "hosts_touched": _touched(walker.lab) != before,
        "seconds": round(time.monotonic() - start, 2),
    }


def measure(lab: Lab, chosen: argparse.Namespace) -> tuple[dict[str, Any], list[Way]]:
    """Everything, once: the figures for the report, and both ways."""
    lab.up()
    lab.leave_cores_to_servers()
    walker = Walker(lab)
    walker.to_start()
    ours = our_way(walker, chosen.rounds)
    # What can't be measured is found out before more time goes by.
    each = ours.rows()
    for key, value in (("PREPARED", "on"), ("CERTIFICATE_GENERATION", "1")):
        walker.set(key, value)
        walker.up()
    with part("previews"):
        previews = preview_seconds(walker, _PREVIEWS)
    again = second_up(walker)
    legs = _flips(walker, chosen.flips, chosen.plain_flips) if chosen.flips else []
    naive = naive_way(walker)
    return {
        "steps": figures.over_rounds(each),
        "rounds": each,
        "kinds": figures.totals(ours.requests),
        "calls": ours.calls,
        "failures": ours.failures(),
        "naive": figures.over_rounds(naive.rows()),
        "naive_kinds": figures.totals(naive.requests),
        "naive_calls": naive.calls,
        "preview_seconds": previews,
        "second_up": again,
        "server_leg_flips": legs,
    }, [ours, naive]


def _flips(walker: Walker, count: int, plain_count: int) -> list[dict[str, Any]]:
    walker.set("POSTGRES_TLS_ENABLED", "on")
    walker.up()
    with part(f"the server leg: {count} flips our way, {plain_count} by plain RELOAD"):
        legs = flips.run(walker.lab, count, plain_count)
    walker.up()
    walker.set("POSTGRES_TLS_ENABLED", "off")
    walker.up()
    return legs


def run(chosen: argparse.Namespace) -> int:
    """Measure, write, show. 1 when a request failed our way, or the naive way did no harm."""
    lab = Lab("bench")
    try:
        found, ways = measure(lab, chosen)
        report.write(report_path(lab, "bench.json"), found)
        picture.write([way.timeline() for way in ways], lab.layout.build)
    finally:
        lab.down()
    show(found)
    return verdict(found)


def show(found: dict[str, Any]) -> None:
    """The figures for a terminal."""
    print(figures.table(found["steps"], figures.MOVES))
    print(f"\n{figures.table(found['kinds'], figures.KINDS)}")
    print(f"\nThe naive way:\n{figures.table(found['naive'], figures.MOVES)}")
    print(f"\n{figures.table(found['naive_kinds'], figures.KINDS)}")
    print(f"\npreview of a step: median {statistics.median(found['preview_seconds'])} s of {found['preview_seconds']}")
    print(f"second up: {found['second_up']}")
    for key in ("calls", "naive_calls"):
        print(
            f"{key} in progress across telpro's flips: {_sum(found[key], 'failed')} of {_sum(found[key], 'calls')} lost"
        )
    for leg in found["server_leg_flips"]:
        print(", ".join(f"{key} {value}" for key, value in leg.items()))
    for line in found["failures"]:
        print(line)


def verdict(found: dict[str, Any]) -> int:
    """0 when nothing failed our way and the naive way was seen to hurt, else 1 with a sentence."""
    ours = [*found["kinds"], *found["calls"], *(leg for leg in found["server_leg_flips"] if leg["way"] == flips.OURS)]
    failed = _sum(ours, "failed")
    if failed:
        print(f"{failed} requests or calls failed our way")
    harmed = _sum(found["naive_kinds"], "failed")
    if not harmed:
        print("the naive way did no harm in this run, so this load proves nothing about ours")
    return 1 if failed or not harmed else 0


def _sum(objects: Sequence[dict[str, Any]], key: str) -> int:
    return sum(one[key] for one in objects)


def _touched(lab: Lab) -> list[str]:
    """What changes on a host whenever update.sh runs there: the settings it verified last, by time and inode."""
    return [lab.run(host, "stat", "-c", "%n %i %Y %Z", *_STATE) for host in HOSTS]


def main(arguments: Sequence[str]) -> int:
    """0 done, 1 a figure is bad or something failed, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often forward and back (default: 3)")
    parser.add_argument(
        "--flips", type=int, default=20, help="how often the server leg flips our way (default: 20; 0: none)"
    )
    parser.add_argument("--plain-flips", type=int, default=20, help="how often by plain RELOAD (default: 20)")
    chosen = parser.parse_args(arguments)
    end_on_sigterm()
    try:
        return run(chosen)
    except (LabError, DockerError, SetupError, LoadInvalid) as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nbench: interrupted; `make lab-down` removes what is left")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
