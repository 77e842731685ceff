"""The order of the tests: the long ones first, so that no worker (`pytest -n`) is left alone with one at the end."""

import signal
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# A run that was started in the background ignores SIGINT, and so would every command that a test means to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

_TESTS = Path(__file__).resolve().parent
_ORDER = ("lab", "host/real", "proof", "engine", "host", "components", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorted by folder; within one nothing changes."""
    items.sort(key=_begun)


def _begun(item: pytest.Item) -> int:
    folder = item.path.parent.relative_to(_TESTS).as_posix()
    ranks = (rank for rank, name in enumerate(_ORDER) if folder == name or folder.startswith(f"{name}/"))
    return next(ranks, len(_ORDER))


class _OneLab(LoadFileScheduling):  # type: ignore[misc]
    """A file stays whole on a worker, and so does the folder whose tests share a lab: a second lab costs more."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "tests/lab" if file.startswith("tests/lab/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Instead of `--dist loadfile` as it is."""
    return _OneLab(config, log)
