"""`make lint`: every linter over the whole project, each run even when one before it found something."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolchain.paths import ROOT, VENV
from toolchain.progress import part, say

_SKIPPED = {".git", ".venv", ".tools", "build", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def run() -> int:
    """0 when every linter is content, else 1, with what they said."""
    scripts = sorted(str(path.relative_to(ROOT)) for path in shell_scripts(ROOT))
    commands = {
        "ruff": ["ruff", "check", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "mypy": ["mypy", "."],
        "shellcheck": ["shellcheck", "--external-sources", *scripts],
        "shfmt": ["shfmt", "-i", "2", "-ci", "-d", *scripts],
    }
    complaints = dict(_complaints(commands.items()))
    for name, text in complaints.items():
        say(f"\n{name}:\n{text}")
    return 1 if complaints else 0


def is_shell(name: str, first_line: str) -> bool:
    """Whether a file is a shell script: by its name, or by an interpreter that is sh or bash."""
    words = first_line.removeprefix("#!").replace("/usr/bin/env", "").split() if first_line.startswith("#!") else []
    return name.endswith(".sh") or (bool(words) and Path(words[0]).name in ("sh", "bash"))


def shell_scripts(root: Path) -> Iterator[Path]:
    """The shell scripts below `root`, but for what was fetched, built or written."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in files:
            path = Path(folder) / name
            if not path.is_symlink() and is_shell(name, _first_line(path)):
                yield path


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(200).decode(errors="replace").strip()


def _complaints(commands: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, str]]:
    for name, command in commands:
        with part(f"lint: {name}"):
            done = subprocess.run(
                [str(VENV / "bin" / command[0]), *command[1:]],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            yield name, done.stdout.strip() or f"ended with status {done.returncode}"
