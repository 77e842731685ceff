"""How the tests are spread over workers (`pytest -n`): files stay whole, users of one lab or host stay together."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parent

# Folders whose files share what is costly to set up, in the order in which they are begun: the long ones first, so that
# no worker is left alone with one at the end.
_TOGETHER = ("lab", "host/real")
_ORDER = (*_TOGETHER, "engine", "host", "components", "unit")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Module fixtures are costly (a stack, a host), so no file is split.

    Marked as soon as it is collected: pytest-xdist reads the marks before any hook that comes later.
    """
    folder = item.path.parent.relative_to(_TESTS).as_posix()
    item.add_marker(pytest.mark.xdist_group(folder if folder in _TOGETHER else str(item.path)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first."""
    items.sort(key=_begun)


def _begun(item: pytest.Item) -> int:
    folder = item.path.parent.relative_to(_TESTS).as_posix()
    ranks = (rank for rank, name in enumerate(_ORDER) if folder == name or folder.startswith(f"{name}/"))
    return next(ranks, len(_ORDER))
