"""pytest, as `make test` runs it."""

import os
import signal
import subprocess
from collections.abc import Sequence

from toolchain import env, python_env
from toolchain.errors import Terminated
from toolchain.paths import ROOT

# Three workers: most tests wait for the engine or a server, and two of them left half of two cores idle. Files stay
# whole: module fixtures are costly (a stack, a host, a lab). Not reordered by their number of tests: tests/conftest.py
# puts the long ones first.
_WORKERS = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
_DEFAULTS = ("-q", "--durations=10", "-p", "toolchain.pytest_plugin", *_WORKERS)


def run(arguments: Sequence[str]) -> int:
    """Run the tests in the engine's environment and return pytest's status. Its closing line stays the last one."""
    environment = {**os.environ, **env.engine_environment(), "PYTHONUNBUFFERED": "1"}
    command = [str(python_env.PYTHON), "-m", "pytest", *_DEFAULTS, *arguments]
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
    try:
        return child.wait()
    except KeyboardInterrupt as interrupt:
        # A terminal has interrupted pytest as well; a SIGTERM has not reached it. Either way it tears down first.
        if isinstance(interrupt, Terminated):
            child.send_signal(signal.SIGINT)
        child.wait()
        raise
