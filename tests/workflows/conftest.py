"""The workflows' scripts, run as CI runs them: in a project, with the files that GitHub gives a step."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.operate.conftest import Repository

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / ".github/scripts"

# Plays `pulumi`: it writes down how it was called and what it could see, and answers an export from a file.
FAKE_PULUMI = """#!/bin/sh
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/called"
env >>"$here/environment"
if [ "$1 $2" = "stack export" ]; then
  for word; do stack=$word; done
  cat "$here/$stack.json" 2>/dev/null || { echo "error: no stack named '$stack' found" >&2; exit 255; }
  exit 0
fi
ssh-add -l >"$here/keys" 2>&1
echo 'it says ``` and more'
exit "$(cat "$here/status" 2>/dev/null || echo 0)"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How a step ended: its exit code, what it printed, the job summary and the outputs."""

    code: int
    printed: str
    summary: str
    outputs: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Runner:
    """A job's folder. `bin` comes first on PATH; `environment` is what the step is given besides."""

    project: Path
    work: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def bin(self) -> Path:
        return self.work / "bin"

    def run(self, script: str, *arguments: str) -> Step:
        summary, output = self.work / "summary", self.work / "output"
        for path in (summary, output):
            path.write_text("")
        own = {
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PROJECT": str(self.project),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_OUTPUT": str(output),
            "TMPDIR": str(self.work / "tmp"),
            "HOME": str(self.work),
        }
        done = subprocess.run(
            [str(SCRIPTS / script), *arguments],
            env={**own, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return Step(code=done.returncode, printed=done.stdout, summary=summary.read_text(), outputs=outputs)

    def calls(self) -> list[str]:
        """How the played `pulumi` was called."""
        path = self.bin / "called"
        return path.read_text().splitlines() if path.exists() else []

    def left_behind(self) -> list[str]:
        """Temporary files that are still there."""
        return sorted(path.name for path in (self.work / "tmp").iterdir())


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(folder=tmp_path / "project")
    made.folder.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    return made


@pytest.fixture
def runner(repository: Repository, tmp_path: Path) -> Runner:
    made = Runner(project=repository.folder, work=tmp_path / "work")
    (made.work / "tmp").mkdir(parents=True)
    made.bin.mkdir()
    fake = made.bin / "pulumi"
    fake.write_text(FAKE_PULUMI)
    fake.chmod(0o755)
    return made
