"""Walking a rollout on a lab: one `pulumi up` a move, forward and back, while the load runs, each move measured.

The load runs on from the first move to the end of the quiet stretch that each round ends in (`lab.figures`).
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError
from lab.figures import Move, Round, Stepped, quiet_seconds
from lab.lab import Lab
from lab.measure import Window
from lab.traffic import Traffic
from rollout import path
from rollout.config import parse
from rollout.declared import Declared
from toolchain.progress import Progress, part

_UP_SECONDS = 300.0
SETTLE_SECONDS = 1.0
"""After a move's command has ended its requests still count: an outage that begins late must not be missed."""

Take = Callable[[], Stepped]
Around = Callable[[Move, Take], Stepped]
"""What a caller puts around each move of a round: it is given the move and how to make it."""


def plainly(_move: Move, take: Take) -> Stepped:
    """Nothing around a move."""
    return take()


class Walker:
    """Runs `pulumi` on a lab's stack. A command's output is shown only where it fails."""

    def __init__(self, lab: Lab, *, progress: Progress = part) -> None:
        self.lab = lab
        self._progress = progress

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        """A `pulumi` command's output. Raises LabError, with the output, when it fails (or, with `fails`, does not)."""
        done = subprocess.run(_command(arguments), **self._surroundings(), timeout=_UP_SECONDS, check=False)
        if (done.returncode != 0) is not fails:
            so = "failed" if not fails else "did not fail"
            raise LabError(f"`pulumi {' '.join(arguments)}` {so}:\n{done.stdout}")
        return str(done.stdout)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """A `pulumi` command under way, in a process group of its own: `os.killpg` ends it with all its children."""
        return subprocess.Popen(_command(arguments), **self._surroundings(), start_new_session=True)

    def set(self, key: str, value: str) -> None:
        """One line of the stack's config."""
        # A plain key must not be read as a path: that would make `on` and `1` something else than what was said.
        nested = ["--path"] if "." in key else []
        self.pulumi("config", "set", *nested, key, value)

    def up(self) -> int:
        """`pulumi up`; how many resources changed."""
        return changed_resources(self.pulumi("up", "--yes", "--skip-preview"))

    def declared(self) -> Declared:
        """What the stack's config declares now."""
        return parse(raw_config(self.lab.layout.stack_config)).declared

    def forward(self) -> list[Move]:
        """Every move of both tracks, in order."""
        return _moves(path.forward(self.declared()), "forward")

    def back(self) -> list[Move]:
        """The same way from its end."""
        return _moves(path.back(self.declared()), "back")

    def to_start(self) -> None:
        """Have servers and apps running with every step at its initial value, wherever the stack stands."""
        with self._progress("deploying the servers as the stack declares them (pulumi up)"):
            self.up()
        self.lab.start_apps()
        for key, value in path.behind(self.declared()):
            with self._progress(f"back: {key}={value}"):
                self.set(key, value)
                self.up()

    def to_end(self, traffic: Traffic | None = None) -> None:
        """Take every step that is not taken yet."""
        for move in _moves(path.ahead(self.declared()), "forward"):
            with self._progress(f"forward: {move.title}"):
                if traffic:
                    follow_before(move, traffic)
                self.set(move.key, move.value)
                self.up()

    def step(self, move: Move, traffic: Traffic) -> Stepped:
        """One measured move. Raises LabError when it fails."""
        with self._progress(f"{move.direction}: {move.title}"):
            follow_before(move, traffic)
            self.set(move.key, move.value)
            start = time.time()
            changed = self.up()
            seconds = time.time() - start
            window = Window(start=start, end=start + seconds + SETTLE_SECONDS)
            time.sleep(max(0.0, window.end - time.time()))
            follow_after(move, traffic)
        return Stepped(move=move, changed=changed, seconds=seconds, window=window)

    def round(self, traffic: Traffic, around: Around = plainly) -> Round:
        """All the way forward and all the way back, then the quiet stretch that the moves are compared with."""
        moves = [*self.forward(), *self.back()]
        steps = tuple(around(move, partial(self.step, move, traffic)) for move in moves)
        return Round(steps=steps, quiet=self.quiet(steps, traffic))

    def quiet(self, steps: Sequence[Stepped], traffic: Traffic) -> Window:
        """The quiet stretch of a round with these moves."""
        seconds = quiet_seconds(steps)
        with self._progress(f"the load alone for {seconds:.0f} s, to compare with"):
            return traffic.quiet(seconds)

    def _surroundings(self) -> dict[str, Any]:
        return {
            "cwd": self.lab.layout.project,
            "env": {**os.environ, **self.lab.environment()},
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }


def raw_config(stack_config: Path) -> dict[str, str]:
    """A stack's config as the engine hands it to the program: keys without their namespace, structured values as JSON.

    The lab's holds no secrets, so the file is all there is to read.
    """
    config = yaml.safe_load(stack_config.read_text())["config"]
    return {
        key.split(":", 1)[1]: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()
    }


def changed_resources(output: str) -> int:
    """How many resources an `up` created, updated, replaced or deleted, from its closing summary."""
    summary = output[output.rfind("Resources:") :] if "Resources:" in output else ""
    return sum(int(n) for n in re.findall(r"(\d+) (?:created|updated|replaced|deleted)", summary))


def report_path(lab: Lab, name: str) -> Path:
    """`build/NAME`: reports outlive the lab that they are about."""
    return lab.layout.build / name


def _command(arguments: Sequence[str]) -> list[str]:
    # The engine has a machine of its own elsewhere: here it must not take what the servers need.
    return ["nice", "-n", "19", "pulumi", "--non-interactive", "--color", "never", *arguments]


def _moves(pairs: path.Moves, direction: str) -> list[Move]:
    return [Move(key=key, value=value, direction=direction) for key, value in pairs]


def follow_before(move: Move, traffic: Traffic) -> None:
    """What operators do before a move to clients of their own, which no step reaches.

    Before a server refuses plaintext they are told to use TLS. Before PgBouncer offers none they are left free again:
    libpq's `prefer` takes what it finds.
    """
    if move.key == "PGBOUNCER_CLIENT_TLS_SSLMODE":
        traffic.switch_postgres("require" if move.value == "require" else "prefer")
    elif (move.key, move.value) == ("REDIS_FORCE_TLS", "true"):
        traffic.switch_redis(tls=True)


def follow_after(move: Move, traffic: Traffic) -> None:
    """And after it: a client of Redis speaks plaintext again once that is taken."""
    if (move.key, move.value) == ("REDIS_FORCE_TLS", "false"):
        traffic.switch_redis(tls=False)
