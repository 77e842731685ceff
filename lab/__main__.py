"""`python -m lab up | apps | down | status | ssh HOST [COMMAND…] | reboot HOST | images`."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from lab import images
from lab.containers import DockerError
from lab.errors import LabError
from lab.lab import Lab, all_labs
from lab.layout import DEFAULT_ID, HOSTS
from toolchain.errors import SetupError, end_on_sigterm
from toolchain.progress import part, say


def main(arguments: Sequence[str]) -> int:
    """Run one command. 0 done, 1 failed with a sentence, 2 misused, 130 interrupted."""
    chosen = _parser().parse_args(arguments)
    end_on_sigterm()
    try:
        return _run(chosen)
    except (LabError, DockerError, SetupError, ValueError, OSError) as error:
        say(f"lab {chosen.command}: {error}")
        return 1
    except KeyboardInterrupt:
        say(f"\nlab {chosen.command}: interrupted; run it again to go on from here")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab", description="The real servers and eight hosts on one machine."
    )
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--lab", default=DEFAULT_ID, metavar="ID", help="several labs live side by side (default: lab)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("images", help="build the lab's images that are missing")
    commands.add_parser("up", parents=[which], help="start the lab, or go on where an interrupted start ended")
    commands.add_parser("apps", parents=[which], help="start the apps; the first `pulumi up` starts the servers")
    down = commands.add_parser("down", parents=[which], help="remove the lab: containers, network, volumes, folder")
    down.add_argument("--all", action="store_true", help="every lab of this checkout")
    down.add_argument("--quiet", action="store_true", help="say nothing unless it fails")
    commands.add_parser("status", parents=[which], help="what of the lab exists")
    reboot = commands.add_parser("reboot", parents=[which], help="reboot a host, its containers included")
    reboot.add_argument("host", choices=HOSTS)
    ssh = commands.add_parser("ssh", parents=[which], help="a shell, or one command, on a host")
    ssh.add_argument("host", choices=HOSTS)
    ssh.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser


def _run(chosen: argparse.Namespace) -> int:
    if chosen.command == "images":
        images.ensure(part)
        return 0
    if chosen.command == "down":
        return _down(chosen)
    lab = Lab(chosen.lab)
    match chosen.command:
        case "up":
            lab.up()
            say(f"  the lab {lab.name} is up: `. {lab.layout.env_file}` gives a shell in which pulumi works on it")
            say(f"  the first `pulumi up` starts the servers; after it, `{_again(lab, 'apps')}` starts the apps")
        case "apps":
            lab.start_apps()
            say(f"  the apps of the lab {lab.name} take requests")
        case "status":
            return _status(lab)
        case "reboot":
            lab.reboot(chosen.host)
        case "ssh":
            _ssh(lab, chosen.host, chosen.argv)
    return 0


def _again(lab: Lab, command: str) -> str:
    which = "" if lab.layout.lab_id == DEFAULT_ID else f" --lab {lab.layout.lab_id}"
    return f".venv/bin/python -m lab {command}{which}"


def _ssh(lab: Lab, host: str, argv: Sequence[str]) -> None:
    command = [*lab.ssh_command(host), *argv]
    if shutil.which("ssh") is None:
        other = f"docker exec -it {lab.layout.host(host)} bash"
        raise LabError(f"there is no ssh client: install openssh-client, or use `{other}`")
    os.execvp("ssh", command)  # noqa: S606 - the terminal becomes ssh's


def _down(chosen: argparse.Namespace) -> int:
    labs = all_labs() if chosen.all else [Lab(chosen.lab)]
    removed = [thing for lab in labs for thing in lab.down()]
    if not chosen.quiet:
        say(f"  removed {len(removed)} things of the lab" if removed else "  there is no lab")
    return 0


def _status(lab: Lab) -> int:
    entries = lab.status()
    for entry in entries:
        print(f"{entry['name']:40} {entry['state']:10} {entry['ports']}")
    if not entries:
        say(f"the lab {lab.layout.lab_id} does not exist: `make lab-up` starts it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
