"""`operate` on the lab, as an operator runs it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.layout import DATABASE_DNS
from lab.walk import Walker

_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    said: str


def begun(walker: Walker, *arguments: str, config: Path | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, **walker.lab.environment()}
    if config:
        environment["PULUMI_OPTION_CONFIG_FILE"] = str(config)
    return subprocess.Popen(
        [sys.executable, "-m", "operate", *arguments],
        cwd=walker.lab.layout.project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> Ended:
    said, _ = process.communicate(timeout=_SECONDS)
    assert "Traceback" not in said, said
    # Lines are wrapped.
    return Ended(code=process.returncode, said=" ".join(said.split()))


def operate(walker: Walker, *arguments: str, config: Path | None = None) -> Ended:
    return ended(begun(walker, *arguments, config=config))


def walked(walker: Walker, *arguments: str) -> str:
    done = operate(walker, *arguments, "--yes")
    assert done.code == 0, done.said
    return done.said


def config_of(walker: Walker) -> bytes:
    return walker.lab.layout.stack_config.read_bytes()


def through_a_bastion(walker: Walker, folder: Path) -> Path:
    """An ssh_config in which worker's host is the bastion before the database host."""
    bastion: Sequence[str] = walker.lab.ssh_command("worker")
    file = folder / "ssh_config"
    command = shlex.join([*bastion[:-1], "-W", f"{DATABASE_DNS}:22", bastion[-1]])
    file.write_text(f"Host 127.0.0.1\n  ProxyCommand {command}\n")
    return file
