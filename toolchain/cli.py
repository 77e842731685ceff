"""The commands of the set-up script."""

import argparse
import sys
from collections.abc import Sequence

from toolchain import dockerd, doctor, env, linting, lock, setup, testing
from toolchain.errors import SetupError, end_on_sigterm
from toolchain.progress import say


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 failed with a sentence, 2 misused, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python3 -m toolchain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    setting_up = commands.add_parser("setup", help="fetch, build and start whatever is missing")
    setting_up.add_argument("--for", dest="purpose", choices=["lint", "deploy", "test", "demo"], default="demo")
    commands.add_parser("doctor", help="what was found: each tool, its version, official or stand-in")
    commands.add_parser("env", help='lines for `eval "$(python3 -m toolchain env)"`')
    commands.add_parser("lint", help="run every linter")
    testing_parser = commands.add_parser("test", help="run pytest")
    testing_parser.add_argument("arguments", nargs=argparse.REMAINDER, help="handed on to pytest")
    commands.add_parser("lock", help="pin the requirements anew")
    commands.add_parser("stop-docker", help="stop the Docker daemon that the set-up started, if it did")
    chosen = parser.parse_args(arguments)

    end_on_sigterm()
    try:
        return _run(chosen)
    except (SetupError, OSError) as error:
        say(f"{chosen.command}: {error}")
        return 1
    except KeyboardInterrupt:
        say(f"\n{chosen.command}: interrupted; run it again to go on from here")
        return 130


def _run(chosen: argparse.Namespace) -> int:
    match chosen.command:
        case "setup":
            setup.run(chosen.purpose)
        case "doctor":
            return doctor.report()
        case "env":
            sys.stdout.write(env.shell_exports({}))
        case "lint":
            return linting.run()
        case "test":
            return testing.run(chosen.arguments)
        case "lock":
            lock.run()
        case "stop-docker":
            dockerd.stop_if_ours()
    return 0
