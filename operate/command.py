"""What commands have in common: how each is added, the place it works in, what it prints, how it says bad input."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from operate.config_file import ConfigFile
from operate.errors import BadInput
from operate.palette import Palette, palette_for
from operate.stopped import EXIT_BAD_INPUT

FORMAT = 1
"""Of the JSON that commands print; it grows when something that was there means something else or is gone."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""argparse has no name for it that can be subscripted when the program runs."""
Run = Callable[[argparse.Namespace], int]
"""Returns the exit code; raises `BadInput` for what was typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command works: the project's folder, its stack, that stack's file, an ssh_config(5) file or ""."""

    folder: Path
    stack: str
    file: ConfigFile
    ssh_config: str


def add_command(
    commands: Commands, name: str, run: Run, *, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    """Adds one, its texts as they are."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_place(parser: argparse.ArgumentParser) -> None:
    """The options that say where."""
    parser.add_argument(
        "--stack",
        default=os.environ.get("PULUMI_STACK", ""),
        help="the stack (default: PULUMI_STACK, or the selected one)",
    )
    parser.add_argument("--project", default=".", metavar="FOLDER", help="the project's folder (default: .)")
    parser.add_argument(
        "--ssh-config",
        default="",
        metavar="FILE",
        help="an ssh_config(5) file for asking hosts, such as ~/.ssh/config with a ProxyJump",
    )


def place_of(chosen: argparse.Namespace) -> Place:
    """What these options name; raises `BadInput`."""
    folder = Path(chosen.project).resolve()
    if not folder.is_dir():
        raise BadInput(f"--project {chosen.project}: there is no such folder")
    ssh_config = str(Path(chosen.ssh_config).expanduser()) if chosen.ssh_config else ""
    if ssh_config and not Path(ssh_config).is_file():
        raise BadInput(f"--ssh-config {chosen.ssh_config}: there is no such file")
    stack = chosen.stack or _selected(folder)
    return Place(
        folder=folder, stack=stack, file=ConfigFile.find(folder, stack, dict(os.environ)), ssh_config=ssh_config
    )


def _selected(folder: Path) -> str:
    # The engine's API takes half a second to import: only where it is needed.
    from operate.engine import selected_stack

    return selected_stack(folder)


def show(chosen: argparse.Namespace, plain: Mapping[str, Any], text: Callable[[Palette], Iterable[str]]) -> None:
    """The answer on standard output, as JSON where that was asked for, else its lines."""
    if chosen.json:
        print(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        print("\n".join(text(palette_for(sys.stdout, os.environ))))
    sys.stdout.flush()


def bad_input(chosen: argparse.Namespace, error: BadInput) -> int:
    """The sentence for the operator, and in the form that a program waits for; the exit code."""
    print(f"operate {chosen.command}: {error}", file=sys.stderr)
    if chosen.json:
        print(json.dumps({"format": FORMAT, "command": chosen.command, "error": str(error)}, ensure_ascii=False))
    return EXIT_BAD_INPUT
