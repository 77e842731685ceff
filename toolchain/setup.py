"""The set-up as a whole: what each purpose needs, in order."""

import subprocess
from typing import Literal

from toolchain import collector, dockerd, engine, engine_build, engine_vendor, golang, python_env
from toolchain.errors import SetupError
from toolchain.locking import held
from toolchain.paths import ROOT, TOOLS
from toolchain.progress import part

Purpose = Literal["lint", "deploy", "test", "demo"]
"""Each needs what the one before it needs: the Python packages; the engine; Docker, for tests and the demo alike."""


def run(purpose: Purpose) -> None:
    """Have everything for `purpose`. A second run costs nothing. Raises SetupError."""
    with held(TOOLS / "setup.lock", what="a set-up"):
        python_env.ensure(part)
        if purpose == "lint":
            return
        engine.record(engine.first_that_provides(_engine_sources()))
        if purpose == "deploy":
            golang.forget()
            return
        collector.ensure(part)
        golang.forget()
        dockerd.ensure(part)
    # The images have their own lock. They need the lab's code, which runs in the virtual environment.
    done = subprocess.run([python_env.PYTHON, "-m", "lab", "images"], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise SetupError("the lab's images are not built (see above)")


def _engine_sources() -> dict[str, engine.Source]:
    return {
        "on PATH": lambda: engine.from_path(part),
        "cached": engine.from_cache,
        "the vendor's installer": lambda: engine_vendor.install(part),
        "built from its Go module": lambda: engine_build.build(part),
    }
