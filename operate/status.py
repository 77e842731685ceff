"""`operate status`: where an environment stands on the wire, in one screen. It only reads."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from operate.command import Commands, add_command, show
from operate.status_view import as_text, status_of
from operate.survey import add_options, survey, view_of

_HELP = """\
Where the environment stands on the wire: for each host and hop what is declared, confirmed and served (from handshakes
and logins that each host makes now), who is connected in TLS and who in plaintext, where each track of the rollout
stands by that, and every difference to what was declared, with the command that reconciles it. Nothing is changed.
"""

_AFTER = """\
exit codes:
  0    it is shown; a host that does not answer is a row of it
  2    bad input: unknown stack or host, unreadable file
  130  interrupted

examples:
  python -m operate status --stack staging
  python -m operate status --host database --json
"""


def add(commands: Commands) -> None:
    """Adds the command."""
    summary = "where it stands on the wire, who is connected how, and what differs"
    parser = add_command(commands, "status", run, summary=summary, description=_HELP, epilog=_AFTER)
    add_options(parser)


def run(chosen: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    found = status_of(survey(view_of(chosen)), datetime.now(UTC))
    show(chosen, found.to_plain(), lambda palette: as_text(found, palette))
    return 0
