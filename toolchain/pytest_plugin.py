"""Two habits of this project's test runs, as a pytest plugin.

* A test that takes long says so while it runs, so that a silent minute is known to be work.
* In CI (`CI` set, as every CI service does) nothing may be missing: a skipped test or module counts as failed, with the
  reason that it gave. Expected failures (`xfail`) are no skips.
"""

import os
import threading
import time
from collections.abc import Generator

import pytest

_FIRST_WORD_SECONDS = 15.0

# A plugin named on the command line is imported before pytest begins to capture: what is written here is seen at once.
_stdout = os.dup(1)
_in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")


class _Watch:
    """Says which tests are under way when they take long. Sees pytest-xdist's workers as well: they log here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        with self._lock:
            self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        with self._lock:
            self._running.pop(nodeid, None)

    def pytest_unconfigure(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_FIRST_WORD_SECONDS):
            now = time.monotonic()
            with self._lock:
                long = {
                    name: now - since for name, since in self._running.items() if now - since >= _FIRST_WORD_SECONDS
                }
            for name, seconds in long.items():
                os.write(_stdout, f"\n  {name} … {seconds:.0f} s\n".encode())


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist's workers have no terminal; their tests are logged by the process that has.
    if config.pluginmanager.hasplugin("terminalreporter"):
        config.pluginmanager.register(_Watch(), "internal-tls-watch")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _in_ci and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI nothing may be missing: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _in_ci and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI nothing may be missing: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
