"""A host with real servers for a module, and the rollout's places."""

from collections.abc import Iterator

import pytest

from lab import images
from tests.host.conftest import BUNDLE, SecretsManager
from tests.host.issuing import Generation
from tests.host.real.real_host import RealHost
from tests.host.real.walking import OFF, at
from toolchain.progress import part


@pytest.fixture(scope="module")
def real_host(
    tmp_path_factory: pytest.TempPathFactory, moto_server: SecretsManager, generations: dict[int, Generation]
) -> Iterator[RealHost]:
    """A host with real servers, which are in plaintext at first."""
    images.ensure(part)
    moto_server.put(generations[1].secrets())
    host = RealHost(
        root=tmp_path_factory.mktemp("real"),
        bundle=BUNDLE,
        host_image=images.host_image(),
        servers_image=images.servers_image(),
        moto_port=moto_server.port,
    )
    try:
        host.open()
        host.applied(OFF)
        yield host
    finally:
        host.close()


@pytest.fixture
def real(real_host: RealHost, request: pytest.FixtureRequest) -> Iterator[RealHost]:
    """The host, wherever the test before left it; the servers' logs are printed when a test fails."""
    failed = request.session.testsfailed
    yield real_host
    if request.session.testsfailed > failed:
        print(real_host.logs())


@pytest.fixture
def path(generations: dict[int, Generation]) -> list[dict[str, str]]:
    """The rollout's places, each one step from the next."""
    one = generations[1]
    return [at(None), at(one), at(one, "on"), at(one, "on", "verify-ca")]
