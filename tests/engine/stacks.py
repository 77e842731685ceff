"""A throw-away stack on the real engine: a project in a temporary folder, local state, a passphrase of its own."""

from __future__ import annotations

import copy
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from toolchain.env import engine_environment

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT = 120.0


@cache
def _engine() -> Mapping[str, str]:
    return engine_environment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One `pulumi` command: what it printed, and what the engine logged."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


@dataclass(slots=True, kw_only=True)
class Stack:
    """`folder` gets the project, the state and every temporary file; `environment` is added to each command's."""

    folder: Path
    program: str
    environment: dict[str, str] = field(default_factory=dict)
    passphrase: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def __post_init__(self) -> None:
        for name in ("state", "tmp", "project"):
            (self.folder / name).mkdir(exist_ok=True, parents=True)
        project = {"name": "trial", "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}}
        (self.project / "Pulumi.yaml").write_text(json.dumps(project))
        self.write(self.program)
        self.ok("stack", "init", "dev")

    def copy(self, folder: Path) -> Stack:
        """The same stack, state and all, in another folder; the two go their own ways."""
        shutil.copytree(self.folder, folder)
        twin = copy.copy(self)
        twin.folder, twin.environment = folder, dict(self.environment)
        return twin

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def write(self, program: str) -> None:
        (self.project / "__main__.py").write_text(program)

    def run(self, *arguments: str) -> Ran:
        ran = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=self.project,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        return Ran(returncode=ran.returncode, stdout=ran.stdout, stderr=ran.stderr)

    def ok(self, *arguments: str) -> Ran:
        ran = self.run(*arguments)
        assert ran.returncode == 0, f"pulumi {' '.join(arguments)} failed:\n{ran.output[-6000:]}"
        return ran

    def refused(self, *arguments: str) -> Ran:
        ran = self.run(*arguments)
        assert ran.returncode != 0, f"pulumi {' '.join(arguments)} was not refused:\n{ran.output[-6000:]}"
        return ran

    def up(self, *arguments: str) -> Ran:
        return self.ok("up", "--yes", "--skip-preview", *arguments)

    def outputs(self) -> dict[str, Any]:
        return dict(json.loads(self.ok("stack", "output", "--json").stdout))

    def resources(self, *, secrets_shown: bool = False) -> dict[str, Any]:
        """The state's resources by name; secrets as ciphertext unless they are shown."""
        arguments = ["stack", "export", *(["--show-secrets"] if secrets_shown else [])]
        deployment = json.loads(self.ok(*arguments).stdout)["deployment"]
        return {resource["urn"].rsplit("::", 1)[1]: resource for resource in deployment.get("resources") or []}

    def files(self) -> dict[str, bytes]:
        """Everything that the commands left behind: state, backups, logs."""
        return {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}

    def variables(self) -> dict[str, str]:
        state = {
            # Why metadata=skip: lab/stack.py.
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": self.passphrase,
            "PULUMI_STACK": "dev",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder / "tmp"),
        }
        return {**os.environ, **_engine(), **state, **self.environment}
