"""How the tests are spread over workers (`pytest -n`): files stay whole, users of one lab stay together."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Module fixtures are costly (a stack, a host, a lab), so no file is split; `tests/lab` shares one lab."""
    for item in items:
        in_lab = item.path.parent.name == "lab" and item.path.parent.parent.name == "tests"
        item.add_marker(pytest.mark.xdist_group("lab" if in_lab else str(item.path)))
