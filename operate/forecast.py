"""`operate forecast`: the command. What would a restart of each container come to, and what ends first?"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from operate.command import Commands, add_command, show
from operate.findings import head
from operate.forecast_text import as_text
from operate.forecasting import Forecast, forecast
from operate.survey import Survey, add_options, survey, view_of
from rollout.declared import Declared

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


def add(commands: Commands) -> None:
    """Adds the command."""
    summary = "would a restart still serve, and what expires first"
    parser = add_command(commands, "forecast", run, summary=summary, description=_WHAT, epilog=_AFTER)
    add_options(parser)


def run(chosen: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    asked = survey(view_of(chosen), restart=True)
    found = forecast(_declared(asked), asked.reports, now=datetime.now(UTC), stack=asked.view.stack)
    code = exit_code(found, asked)
    environment, silent = asked.view.environment, asked.unanswered
    show(chosen, to_plain(found, asked, code), lambda palette: as_text(found, environment, silent, palette))
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
        "unanswered": [one.to_plain() for one in asked.unanswered],
    }


def _declared(asked: Survey) -> Declared:
    """What every host has confirmed; what the file declares where there is no such record to be read."""
    return asked.declaration.confirmed or asked.declaration.file
