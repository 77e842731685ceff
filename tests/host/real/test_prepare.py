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
    SERVICES,
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
        + 'command: ["redis-server", "--requirepass", "${CACHE_PASSWORD}"]\nports: ["127.0.91.1:6379:6379"]\n',
    }
    # The last line of .env has no end.
    return {"files": {"compose.yaml": compose_yaml(image(images.servers_image(), 999), services), ".env": ENV}}


@pytest.fixture(scope="module")
def live(make: Made) -> ForeignHost:
    return make(**live_host())


def test_x(live: ForeignHost) -> None:
    off = {**at(None), "PREPARED": "off"}
    print(live.plan(at(None)).stderr)
    done = live.update(off)
    print(done.stderr)
    print(live.differences())
    before = live.started()
    with live.load():
        done = live.update(at(None))
        print(done.stderr)
    print(live.started() == before)
    print(live.differences())
    print((live.site / ".env").read_text())
    print((live.root / "etc/deployment/compose.yaml").read_text())
    print(live.compose("config").stderr)
    print(live.update(at(None)).stderr)
    with live.load():
        done = live.update(off)
        print(done.stderr)
    print(live.started() == before)
    print(live.differences())
    print((live.site / ".env").read_text())
    assert 0
