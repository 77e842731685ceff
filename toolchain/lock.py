"""`make lock`: resolve the requirements anew and pin every package of the tree.

requirements-dev.txt pins everything; requirements.txt, what the Pulumi program itself needs, is a subset of the same
versions, for whoever runs the program with the vendor's tools alone (`pulumi install`).
"""

import json
from pathlib import Path

from toolchain import python_env
from toolchain.errors import SetupError
from toolchain.paths import LOGS, ROOT
from toolchain.process import run_logged
from toolchain.progress import part

_TIMEOUT = 900.0
# Asked for by redis on Pythons older than the one that resolves: pip leaves them out of its report there.
_OTHER_PYTHONS = {"async-timeout": '5.0.1 ; python_full_version < "3.11.3"'}


def run() -> None:
    """Write both files. Raises CommandFailed when pip can't resolve them."""
    python_env.ensure(part)
    everything = _resolve(ROOT / "requirements-dev.in", "every package")
    program = _resolve(ROOT / "requirements.in", "the program's packages", constraints=everything)
    _write(ROOT / "requirements-dev.txt", {**_OTHER_PYTHONS, **everything})
    _write(ROOT / "requirements.txt", program)


def _resolve(source: Path, what: str, *, constraints: dict[str, str] | None = None) -> dict[str, str]:
    """Name → version of what pip would install for `source`, without installing it."""
    report = LOGS / "lock-report.json"
    limits = LOGS / "lock-constraints.txt"
    limits.parent.mkdir(parents=True, exist_ok=True)
    limits.write_text(lines(constraints or {}))
    with part(f"resolving {what}"):
        run_logged(
            [
                *(python_env.PYTHON, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"),
                *("--report", report, "--constraint", limits, "--requirement", source),
            ],
            log=LOGS / "lock.log",
            what=f"resolving {source.name}",
            env=python_env.pip_environment(),
            timeout=_TIMEOUT,
        )
    chosen = json.loads(report.read_text())["install"]
    return {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in chosen}


def lines(pins: dict[str, str]) -> str:
    """`name==version` lines, sorted without regard to case."""
    return "".join(f"{name}=={pins[name]}\n" for name in sorted(pins, key=str.lower))


def _write(path: Path, pins: dict[str, str]) -> None:
    if not pins:
        raise SetupError(f"pip resolved nothing for {path.name}")
    path.write_text(lines(pins))
