"""`make demo`: Postgres and Redis go from plaintext to TLS and back while requests keep succeeding, and what each step
cost is shown.

Leaves the lab up with all steps taken, so that one can look around.
"""

import argparse
import sys
from collections.abc import Sequence

from lab import figures, report
from lab.containers import DockerError
from lab.errors import LabError
from lab.lab import Lab
from lab.layout import DEFAULT_ID
from lab.measure import LoadInvalid
from lab.traffic import Traffic
from lab.walk import Walker, report_path
from toolchain.errors import SetupError, end_on_sigterm
from toolchain.progress import say

LOOK_AROUND = """
The lab is up, with all steps taken. Look around:
  . build/{lab}/env && pulumi stack output          where the rollout stands
  . build/{lab}/env && pulumi config set REDIS_FORCE_TLS false && pulumi preview         a step back
  . build/{lab}/env && pulumi config set POSTGRES_TLS_ENABLED off && pulumi preview      refused, with the reason
  .venv/bin/python -m lab ssh database /opt/voiceai/update.sh --status
  .venv/bin/python -m lab ssh database 'cd /opt/voiceai && docker compose exec -T voiceai-postgres psql -U voiceai \\
      -c "SELECT ssl, version FROM pg_stat_ssl WHERE pid=pg_backend_pid();"'
  .venv/bin/python -m lab ssh api1 'grep -E "SSL|TLS" /opt/api/app.env; docker compose -f /opt/api/compose.yaml ps'
Take it down: make lab-down"""


def run(rounds: int) -> int:
    """Lab, rollout, table, `build/demo.json`. 1 when a request failed, else 0."""
    lab = Lab()
    lab.up()
    lab.leave_cores_to_servers()
    walker = Walker(lab)
    walker.to_start()
    with Traffic(lab, "demo") as traffic:
        traffic.wait_until_flowing()
        walked = [walker.round(traffic) for _ in range(rounds)]
    requests = traffic.requests()
    walker.to_end()
    measured = figures.over_rounds(figures.rows(walked, requests))
    kinds = figures.totals(requests)
    failed = figures.failures([step for one in walked for step in one.steps], requests)
    path = report_path(lab, "demo.json")
    report.write(path, {"steps": measured, "kinds": kinds, "failures": failed})
    print(figures.table(measured, figures.MOVES))
    print(f"\n{figures.table(kinds, figures.KINDS)}")
    print(
        f"\nThe same in {path.relative_to(lab.layout.project)}. A step's noise is a quiet window against another one."
    )
    for line in failed:
        print(line)
    print(LOOK_AROUND.format(lab=DEFAULT_ID))
    return 1 if failed else 0


def main(arguments: Sequence[str]) -> int:
    """0 done, 1 failed with a sentence, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often forward and back (default: 1)")
    chosen = parser.parse_args(arguments)
    end_on_sigterm()
    try:
        return run(chosen.rounds)
    except (LabError, DockerError, SetupError, LoadInvalid) as error:
        say(f"demo: {error}")
        return 1
    except KeyboardInterrupt:
        say("\ndemo: interrupted; run it again to go on, or `make lab-down`")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
