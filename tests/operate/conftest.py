"""A project in a git repository, as CI has it: each `commit` is a version with these stack files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from operate.cli import main
from tests.operate.pull_requests import LADDER, PROJECT

_NOBODY = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A folder under git with the project in it."""

    folder: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *_NOBODY, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, ladder: str = LADDER, project: str = PROJECT, **stacks: str) -> str:
        """A commit that holds these environments and no other; its id."""
        for old in self.folder.glob("*.yaml"):
            old.unlink()
        self.write("Pulumi.yaml", project)
        if ladder:
            self.write("ladder.yaml", ladder)
        for environment, text in stacks.items():
            self.write(f"Pulumi.{environment}.yaml", text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a version")
        return self.git("rev-parse", "HEAD")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(folder=tmp_path / "project")
    made.folder.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Operate = Callable[..., Ended]


@pytest.fixture
def operate(repository: Repository, capsys: pytest.CaptureFixture[str]) -> Operate:
    """`operate check` in the repository."""

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = main(["check", "--project", str(repository.folder), *arguments])
        printed = capsys.readouterr()
        return Ended(code=code, out=" ".join(printed.out.split()), err=printed.err)

    return run
