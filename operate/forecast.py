"""`operate forecast`: the command. What would a restart of each container come to, and what ends first?"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

from operate.errors import BadInput
from operate.findings import head
from operate.forecast_text import as_text
from operate.forecasting import Forecast, forecast
from operate.palette import palette_for
from operate.survey import Survey, add_options, bad_input, survey, view_of
from rollout.declared import Declared
from rollout.ledger import last_confirmed

EXIT_WOULD_NOT, EXIT_NOT_ALL_ASKED = 1, 3

_WHAT = """\
Would a restart of each container right now still serve every hop, and which certificate ends first? Each host proves
it on itself (update.sh --report --restart): Postgres's own check, a second PgBouncer and Redis on loopback with the
files of a start, a login of each app from its own host. Nothing is restarted and nothing is changed anywhere.
"""

_AFTER = """\
exit codes:
  0    every container would serve what was verified
  1    one would not, or a certificate that is verified has ended
  2    bad input: no such file, a config that is refused, an unknown host
  3    nothing was found against a start, and a host did not answer or a container could not be judged
  130  interrupted

examples:
  python -m operate forecast --stack staging
  python -m operate forecast --stack production --host database --json
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "forecast",
        help="would a restart still serve, and what expires first",
        description=_WHAT,
        epilog=_AFTER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    try:
        asked = survey(view_of(chosen), restart=True)
    except BadInput as error:
        return bad_input("forecast", error, as_json=chosen.json)
    found = forecast(_declared(asked), asked.reports, now=datetime.now(UTC), stack=asked.view.stack)
    code = exit_code(found, asked)
    if chosen.json:
        print(json.dumps(to_plain(found, asked, code), indent=2, ensure_ascii=False))
    else:
        lines = as_text(found, asked.view.environment, asked.unanswered, palette_for(sys.stdout, os.environ))
        print("\n".join(lines))
    sys.stdout.flush()
    return code


def exit_code(found: Forecast, asked: Survey) -> int:
    """What is against a start counts before what could not be asked."""
    if not found.holds:
        return EXIT_WOULD_NOT
    return EXIT_NOT_ALL_ASKED if asked.unanswered or not found.certain else 0


def to_plain(found: Forecast, asked: Survey, code: int) -> dict[str, Any]:
    """The JSON object, see docs/operate-forecast.md."""
    return {
        **head("forecast", asked.view.environment, asked.declaration),
        "code": code,
        **found.to_plain(),
        "unanswered": [{"host": one.host, "why": one.why, "todo": one.todo} for one in asked.unanswered],
    }


def _declared(asked: Survey) -> Declared:
    """What every host has confirmed; what the file declares where there is no such record to be read."""
    known = asked.declaration.known
    return last_confirmed(known.record, known.receipts) if known and known.record else asked.declaration.file
