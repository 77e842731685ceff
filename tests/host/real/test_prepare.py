"""Taking over deployments that know nothing of us."""

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab import images
from tests.host.conftest import BUNDLE, SecretsManager
from tests.host.issuing import Generation, authority, server
from tests.host.real.foreign import (
    INI,
    NAMES,
    ForeignHost,
    compose_yaml,
    image,
    quoted,
    users_file,
)
from tests.host.real.real_host import PASSWORD
from tests.host.real.walking import at
from toolchain.progress import part

Made = Callable[..., ForeignHost]


@pytest.fixture(scope="module")
def foreign_generation() -> Generation:
    ca = authority()
    return Generation(number=1, ca=ca, leaf=server(ca, names=NAMES))


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory, moto_server: SecretsManager, foreign_generation: Generation
) -> Iterator[Made]:
    """Makes a host with a deployment; all of them go at the end."""
    images.ensure(part)
    moto_server.put(foreign_generation.secrets())
    made: list[ForeignHost] = []

    def make_one(**options: Any) -> ForeignHost:
        host = ForeignHost(
            root=tmp_path_factory.mktemp("foreign"),
            bundle=BUNDLE,
            host_image=images.host_image(),
            servers_image=images.servers_image(),
            moto_port=moto_server.port,
            **options,
        )
        made.append(host)
        host.open()
        return host

    try:
        yield make_one
    finally:
        for host in made:
            host.close()


DB = 'volumes: ["db-data:/var/lib/postgresql/data"]\n'
CACHE = 'volumes: ["cache-data:/data"]\n'
ENV = f"POOLER_USERS={quoted(users_file().strip())}\nDB_PASSWORD={quoted(PASSWORD)}\nCACHE_PASSWORD={quoted(PASSWORD)}"
WRITES_INI = """\
entrypoint: ["pooler-entrypoint"]
command: ["pgbouncer", "/etc/pooler/pgbouncer.ini"]
environment:
  USERS: "${POOLER_USERS}"
  INI: |
"""


def live_host() -> dict[str, Any]:
    """Nothing has to be made anew: an ini that an entrypoint writes, a Redis of flags only, no TLS port."""
    ini = INI.format(pool_mode="transaction", socket="/tmp")
    services = {
        "db": DB + 'command: ["postgres", "-c", "max_connections=200"]\n',
        "pooler": WRITES_INI + textwrap.indent(ini, "    "),
        "cache": CACHE
        + 'command: ["redis-server", "--dir", "/data", "--appendonly", "yes", "--requirepass", "${CACHE_PASSWORD}"]\n'
        + 'ports: ["127.0.91.1:6379:6379"]\n',
    }
    # The last line of .env has no end.
    return {"files": {"compose.yaml": compose_yaml(image(images.servers_image(), 999), services), ".env": ENV}}


@pytest.fixture(scope="module")
def live(make: Made) -> ForeignHost:
    return make(**live_host())


OFF = {**at(None), "PREPARED": "off"}


def test_a_deployment_that_knows_nothing_of_us_is_prepared_live_and_put_back_to_the_byte(live: ForeignHost) -> None:
    before, files = live.started(), live.site_bytes()
    plan = live.plan(at(None))
    assert plan.returncode == 0, plan.stderr
    assert "keeps running, no client notices" in plan.stderr
    assert "gains no port" in plan.stderr
    assert "back: PREPARED=off" in plan.stderr
    assert live.site_bytes() == files
    assert live.update(OFF).returncode == 0
    with live.load() as told:
        done = live.update(at(None))
        assert done.returncode == 0, done.stderr
        again = live.update(at(None))
        assert "nothing to change" in again.stderr
        back = live.update(OFF)
        assert back.returncode == 0, back.stderr
    assert {kind: seen.failures for kind, seen in told.items()} == dict.fromkeys(told, 0)
    assert live.started() == before
    assert all(not found for found in live.differences().values())
    assert live.site_bytes() == files
    assert live.data_is_there()


def test_the_first_steps_go_forward_and_back_on_it(live: ForeignHost, foreign_generation: Generation) -> None:
    before = live.started()
    one = foreign_generation
    way = [OFF, at(None), at(one), at(one, "on"), at(one, "on", "verify-ca")]
    offered = {**way[-1], "PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}
    way += [offered, {**offered, "REDIS_TLS_ENABLED": "true"}]
    with live.load() as told:
        for place in [*way, *reversed(way[:-1])]:
            done = live.update(place)
            assert done.returncode == 0, done.stderr
    assert {kind: seen.failures for kind, seen in told.items()} == dict.fromkeys(told, 0)
    assert live.started() == before
