"""Taking over deployments that know nothing of us."""

import signal
import textwrap
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab import images
from tests.host.conftest import BUNDLE, SecretsManager
from tests.host.issuing import Generation
from tests.host.real.foreign import (
    INI,
    SERVICES,
    ForeignHost,
    Told,
    compose_yaml,
    image,
    quoted,
    users_file,
)
from tests.host.real.real_host import PASSWORD, SSL, must
from tests.host.real.walking import at, place_of
from tests.waiting import wait_until
from toolchain.progress import part

Made = Callable[..., ForeignHost]
# The place with both legs of PgBouncer and Redis in TLS.
LAST = 6
KILLED = 128 + signal.SIGKILL


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory, moto_server: SecretsManager, generations: dict[int, Generation]
) -> Iterator[Made]:
    """Makes a host with a deployment; all of them go at the end."""
    images.ensure(part)
    moto_server.put(generations[1].secrets())
    made: list[ForeignHost] = []

    def make_one(**options: Any) -> ForeignHost:
        host = ForeignHost(
            root=tmp_path_factory.mktemp("foreign"),
            bundle=BUNDLE,
            host_image=images.host_image(),
            servers_image=images.servers_image(),
            name=f"foreign-{uuid.uuid4().hex[:8]}",
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
        + 'ports: ["@ADDRESS@:6379:6379"]\n',
    }
    # The last line of .env has no end.
    return {"files": {"compose.yaml": compose_yaml(image(images.servers_image(), 999), services), ".env": ENV}}


def flagged_host() -> dict[str, Any]:
    """`-c ssl=off` on Postgres's command line, so that it is made anew; single files of the host that are mounted."""
    ini = (
        INI.format(pool_mode="transaction", socket="/tmp").rstrip("\n")
        + "\n\n[users]\nvoiceai = max_user_connections=100"
    )
    services = {
        "db": DB + 'command: ["postgres", "-c", "max_connections=200", "-c", "ssl=off", "--work_mem=8MB"]\n',
        "pooler": 'entrypoint: ["pgbouncer", "/etc/pooler/pgbouncer.ini"]\nvolumes:\n'
        "  - ./pgbouncer.ini:/etc/pooler/pgbouncer.ini:ro\n  - ./users.txt:/etc/pooler/users.txt:ro\n",
        "cache": 'volumes: ["cache-data:/data", "./cache.conf:/etc/cache.conf:ro"]\n'
        'command: ["redis-server", "/etc/cache.conf"]\nports: ["@ADDRESS@:6379:6379", "@ADDRESS@:6380:6380"]\n',
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
        + 'ports: ["@ADDRESS@:6379:6379"]\n',
    }
    tag = image(images.servers_image(), 999)
    return {"files": {"compose.yaml": compose_yaml(tag, services), ".env": ENV, "users.txt": users_file()}}


@pytest.fixture(scope="module")
def live(make: Made) -> ForeignHost:
    return make(**live_host())


@pytest.fixture(scope="module")
def flagged(make: Made) -> ForeignHost:
    return make(**flagged_host())


@pytest.fixture(scope="module")
def closed(make: Made) -> ForeignHost:
    return make(**closed_host())


@pytest.fixture
def path(generations: dict[int, Generation]) -> list[dict[str, str]]:
    """The places of the rollout, each a step from the next; the first one knows nothing of us."""
    one = generations[1]
    offered = {**at(one, "on", "verify-ca"), "PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}
    way = [{**at(None), "PREPARED": "off"}, at(None), at(one), at(one, "on"), at(one, "on", "verify-ca")]
    return [*way, offered, {**offered, "REDIS_TLS_ENABLED": "true"}]


@pytest.fixture(autouse=True)
def _logs_where_it_fails(request: pytest.FixtureRequest) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        for name in ("live", "flagged", "closed"):
            if name in request.fixturenames:
                print(request.getfixturevalue(name).logs())


def go(host: ForeignHost, path: list[dict[str, str]], target: int) -> None:
    """Walk there, a step at a time."""
    if not (host.root / "state/settings.verified").exists():
        host.applied(path[0])
    here = place_of(host, path)
    while here != target:
        here += 1 if target > here else -1
        host.applied(path[here])


def legs(host: ForeignHost) -> tuple[str, str]:
    """Whether PgBouncer's leg to Postgres is encrypted, and a verified session with Postgres itself."""
    verified = "host=db user=voiceai dbname=voiceai sslmode=verify-ca sslrootcert=/etc/ssl/internal/ca.crt"
    return host.query(SSL), host.query(SSL, verified)


def in_tls(host: ForeignHost) -> bool:
    """PgBouncer's both legs, and Redis beside its plaintext listener."""
    client = (
        "host=127.0.0.1 port=6432 user=voiceai dbname=voiceai sslmode=verify-ca sslrootcert=/etc/ssl/internal/ca.crt"
    )
    return host.query(SSL) == "t" and host.query("SELECT 1", client) == "1" and host.redis_tls("ping") == "PONG"


def nobody_failed(told: dict[str, Told]) -> None:
    for kind, seen in told.items():
        assert seen.failures == 0, f"{kind}: {seen.failed}"
        assert seen.requests > 20


# A deployment in which nothing has to be made anew.


def test_a_plan_names_every_container_and_changes_nothing(live: ForeignHost, path: list[dict[str, str]]) -> None:
    before = live.site_bytes(), live.differences(), live.started()
    done = live.plan(path[1])
    assert done.returncode == 0, done.stderr
    for words in (
        "db (",
        "runs as 999:999): keeps running",
        "runs as 1000:1000): keeps running",
        f"publishes it on {live.address}",
        "your own next `docker compose up` makes pooler cache anew once",
        "back: PREPARED=off",
        "nothing was changed",
    ):
        assert words in done.stderr
    assert (live.site_bytes(), live.differences(), live.started()) == before
    assert [file.name for file in (live.root / "state").iterdir()] == ["lock"]


def test_while_it_is_not_prepared_nothing_of_it_is_touched(live: ForeignHost, path: list[dict[str, str]]) -> None:
    before = live.site_bytes(), live.differences(), live.started()
    live.applied(path[0])
    assert "nothing to change" in live.applied(path[0]).stderr
    refused = live.update({**path[0], "POSTGRES_TLS_ENABLED": "on"})
    assert refused.returncode == 3
    assert "set PREPARED to on first; nothing was changed" in refused.stderr
    assert (live.site_bytes(), live.differences(), live.started()) == before


def test_it_is_prepared_and_put_back_under_load_without_a_failure_or_a_restart(
    live: ForeignHost, path: list[dict[str, str]]
) -> None:
    go(live, path, 0)
    before = live.started()
    files, differences, ini = live.site_bytes(), live.differences(), live.ini()
    config = live.query("SELECT pg_read_file('postgresql.conf')||'|'").encode()
    with live.load() as told:
        live.applied(path[1])
        assert "nothing to change" in live.applied(path[1]).stderr
    nobody_failed(told)
    assert live.site_bytes()[".env"].startswith(files[".env"] + b"\nCOMPOSE_FILE=compose.yaml:/etc/voiceai/")
    assert live.redis_answers_where_published() is False  # nothing listens behind the forwarder yet
    with live.load() as told:
        live.applied(path[0])
    nobody_failed(told)
    assert live.site_bytes() == files
    assert live.ini() == ini
    assert live.query("SELECT pg_read_file('postgresql.conf')||'|'").encode() == config
    assert live.differences() == differences
    assert live.started() == before
    assert not (live.root / "etc/deployment").exists()


def test_the_steps_work_on_it_and_survive_restarts_and_new_containers(
    live: ForeignHost, path: list[dict[str, str]], generations: dict[int, Generation]
) -> None:
    go(live, path, 1)
    before = live.started()
    with live.load() as told:
        go(live, path, LAST)
    nobody_failed(told)
    assert live.started() == before
    assert in_tls(live)
    key = generations[1].leaf.key_pem.decode().splitlines()[1][8:40]
    for role, owner in (("postgres", 999), ("pgbouncer", 1000), ("redis", 999)):
        name = live.container(role)
        assert must("exec", name, "stat", "-L", "-c", "%a %u", "/etc/ssl/internal/server.key") == f"600 {owner}"
        assert key not in must("inspect", name) + must("logs", name) + must("top", name, "-eo", "pid,args")
    assert must("port", f"{live.name}-internal-tls-redis-port-1", "6380") == f"{live.address}:6380"
    assert live.redis_answers_where_published()
    must("restart", "--time", "5", *(live.container(role) for role in SERVICES))
    wait_until("TLS everywhere after a restart", lambda: in_tls(live))
    done = live.compose("up", "--detach", "--force-recreate", "--timeout", "5")
    assert done.returncode == 0, done.stderr
    wait_until("TLS everywhere in new containers", lambda: in_tls(live))
    assert live.redis_answers_where_published()
    assert live.data_is_there()
    verified = live.run("/opt/voiceai/update.sh", "--verify-only")
    assert verified.returncode == 0, verified.stderr
    with live.load() as told:
        go(live, path, 1)
    nobody_failed(told)
    assert not in_tls(live)


def test_a_container_that_was_made_without_us_is_told_and_gets_its_files_again(
    live: ForeignHost, path: list[dict[str, str]]
) -> None:
    """As `docker compose -f` does, which leaves our file out."""
    go(live, path, 3)
    done = live.compose("--file", "compose.yaml", "up", "--detach", "--no-deps", "--force-recreate", "pooler", "db")
    assert done.returncode == 0, done.stderr
    wait_until("Postgres, which serves TLS", lambda: live.query("SHOW ssl") == "on")
    said = live.run("/opt/voiceai/update.sh", "--verify-only")
    assert said.returncode == 4
    assert "pooler has not the files that it should have" in said.stderr
    again = live.run("/opt/voiceai/update.sh", "--restart-only")
    assert again.returncode == 0, again.stderr
    assert legs(live) == ("f", "t")
    go(live, path, 4)
    assert legs(live) == ("t", "t")


@pytest.mark.parametrize("point", ["prepared-registered", "prepared-delivered"])
def test_killed_while_it_is_prepared(live: ForeignHost, path: list[dict[str, str]], point: str) -> None:
    go(live, path, 0)
    files = live.site_bytes()
    dead = live.update(path[1], environment={"VOICEAI_FAULT": point})
    assert dead.returncode == KILLED, dead.stderr
    assert live.query("SELECT 1") == "1"
    again = live.applied(path[0] if point == "prepared-delivered" else path[1])
    assert "putting it back first" in again.stderr
    if point == "prepared-delivered":
        assert live.site_bytes() == files


def test_killed_while_it_is_put_back(live: ForeignHost, path: list[dict[str, str]]) -> None:
    go(live, path, 1)
    dead = live.update(path[0], environment={"VOICEAI_FAULT": "unprepared-servers"})
    assert dead.returncode == KILLED, dead.stderr
    assert "putting it back first" in live.applied(path[1]).stderr
    live.applied(path[0])


# What cannot be prepared.


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"DEPLOYMENT_DIRECTORY": "/srv/none"}, "there is no such directory"),
        ({"DEPLOYMENT_FILES": "stack.yaml"}, "has no stack.yaml"),
        ({"SERVICE_REDIS": "redis"}, "has no such service, it has cache db pooler"),
        ({"SERVICE_REDIS": "db"}, "no process called redis-server"),
        ({"SERVICE_PGBOUNCER": ""}, "hosts.<host>.deployment.services.pgbouncer"),
    ],
)
def test_a_deployment_that_is_not_as_declared_is_refused(
    live: ForeignHost, path: list[dict[str, str]], declared: dict[str, str], words: str
) -> None:
    go(live, path, 0)
    before = live.site_bytes(), live.differences(), live.started()
    done = live.update({**path[1], **declared})
    assert done.returncode == 3, done.stderr
    assert words in done.stderr
    assert "nothing was changed" in done.stderr
    assert (live.site_bytes(), live.differences(), live.started()) == before


def test_every_reason_against_it_is_said_at_once(live: ForeignHost, path: list[dict[str, str]]) -> None:
    go(live, path, 0)
    before = live.differences(), live.started()
    (live.site / ".env").rename(live.site / "env.kept")
    (live.site / ".env").write_text((live.site / "env.kept").read_text() + "\nCOMPOSE_FILE=compose.yaml:more.yaml\n")
    (live.site / "more.yaml").write_text("services: {}\n")
    done = live.update(path[1])
    (live.site / "more.yaml").unlink()
    (live.site / "env.kept").rename(live.site / ".env")
    assert done.returncode == 3
    assert "has COMPOSE_FILE=compose.yaml:more.yaml, and hosts.<host>.deployment.files is compose.yaml" in done.stderr
    live.console("SET pool_mode = 'session'")
    assert live.redis("replicaof", "127.0.0.1", "1") == "OK"
    done = live.update(path[1])
    live.console("SET pool_mode = 'transaction'")
    assert live.redis("replicaof", "no", "one") == "OK"
    assert done.returncode == 3
    assert "PgBouncer has pool_mode=session" in done.stderr
    assert "service cache is a Redis slave" in done.stderr
    assert (live.differences(), live.started()) == before


def test_several_pgbouncers_behind_one_name_are_refused(live: ForeignHost, path: list[dict[str, str]]) -> None:
    go(live, path, 0)
    live.compose("up", "--detach", "--no-recreate", "--scale", "pooler=2", "pooler")
    done = live.update(path[1])
    live.compose("up", "--detach", "--no-recreate", "--scale", "pooler=1", "pooler")
    assert done.returncode == 3
    assert "service pooler has 2 containers: several servers behind one name" in done.stderr


# Deployments in which something has to be made anew.


def test_a_setting_on_the_command_line_costs_one_restart_behind_pause(
    flagged: ForeignHost, path: list[dict[str, str]]
) -> None:
    go(flagged, path, 0)
    before, files, ini = flagged.started(), flagged.site_bytes(), flagged.ini()
    planned = flagged.plan(path[1]).stderr
    assert "is made anew ONCE, between PAUSE and RESUME" in planned
    assert "ssl is set on its command line" in planned
    dead = flagged.update(path[1], environment={"VOICEAI_FAULT": "prepared-paused"})
    assert dead.returncode == KILLED, dead.stderr
    assert "resuming it" in flagged.applied(path[0]).stderr
    assert flagged.query("SELECT 1") == "1"
    with flagged.load() as told:
        flagged.applied(path[1])
    nobody_failed(told)
    changed = {name for name, since in flagged.started().items() if before[name] != since}
    assert changed == {f"/{flagged.container('postgres')}"}
    assert flagged.query("SHOW work_mem") == "8MB"  # the rest of the command line is as it was
    assert flagged.data_is_there()
    before = flagged.started()
    with flagged.load() as told:
        go(flagged, path, 3)
        assert legs(flagged) == ("f", "t")
        go(flagged, path, 0)
    nobody_failed(told)
    assert flagged.started() == before
    assert (flagged.site_bytes(), flagged.ini()) == (files, ini)
    # Prepared again: nothing is made anew, and a container that the site makes later still starts without the setting.
    assert "ONCE" not in flagged.plan(path[1]).stderr
    go(flagged, path, 3)
    assert flagged.started() == before
    assert flagged.compose("up", "--detach", "--no-deps", "--force-recreate", "db").returncode == 0
    wait_until("TLS of a new container", lambda: flagged.query("SHOW ssl") == "on")


def test_a_transaction_that_stays_open_ends_the_pause_and_everything_goes_on(
    make: Made, path: list[dict[str, str]]
) -> None:
    """The deployment of the test before is prepared for good, so this takes a new one."""
    host = make(**flagged_host())
    go(host, path, 0)
    before, files = host.started(), host.site_bytes()
    with host.load() as told, host.open_transaction():
        done = host.update(path[1], environment={"WAIT_SECONDS": "10"})
    assert done.returncode == 1, done.stderr
    assert "PgBouncer could not be paused within 10 s: voiceai has been in a transaction" in done.stderr
    assert "the previous settings are back and verified" in done.stderr
    nobody_failed(told)
    assert (host.started(), host.site_bytes()) == (before, files)


def test_what_cannot_be_written_is_made_anew_once_with_its_data(
    closed: ForeignHost, path: list[dict[str, str]]
) -> None:
    go(closed, path, 0)
    planned = closed.plan(path[1]).stderr
    assert planned.count("is made anew ONCE") == 3
    assert "voiceai becomes one of admin_users" in planned
    go(closed, path, 1)
    before = closed.started()
    assert closed.data_is_there()
    with closed.load() as told:
        go(closed, path, LAST)
    nobody_failed(told)
    assert closed.started() == before
    assert in_tls(closed)
    assert closed.redis_answers_where_published()  # by its own container, which was made anew anyway
