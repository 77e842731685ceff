"""telpro: real Kamailio, the one with TLS for Redis and the one without."""

from collections.abc import Iterator

import pytest

from lab import images
from tests.host.issuing import Generation
from tests.host.real.app_host import AppHost
from tests.host.real.real_host import RealHost, must
from tests.host.real.reporting import reported
from tests.host.real.walking import OFF

SIMPLE = "telpro-s3cret"
ON = {"REDIS_TLS_ENABLED": "true"}
ACCEPTED = {"ACCEPT_RESTART": "true"}


@pytest.fixture(scope="module")
def redis(real_host: RealHost, generations: dict[int, Generation]) -> RealHost:
    """Redis with both listeners."""
    here = {**OFF, **generations[1].settings()}
    real_host.applied(here)
    real_host.applied({**here, "REDIS_TLS_ENABLED": "true"})
    # A second password beside the first: Kamailio's modparam knows no quoting.
    more = f"REDISCLI_AUTH=$(cat /usr/local/etc/redis/password) redis-cli ACL SETUSER default '>{SIMPLE}'"
    must("exec", real_host.container("redis"), "sh", "-c", more)
    return real_host


@pytest.fixture
def telpro(redis: RealHost, generations: dict[int, Generation], request: pytest.FixtureRequest) -> Iterator[AppHost]:
    """telpro's host with the image that the test names, in plaintext."""
    image = images.tag(request.param)
    host = AppHost(
        database=redis,
        app="telpro",
        folder=request.param,
        generation=generations[1],
        image=image,
        redis_password=SIMPLE,
    )
    failed = request.session.testsfailed
    host.open()
    host.applied(**ACCEPTED)
    yield host
    if request.session.testsfailed > failed:
        print(host.logs())
    host.close()


@pytest.mark.parametrize("telpro", ["kamailio"], indirect=True)
def test_the_ssl_build_flips_and_goes_back_where_its_restart_is_accepted(telpro: AppHost) -> None:
    before = telpro.env_file.read_bytes()
    refused = telpro.update(**ON)
    assert refused.returncode == 3
    assert "SIP clients send again what is not answered" in refused.stderr
    done = telpro.applied(**ON, **ACCEPTED)
    assert "checks the chain and no host name" in done.stderr
    assert "was recreated and is healthy again after" in done.stderr
    assert telpro.sessions(redis=True)
    assert all(telpro.sessions(redis=True))
    (told,) = reported(telpro.run, "--restart").apps
    assert (told.kind, told.uses) == ("kamailio", ("redis",))
    assert [replica.modes["REDIS_TLS_ENABLED"] for replica in told.replicas] == ["true"] * len(told.replicas)
    assert told.sessions["redis"].tls == len(telpro.sessions(redis=True))
    assert told.sessions["redis"].plaintext == 0
    assert told.start is not None
    assert told.start.dials == {"redis": "accepted"}
    telpro.applied(**ACCEPTED)
    assert not any(telpro.sessions(redis=True))
    assert telpro.env_file.read_bytes() == before


@pytest.mark.parametrize("telpro", ["kamailio-plain"], indirect=True)
def test_an_image_without_hiredis_ssl_is_refused_by_its_name(telpro: AppHost) -> None:
    before = telpro.started()
    done = telpro.update(**ON, **ACCEPTED)
    assert done.returncode == 3, done.stderr
    assert images.kamailio_plain_image() in done.stderr
    assert "hiredis_ssl" in done.stderr
    assert telpro.started() == before
