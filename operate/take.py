"""`operate next` and `operate back`: the command line, the walk from step to step, and how it ends."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from operate import asking
from operate.command import Commands, add_command, add_place, place_of
from operate.config_file import Taken
from operate.errors import BadInput
from operate.remote import Remote
from operate.screen import Screen
from operate.standing import Standing
from operate.step import Hosts, Operator, stdin_confirms
from operate.stopped import EXIT_BAD_INPUT, EXIT_BUSY, EXIT_INTERRUPTED, Stopped
from operate.way import Direction, Move, way
from rollout.moves import describe
from rollout.steps import TRACKS

_EXITS = """\
exit codes:
  0    done and verified; or there is nothing to do; or, where protected, the diff is written
  1    refused, or not confirmed: nothing was applied, the config file is as it was
  2    bad input: unknown step, unreadable file or stack
  3    it was applied and failed, or does not verify: what stands is told, and what to do
  4    busy: another update of the stack or of a host is under way; nothing was changed
  130  interrupted: what stands is told
"""

_HELP = {
    "next": """\
Takes the next step of the rollout, or with --to every step up to a place: shows it, asks its hosts now whether they
would take it, sets the one line of the config, previews, asks, applies (pulumi up), and verifies on the wire. It stops
at the first thing that is not as it should be. Where the last move is not confirmed by every host, that is finished
first.
""",
    "back": """\
Takes the last step back, or with --to every step back to a place, in the same way as `operate next`. Where the last
move is not confirmed by every host, that is taken back first.
""",
}

_AFTER = f"""\
{_EXITS}
Without --track the way is the whole one: what both tracks share, postgres, then redis; back in reverse.
In an environment whose config says `protected: true` nothing is set or applied: the diff is written to standard output,
for a pull request (`| git apply`).

examples:
  python -m operate next --stack staging
  python -m operate next --to postgres 5 --yes
  python -m operate next --to apps.web.REDIS_TLS_ENABLED=true
  python -m operate back --to start --yes
"""


def add(commands: Commands) -> None:
    """Adds the two commands."""
    for direction, goal, help_text in (
        ("next", "end", "take the next step"),
        ("back", "start", "take the last step back"),
    ):
        parser = add_command(commands, direction, run, summary=help_text, description=_HELP[direction], epilog=_AFTER)
        parser.add_argument(
            "--to",
            nargs="+",
            default=[],
            metavar="STEP",
            help=f"walk there: {goal}, a track's step (postgres 5, redis 4), KEY=VALUE",
        )
        parser.add_argument("--track", default="", choices=("", *TRACKS), help="only this track", metavar="TRACK")
        parser.add_argument("--yes", action="store_true", help="apply without asking")
        add_place(parser)
        parser.add_argument(
            "--without-preflight",
            action="store_true",
            help="do not ask hosts beforehand: each asks itself the same before it changes anything",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="one JSON object on standard output when it has ended (docs/operate-next.md); the text then goes to "
            "standard error",
        )


def run(chosen: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    screen = Screen(as_json=chosen.json)
    screen.story.environment = chosen.stack.rpartition("/")[2]
    code = _ended(chosen, screen)
    if chosen.json:
        print(json.dumps(screen.story.to_plain(chosen.command, code), indent=2, ensure_ascii=False), flush=True)
    return code


def _ended(chosen: argparse.Namespace, screen: Screen) -> int:
    """The walk, and how it ends."""
    try:
        _walk(chosen, screen)
    except BadInput as error:
        return screen.ended(chosen.command, EXIT_BAD_INPUT, str(error))
    except Taken as taken:
        return screen.ended(chosen.command, EXIT_BUSY, str(taken))
    except Stopped as stopped:
        return screen.stopped(stopped)
    except KeyboardInterrupt:
        return screen.ended(
            chosen.command,
            EXIT_INTERRUPTED,
            "interrupted; nothing of a further step was applied, and the config file is as it was before it",
        )
    return 0


def _walk(chosen: argparse.Namespace, screen: Screen) -> None:
    direction: Direction = chosen.command
    to = " ".join(chosen.to)
    place = place_of(chosen)
    # The engine's API takes half a second to import: bad input is told before.
    from operate.engine import Engine

    file = place.file
    operator = Operator(
        stack=place.stack,
        folder=place.folder,
        file=file,
        engine=Engine(stack=place.stack, folder=place.folder, tell=screen.host),
        hosts=_hosts(place.ssh_config),
        screen=screen,
        confirm=_confirm(chosen.yes),
        ask_hosts=not chosen.without_preflight,
    )
    with file.held():
        taken = 0
        while True:
            here = operator.look()
            screen.story.environment = here.environment
            step = _due(here, direction, to=to, track=chosen.track, taken=taken)
            if step is None:
                break
            if not operator.take(here, step[0]):
                return
            taken += 1
            screen.done()
    if not taken:
        screen.note(f"{here.environment}: nothing to do: it stands there already")
    elif file.uncommitted():
        screen.note(
            f"{file.path.name} is not committed: commit it, so that the next deploy does not take the step back"
        )


def _due(here: Standing, direction: Direction, *, to: str, track: str, taken: int) -> tuple[Move | None] | None:
    """The step that is due, in a tuple (a None in it is the last one again); None where the walk is over."""
    if not to and taken:
        return None
    # A place that is none is told before anything is done.
    moves = way(here.configuration.declared, direction, to=to, track=track)
    if here.pending:
        return (_pending(here, direction),)
    return (moves[0],) if moves else None


def _pending(here: Standing, direction: Direction) -> Move | None:
    """What to do first about a move that is not confirmed: the same again, or back to what was."""
    last = describe(here.record.confirmed, here.record.attempted)
    if last.key is None or (last.direction == "forward") is (direction == "next"):
        return None
    return last.key, last.before


def _hosts(config: str) -> Hosts:
    def remote(here: Standing) -> Remote:
        return Remote(ssh=here.configuration.ssh, config=config)

    return Hosts(
        preflight=lambda here, told: asking.preflight(remote(here), here.configuration, told),
        verify=lambda here, revisions: asking.verify(
            remote(here), here.configuration, {host: (one,) for host, one in revisions.items()}
        ),
    )


def _confirm(yes: bool) -> Any:
    if yes:
        return lambda: True
    return stdin_confirms if sys.stdin is not None and sys.stdin.isatty() else None
