"""telpro: real Kamailio, the one with TLS for Redis and the one without."""

import pytest

from lab import images
from tests.host.issuing import Generation
from tests.host.real.app_host import AppHost
from tests.host.real.real_host import RealHost, docker, must
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


def telpro(redis: RealHost, generations: dict[int, Generation], image: str) -> AppHost:
    host = AppHost(database=redis, app="telpro", generation=generations[1], image=image, redis_password=SIMPLE)
    host.open()
    host.applied(**ACCEPTED)
    return host


def test_the_ssl_build_flips_and_goes_back_where_its_restart_is_accepted(
    redis: RealHost, generations: dict[int, Generation]
) -> None:
    host = telpro(redis, generations, images.kamailio_image())
    before = host.env_file.read_bytes()
    refused = host.update(**ON)
    assert refused.returncode == 3
    assert "SIP clients send again what is not answered" in refused.stderr
    done = host.applied(**ON, **ACCEPTED)
    assert "checks the chain and no host name" in done.stderr
    assert "was recreated and is healthy again after" in done.stderr
    assert host.sessions(redis=True)
    assert all(host.sessions(redis=True))
    host.applied(**ACCEPTED)
    assert not any(host.sessions(redis=True))
    assert host.env_file.read_bytes() == before
    docker("rm", "--force", *host.containers(), host.name)


def test_an_image_without_hiredis_ssl_is_refused_by_its_name(
    redis: RealHost, generations: dict[int, Generation]
) -> None:
    redis.root = redis.root / "plain"
    try:
        (redis.root / "etc").mkdir(parents=True)
        (redis.root / "etc/environment").write_text((redis.root.parent / "etc/environment").read_text())
        host = telpro(redis, generations, images.kamailio_plain_image())
        before = host.started()
        done = host.update(**ON, **ACCEPTED)
        assert done.returncode == 3, done.stderr
        assert images.kamailio_plain_image() in done.stderr
        assert "hiredis_ssl" in done.stderr
        assert host.started() == before
    finally:
        redis.root = redis.root.parent
