"""The command line: which command, its arguments, and how each ends. No user sees a traceback."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from operate import check, drift, forecast, markdown, stacks, status, take, verify
from operate.command import Commands, add_command, bad_input
from operate.errors import BadInput
from operate.palette import palette_for
from operate.source import read_pair
from operate.text import as_text

EXIT_REFUSED = 1
EXIT_BAD_INPUT = 2

_EXITS = """\
exit codes:
  0    allowed, or nothing changes
  1    refused; each reason is told with what to do
  2    bad input: unknown revision, unreadable file, YAML error (with its line), misused option
  130  interrupted
"""

_CHECK = """\
What a change of Pulumi.<environment>.yaml is: which step, forward or back, the hosts that it reaches and in which
order, what live traffic notices, how to go back; or why it is refused and what to do.

BASE and HEAD are each a git revision, a folder, or a stack's file; a path that exists wins over a revision of the same
name (refs/heads/NAME is always the branch). Nothing is changed anywhere.
"""

_AFTER = f"""\
{_EXITS}
Where a stack can be read, the change is judged from what its hosts have confirmed, by the ledger's own rules, and a
base that was never applied is told of. On the ladder (ladder.yaml) a step forward needs the stack of the environment
below; going back never does.

examples:
  python -m operate check origin/main HEAD
  python -m operate check origin/main . --read-stacks
  pulumi stack export --stack staging | python -m operate check old.yaml Pulumi.staging.yaml --stack-record -
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code, see `--help`."""
    chosen = _parser().parse_args(arguments)
    try:
        with _ended_by_signals():
            return int(chosen.run(chosen))
    except BadInput as error:
        return bad_input(chosen, error)
    except KeyboardInterrupt:
        _say(f"operate {chosen.command}: interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read us has seen enough; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A terminal that closes and a `kill` are as Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operate",
        description="The operator's command.",
        epilog=_EXITS.replace("exit codes:", "exit codes of check; those of the others are in their --help:"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_check(commands)
    take.add(commands)
    status.add(commands)
    drift.add(commands)
    verify.add(commands)
    forecast.add(commands)
    return parser


def _add_check(commands: Commands) -> None:
    summary = "what step a pull request is, or why it is refused"
    parser = add_command(commands, "check", _check, summary=summary, description=_CHECK, epilog=_AFTER)
    parser.add_argument("base", metavar="BASE", help="the version before")
    parser.add_argument("head", metavar="HEAD", help="the version after")
    parser.add_argument(
        "--stack-record",
        action="append",
        default=[],
        metavar="[ENV=]FILE",
        help="what `pulumi stack export` printed (- is standard input); may be given for several stacks. Only the "
        "ledger's record and the receipts are read, and nothing else of it is ever printed",
    )
    parser.add_argument(
        "--read-stacks",
        action="store_true",
        help="run `pulumi stack export --stack ENV` (it only reads) for the environments that change and those below",
    )
    parser.add_argument(
        "--project", default=".", metavar="FOLDER", help="the project's folder, for revisions and paths (default: .)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--markdown", action="store_true", help="as Markdown, for a comment or a job summary")


def _check(chosen: argparse.Namespace) -> int:
    folder = Path(chosen.project)
    try:
        if not folder.is_dir():
            raise BadInput(f"--project {folder}: there is no such folder")
        base, head = read_pair(chosen.base, chosen.head, folder)
        known = stacks.from_files(tuple(chosen.stack_record))
        if chosen.read_stacks:
            asked = tuple(name for name in check.environments_asked(base, head) if name not in known.read)
            known = stacks.merged(known, stacks.from_pulumi(asked, folder))
        report = check.check(base, head, known)
    except BadInput as error:
        return _bad_input(chosen, str(error))
    if chosen.json:
        sys.stdout.write(json.dumps(report.to_plain(), indent=2, ensure_ascii=False) + "\n")
    else:
        palette = palette_for(sys.stdout, os.environ)
        sys.stdout.write(markdown.as_markdown(report) if chosen.markdown else as_text(report, palette))
    sys.stdout.flush()
    return EXIT_REFUSED if report.verdict == "refused" else 0


def _bad_input(chosen: argparse.Namespace, sentence: str) -> int:
    """The sentence for the operator, and in the form that a program waits for."""
    _say(f"operate {chosen.command}: {sentence}")
    if chosen.json:
        print(json.dumps({"verdict": "bad input", "error": sentence}, ensure_ascii=False))
    elif chosen.markdown:
        print(markdown.failure(sentence))
    return EXIT_BAD_INPUT


def _say(text: str) -> None:
    print(text, file=sys.stderr)
