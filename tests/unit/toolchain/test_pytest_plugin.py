"""In CI a skip is a failure: shown on a run of pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain.paths import ROOT

SKIPS = """
import pytest

def test_runs():
    assert True

@pytest.mark.skip(reason="no such server here")
def test_is_skipped():
    raise AssertionError

@pytest.mark.xfail(reason="known", strict=True)
def test_fails_as_expected():
    raise AssertionError
"""
SKIPPED_MODULE = 'import pytest\npytest.skip("nothing here", allow_module_level=True)\n'


def run_pytest(folder: Path, content: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(content)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "toolchain.pytest_plugin", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skip_passes_at_home(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SKIPS, "")
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in done.stdout


@pytest.mark.parametrize("content", [SKIPS, SKIPPED_MODULE])
def test_a_skip_fails_in_ci_with_its_reason(tmp_path: Path, content: str) -> None:
    done = run_pytest(tmp_path, content, "true")
    assert done.returncode != 0
    assert "in CI nothing may be missing" in done.stdout
    # pytest's own summary stays the last line, and counts it.
    assert "1 error" in done.stdout.strip().splitlines()[-1]
