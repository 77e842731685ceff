"""A lab for the tests of this folder: real servers, hosts with sshd, the real program on the real engine."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from lab.lab import Lab
from lab.walk import Walker


@pytest.fixture(scope="session")
def walker() -> Iterator[Walker]:
    """A lab with the servers running in plaintext, every step at its initial value."""
    # Each worker of pytest-xdist has its own.
    lab = Lab(f"tests-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    lab.down()
    lab.up()
    try:
        walker = Walker(lab)
        walker.up()
        lab.start_apps()
        yield walker
    finally:
        lab.down()


@pytest.fixture(autouse=True)
def server_logs(walker: Walker, request: pytest.FixtureRequest) -> Iterator[None]:
    """What the servers logged, shown with a test that failed."""
    failed_before = request.session.testsfailed
    yield
    if request.session.testsfailed == failed_before:
        return
    for service in ("voiceai-postgres", "voiceai-pgbouncer"):
        print(f"--- {service}")
        logs = subprocess.run(
            ["docker", "logs", "--tail", "30", walker.lab.layout.server(service)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(logs.stdout)
