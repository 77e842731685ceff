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
        + 'command: ["redis-server", "--dir", "/data", "--appendonly", "yes", "--requirepass", "${CACHE_PASSWORD}"]\nports: ["127.0.91.1:6379:6379"]\n',
    }
    # The last line of .env has no end.
    return {"files": {"compose.yaml": compose_yaml(image(images.servers_image(), 999), services), ".env": ENV}}


def flagged_host() -> dict[str, Any]:
    """`-c ssl=off` on Postgres's command line, so that it is made anew; single files of the host that are mounted."""
    ini = INI.format(pool_mode="transaction", socket="/tmp").rstrip("\n") + "\n\n[users]\nvoiceai = max_user_connections=100"
    services = {
        "db": DB + 'command: ["postgres", "-c", "max_connections=200", "-c", "ssl=off", "--work_mem=8MB"]\n',
        "pooler": 'entrypoint: ["pgbouncer", "/etc/pooler/pgbouncer.ini"]\nvolumes:\n'
        "  - ./pgbouncer.ini:/etc/pooler/pgbouncer.ini:ro\n  - ./users.txt:/etc/pooler/users.txt:ro\n",
        "cache": 'volumes: ["cache-data:/data", "./cache.conf:/etc/cache.conf:ro"]\n'
        'command: ["redis-server", "/etc/cache.conf"]\nports: ["127.0.92.1:6379:6379", "127.0.92.1:6380:6380"]\n',
    }
    escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    files = {
        "docker-compose.yml": compose_yaml(image(images.servers_image(), 26), services, owner=26).replace(
            "${DB_PASSWORD}", PASSWORD.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
        ),
        "pgbouncer.ini": ini,
        "users.txt": users_file(),
        "cache.conf": f'dir /data\nappendonly yes\nrequirepass "{escaped}"\n',
    }
    return {"files": files, "compose_files": "docker-compose.yml"}


def closed_host() -> dict[str, Any]:
    """Root filesystems that cannot be written, an ini in the image, no socket for PgBouncer's console."""
    no_writes = "read_only: true\n"
    services = {
        "db": DB + no_writes + "tmpfs: [/tmp, /run/postgresql]\n",
        "pooler": no_writes
        + 'entrypoint: ["pgbouncer", "/etc/pooler/baked.ini"]\nvolumes: ["./users.txt:/etc/pooler/users.txt:ro"]\n',
        "cache": CACHE
        + no_writes
        + 'command: ["redis-server", "--dir", "/data", "--appendonly", "yes", "--requirepass", "${CACHE_PASSWORD}"]\n'
        + 'ports: ["127.0.93.1:6379:6379"]\n',
    }
    tag = image(images.servers_image(), 999)
    return {"files": {"compose.yaml": compose_yaml(tag, services), ".env": ENV, "users.txt": users_file()}}


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
