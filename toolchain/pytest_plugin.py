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

_in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")


class _Watch:
    """Says which test is under way when it takes long."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()
        self._name: str | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with self._lock:
            self._name, self._since = item.nodeid, time.monotonic()
        try:
            return (yield)
        finally:
            with self._lock:
                self._name = None

    def pytest_unconfigure(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_FIRST_WORD_SECONDS):
            with self._lock:
                seconds = time.monotonic() - self._since
                if self._name is not None and seconds >= _FIRST_WORD_SECONDS:
                    self._reporter.write_line(f"  {self._name} … {seconds:.0f} s")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(reporter, pytest.TerminalReporter):
        config.pluginmanager.register(_Watch(reporter), "internal-tls-watch")


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
