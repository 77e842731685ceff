"""`make bench`: the rollout several times under load, the server leg flipped both ways, previews timed.

Writes `build/bench.json`. The lab is its own and is removed at the end.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench import flips
from lab import report, walk
from lab.containers import DockerError
from lab.errors import LabError
from lab.lab import Lab
from lab.measure import LoadInvalid
from lab.traffic import Traffic
from toolchain.errors import SetupError, end_on_sigterm
from toolchain.progress import part, say

_PREVIEWS = 5


def preview_seconds(walker: walk.Walker, times: int) -> list[float]:
    """How long `pulumi preview` of the next step takes, whole process, nothing else running."""
    walker.set("POSTGRES_TLS_ENABLED", "on")
    taken = []
    for _ in range(times):
        start = time.monotonic()
        walker.pulumi("preview")
        taken.append(round(time.monotonic() - start, 2))
    walker.set("POSTGRES_TLS_ENABLED", "off")
    return taken


def second_up(walker: walk.Walker) -> dict[str, Any]:
    """A second `up`: how many resources change, and whether a host was reached (its update.sh leaves a journal)."""
    before = _touched(walker.lab)
    start = time.monotonic()
    changed = walker.up()
    return {
        "changed": changed,
        "hosts_touched": _touched(walker.lab) != before,
        "seconds": round(time.monotonic() - start, 2),
    }


def run(rounds: int, count: int, plain_count: int) -> int:
    """Everything measured, once. 1 when a request failed our way, or the plain way did no harm."""
    lab = Lab("bench")
    try:
        lab.up()
        walker = walk.Walker(lab)
        walker.to_start()
        with Traffic(lab, "rounds") as traffic:
            traffic.wait_until_flowing()
            steps = list(walker.rounds(rounds, traffic))
        requests = traffic.requests()
        each = walk.rows(steps, requests)
        walker.set("CERTIFICATE_GENERATION", "1")
        walker.up()
        with part("previews"):
            previews = preview_seconds(walker, _PREVIEWS)
        again = second_up(walker)
        walker.set("POSTGRES_TLS_ENABLED", "on")
        walker.up()
        with part(f"the server leg: {count} flips our way, {plain_count} by plain RELOAD"):
            legs = flips.run(lab, count, plain_count)
        measured = walk.over_rounds(each)
        failed = walk.failures(steps, requests)
        path = walk.report_path(lab, "bench")
        figures = {
            "steps": measured,
            "rounds": each,
            "failures": failed,
            "preview_seconds": previews,
            "second_up": again,
            "server_leg_flips": legs,
        }
        report.write(path, figures)
    finally:
        lab.down()
    print(walk.table(measured))
    print(f"\npreview of a step: median {statistics.median(previews)} s of {previews}")
    print(f"second up: {again}")
    for leg in legs:
        print(", ".join(f"{key} {value}" for key, value in leg.items()))
    for line in failed:
        print(line)
    ours, plain = legs
    harmless = plain["failed"] == 0 and plain["stalled_over_1s"] == 0
    if harmless:
        print("the plain RELOAD did no harm in this run, so this load proves nothing about the gate: run it again")
    return 1 if failed or ours["failed"] or harmless else 0


def _touched(lab: Lab) -> list[str]:
    """What changes on a host whenever update.sh runs there: the settings it verified last, by time and inode."""
    return [
        lab.run(host, "stat", "-c", "%n %i %Y %Z", "/var/lib/voiceai/settings", "/var/lib/voiceai/journal")
        for host in ("database", "app")
    ]


def main(arguments: Sequence[str]) -> int:
    """0 done, 1 a figure is bad or something failed, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often forward and back (default: 5)")
    parser.add_argument("--flips", type=int, default=100, help="how often the server leg our way (default: 100)")
    parser.add_argument("--plain-flips", type=int, default=40, help="how often by plain RELOAD (default: 40)")
    chosen = parser.parse_args(arguments)
    end_on_sigterm()
    try:
        return run(chosen.rounds, chosen.flips, chosen.plain_flips)
    except (LabError, DockerError, SetupError, LoadInvalid) as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nbench: interrupted; `make lab-down` removes what is left")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
