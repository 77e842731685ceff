"""The environment in which `pulumi` works here: for a shell (`python3 -m toolchain env`), the tests and the lab."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain import engine
from toolchain.errors import SetupError
from toolchain.paths import PULUMI_HOME, STAND_INS, VENV

_PULUMI = {"PULUMI_HOME": str(PULUMI_HOME), "PULUMI_SKIP_UPDATE_CHECK": "true"}


def engine_environment() -> dict[str, str]:
    """The variables to add to a process's own environment; PATH is that environment's, extended.

    Raises SetupError when no set-up has run.
    """
    return variables(_found(), path=os.environ.get("PATH", ""))


def _found() -> engine.Engine:
    found = engine.recorded()
    if found is None:
        raise SetupError("the Pulumi engine is not set up: run `make setup`")
    return found


def variables(found: engine.Engine, *, path: str) -> dict[str, str]:
    """The variables for that engine, given the PATH to extend."""
    result = {"PATH": extended(path, front_of_path(found)), **_PULUMI}
    if found.variant == "built":
        # The stand-ins are found on PATH, so looking for the vendor's could only cost time.
        result["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return result


def front_of_path(found: engine.Engine) -> list[Path]:
    """What goes before everything else on PATH. The stand-ins only where they are needed."""
    stand_ins = [STAND_INS] if found.variant == "built" else []
    return [VENV / "bin", *stand_ins, found.bin]


def extended(path: str, front: list[Path]) -> str:
    """PATH with `front` before everything else, and nothing twice."""
    first = [str(entry) for entry in front]
    rest = [entry for entry in path.split(os.pathsep) if entry and entry not in first]
    return os.pathsep.join([*first, *rest])


def shell_exports(further: Mapping[str, str]) -> str:
    """`export` lines of the engine's environment and of `further`, for a shell anywhere.

    Raises SetupError when no set-up has run.
    """
    found = _found()
    values = {**variables(found, path=""), **further}
    return exports(front_of_path(found), {key: value for key, value in values.items() if key != "PATH"})


def exports(front: Sequence[Path], values: Mapping[str, str]) -> str:
    """`export` lines for a POSIX shell, whose own PATH is extended by `front`, not replaced."""
    before = shlex.quote(os.pathsep.join(map(str, front)))
    rest = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in values.items())
    return f'export PATH={before}:"$PATH"\n{rest}'
