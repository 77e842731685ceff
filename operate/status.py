"""`operate status`: where an environment stands on the wire, in one screen. It only reads."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime

from operate.errors import BadInput
from operate.palette import palette_for
from operate.status_view import as_text, status_of
from operate.survey import add_options, bad_input, survey, view_of

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


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "status",
        help="where it stands on the wire, who is connected how, and what differs",
        description=_HELP,
        epilog=_AFTER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    try:
        found = status_of(survey(view_of(chosen)), datetime.now(UTC))
    except BadInput as error:
        return bad_input("status", error, as_json=chosen.json)
    if chosen.json:
        print(json.dumps(found.to_plain(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(as_text(found, palette_for(sys.stdout, os.environ))))
    sys.stdout.flush()
    return 0
