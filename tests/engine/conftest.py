"""`standin(part)` marks what is true of a stand-in alone; with the official part those tests are left out."""

import pytest

from tests.engine.offline_support import is_stand_in


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "standin(part): holds for the stand-in `part` (offline/) only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselected, not skipped: nothing is missing where the official part is used."""
    left_out = [
        item for item in items if any(not is_stand_in(mark.args[0]) for mark in item.iter_markers(name="standin"))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
