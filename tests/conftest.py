"""The order of the tests: the long ones first, so that no worker (`pytest -n`) is left alone with one at the end."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parent
_ORDER = ("lab", "host/real", "engine", "host", "components", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorted by folder; within one nothing changes."""
    items.sort(key=_begun)


def _begun(item: pytest.Item) -> int:
    folder = item.path.parent.relative_to(_TESTS).as_posix()
    ranks = (rank for rank, name in enumerate(_ORDER) if folder == name or folder.startswith(f"{name}/"))
    return next(ranks, len(_ORDER))
