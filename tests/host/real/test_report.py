"""`update.sh --report` on real servers: what is served is told from handshakes, and what was planted by hand shows."""

import json
import time
from collections.abc import Iterator

import pytest

from operate.differences import Difference
from operate.served import read_report
from tests.host.conftest import SecretsManager
from tests.host.issuing import Generation
from tests.host.real.judging import judged, reconciled, report
from tests.host.real.real_host import RealHost, docker, must
from tests.host.real.reporting import starts
from tests.host.real.walking import OFF
from tests.waiting import wait_until

CLIENTS = {
    "CLIENTS": "api,web",
    "clients.api.ADDRESSES": "api",
    "clients.api.USES": "postgres,redis",
    "clients.api.DATABASE_USER": "voiceai",
    "clients.web.ADDRESSES": "api",
    "clients.web.USES": "postgres,redis",
    "clients.web.DATABASE_USER": "voiceai",
}
WAY = (
    ("POSTGRES_TLS_ENABLED", "on"),
    ("PGBOUNCER_SERVER_TLS_SSLMODE", "verify-ca"),
    ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow"),
    ("REDIS_TLS_ENABLED", "true"),
)
RELOAD = "SELECT pg_reload_conf()"
RESTART_ONLY = "/opt/voiceai/update.sh --restart-only"
REDIS_CLI = "REDISCLI_AUTH=$(cat /usr/local/etc/redis/password) redis-cli "


@pytest.fixture(scope="module")
def offered(real_host: RealHost, generations: dict[int, Generation]) -> dict[str, str]:
    """Every server offers TLS beside plaintext."""
    real_host.client("api")
    here = {**OFF, **CLIENTS, **generations[1].settings()}
    real_host.applied(here)
    for key, value in WAY:
        here[key] = value
        real_host.applied(here)
    return here


def test_a_report_tells_what_handshakes_show(
    real: RealHost, offered: dict[str, str], generations: dict[int, Generation]
) -> None:
    before = real.started(), (real.root / "state/journal").read_text()
    begun = time.monotonic()
    told = report(real)
    print(f"seconds: {time.monotonic() - begun:.2f}")
    assert judged(told, offered) == ()
    assert told["record"]["revision"] == str(real.revision)
    for name, server in told["servers"].items():
        assert server["state"] == "running", name
        assert server["served"]["protocol"] == "TLSv1.3", name
        assert server["served"]["verify"] == "0 (ok)", name
        assert server["served"]["certificate"]["sha256"] == generations[1].leaf.sha256, name
        assert "db.lab.internal" in server["served"]["certificate"]["names"], name
        assert server["plaintext"]["verdict"] == "accepted", name
        assert server["rendered"]["asVerified"], name
        assert "error" not in server, name
    assert told["servers"]["postgres"]["facts"]["ssl"] == "on"
    assert told["servers"]["pgbouncer"]["facts"]["server_tls_sslmode"] == "verify-ca"
    assert told["servers"]["redis"]["facts"]["tls-port"] == "6380"
    assert not told["underWay"]
    assert (real.started(), (real.root / "state/journal").read_text()) == before


def test_a_client_that_may_be_of_two_apps_is_both(real: RealHost, offered: dict[str, str]) -> None:
    odd = 'we"ird\\ na me'
    quoted = odd.replace("\\", "\\\\")
    conninfo = f"host=voiceai-pgbouncer port=5432 user=voiceai dbname=voiceai application_name='{quoted}'"
    with real.connected("api", conninfo + " sslmode=disable"), real.redis_connected("api", "-p", "6379"):
        told = report(real)
    (client,) = (c for c in told["servers"]["pgbouncer"]["clients"] if c["application"].startswith("we"))
    assert client["application"] == odd
    assert (client["way"], client["apps"], client["sessions"]) == ("plaintext", ["api", "web"], 1)
    assert [c["way"] for c in told["servers"]["redis"]["clients"]] == ["plaintext"]


def test_a_start_is_proved_and_leaves_nothing(real: RealHost, offered: dict[str, str]) -> None:
    told = report(real, "--restart")
    assert starts(read_report(json.dumps(told))) == dict.fromkeys(told["servers"], "serves")
    for name, server in told["servers"].items():
        assert server["start"]["problems"] == [], name
    assert told["servers"]["postgres"]["start"]["reads"]["ssl"] == "on"
    assert told["servers"]["pgbouncer"]["start"]["dials"] == {"plain": "t", "tls": "t"}
    assert {key: value.strip() for key, value in told["servers"]["redis"]["start"]["dials"].items()} == {
        "plain": "PONG",
        "tls": "PONG",
    }
    for role in ("pgbouncer", "redis"):
        assert docker("exec", real.container(role), "ls", "/dev/shm").stdout.split() == [], role
        running = docker("exec", real.container(role), "sh", "-c", "cat /proc/[0-9]*/comm").stdout.split()
        assert running.count("pgbouncer") + running.count("redis-server") == 1, role


@pytest.fixture
def mended(real: RealHost, offered: dict[str, str]) -> Iterator[None]:
    """After what was planted: that something differs, and the commands that reconcile it."""
    yield
    found = judged(report(real), offered)
    assert found
    reconciled(real, found, offered)


@pytest.mark.usefixtures("mended")
def test_a_file_that_would_not_survive_a_start_is_told(real: RealHost, offered: dict[str, str]) -> None:
    (real.root / "etc/redis/tls.conf").write_text("# somebody's\n")
    (real.root / "etc/pgbouncer/tls.ini").write_text("client_tls_sslmode = require\nclient_tls_key_file = /nowhere\n")
    (real.root / "etc/postgres/conf.d/tls.conf").write_text("ssl = off\n")
    whole = report(real, "--restart")
    outlook = starts(read_report(json.dumps(whole)))
    assert outlook == {"postgres": "otherwise", "pgbouncer": "fails", "redis": "otherwise"}
    told = whole["servers"]
    assert [told[name]["rendered"]["asVerified"] for name in told] == [False, False, False]
    assert told["redis"]["start"]["reads"] == {"port": "6379", "tls-port": "0"}
    assert "pgbouncer does not start" in told["pgbouncer"]["start"]["problems"][0]
    assert told["postgres"]["start"]["reads"]["ssl"] == "off"
    # What runs is as it was.
    assert all(told[name]["served"] for name in told)
    found = judged(report(real), offered)
    assert [one.key for one in found] == [told[name]["rendered"]["path"] for name in told]
    assert {one.reconcile for one in found} == {RESTART_ONLY}


@pytest.mark.usefixtures("mended")
def test_a_listener_closed_by_config_set_is_seen_on_the_wire(real: RealHost, offered: dict[str, str]) -> None:
    docker("exec", real.container("redis"), "sh", "-c", REDIS_CLI + "CONFIG SET tls-port 0")
    told = report(real)
    assert told["servers"]["redis"]["served"] is None
    assert told["servers"]["redis"]["facts"]["tls-port"] == "0"
    (found,) = judged(told, offered)
    assert (found.key, found.declared, found.served) == ("REDIS_TLS_ENABLED", "true", "false")


@pytest.mark.usefixtures("mended")
def test_an_edit_of_the_settings_that_was_never_applied_is_told(real: RealHost, offered: dict[str, str]) -> None:
    settings = real.root / "state/settings"
    settings.write_text(settings.read_text().replace("REDIS_TLS_ENABLED=true", "REDIS_TLS_ENABLED=false"))
    (found,) = judged(report(real), offered)
    assert (found.key, found.served) == ("/var/lib/voiceai/settings", "edited")


def test_a_listener_that_was_opened_is_told_and_closed_again(real: RealHost, offered: dict[str, str]) -> None:
    # Without declared apps nobody must have been seen in TLS before.
    here = {key: value for key, value in offered.items() if not key.lower().startswith("clients")}
    here["REDIS_FORCE_TLS"] = "true"
    try:
        real.applied(here)
        by_tls = "-p 6380 --tls --cacert /etc/ssl/internal/ca.crt "
        docker("exec", real.container("redis"), "sh", "-c", REDIS_CLI + by_tls + "CONFIG SET port 6379")
        (found,) = judged(report(real), here)
        assert (found.key, found.declared, found.served) == ("REDIS_FORCE_TLS", "true", "false")
        reconciled(real, (found,), here)
    finally:
        real.applied(offered)


def test_a_setting_on_the_command_line_is_told_and_taken_out(real: RealHost, offered: dict[str, str]) -> None:
    site = real.root / "etc/compose.site.yaml"
    text = site.read_text()
    command = "command: [postgres, -c, config_file=/etc/postgresql/postgresql.conf, -c, ssl=off]"
    site.write_text(text.replace("voiceai-postgres: {", f"voiceai-postgres: {{{command}, "))
    recreate = "cd /opt/voiceai && docker compose up --detach voiceai-postgres"
    try:
        done = real.run("sh", "-c", recreate)
        assert done.returncode == 0, done.stderr
        told: list[Difference] = []

        def is_told() -> bool:
            # While Postgres starts, it is told that it does not answer.
            told[:] = judged(report(real), offered)
            print([(one.key, one.declared, one.served, one.why) for one in told])
            return [(one.key, one.declared, one.served) for one in told] == [("POSTGRES_TLS_ENABLED", "on", "off")]

        wait_until("Postgres is told to serve no TLS", is_told)
        (found,) = told
        assert "command line" in found.why
        assert found.reconcile == recreate
    finally:
        site.write_text(text)
    reconciled(real, (found,), offered)


def test_an_old_certificate_that_is_served_is_told_by_its_fingerprint(
    real: RealHost, offered: dict[str, str], generations: dict[int, Generation], moto_server: SecretsManager
) -> None:
    moto_server.put(generations[2].secrets())
    now = {**offered, **generations[2].settings()}
    real.applied(now)
    # The reissue's files are there and Postgres is told to serve those before.
    older = next((real.root / "tls/generations").glob("1-*")).name
    sql = f"ALTER SYSTEM SET ssl_cert_file = '/etc/ssl/internal/generations/{older}/server.crt'"
    keyed = f"ALTER SYSTEM SET ssl_key_file = '/etc/ssl/internal/generations/{older}/server.key'"
    psql = ("exec", "-e", "PGHOST=", real.container("postgres"), "psql", "-U", "voiceai", "-c")
    try:
        for one in (sql, keyed, RELOAD):
            must(*psql, one)
        wait_until(
            "the old one is served",
            lambda: (
                report(real)["servers"]["postgres"]["served"]["certificate"]["sha256"] == generations[1].leaf.sha256
            ),
        )
        told = report(real)
        assert told["record"]["certificateSha256"] == generations[2].leaf.sha256
        assert told["servers"]["postgres"]["over"]["ssl_cert_file"] == "ALTER SYSTEM"
        (found,) = judged(told, now)
        assert found.key == "certificate"
        assert told["servers"]["postgres"]["served"]["certificate"]["serial"][:8] in found.served
        reconciled(real, (found,), now)
    finally:
        moto_server.put(generations[1].secrets())


def test_a_hand_change_is_told_with_who_and_taken_back(
    real: RealHost, offered: dict[str, str], generations: dict[int, Generation]
) -> None:
    here = {**offered, **generations[2].settings()}
    done = real.run("/opt/voiceai/update.sh", "--set", "PGBOUNCER_CLIENT_TLS_SSLMODE=disable")
    assert done.returncode == 0, done.stderr
    told = report(real)
    (change,) = told["handChanges"]
    assert (change["key"], change["declared"], change["now"]) == ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow", "disable")
    assert change["who"] == "root"
    (found,) = judged(told, here)
    assert (found.key, found.declared, found.served) == ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow", "disable")
    assert "by root" in found.why
    reconciled(real, (found,), here)
    assert report(real)["handChanges"] == []


def test_an_update_that_is_under_way_is_told_and_not_held_up(real: RealHost, offered: dict[str, str]) -> None:
    holds = "exec 9>>/var/lib/voiceai/lock && flock 9 && sleep 20"
    docker("exec", "--detach", f"{real.name}-host", "bash", "-c", holds)
    wait_until("somebody holds the lock", lambda: report(real)["underWay"] is True)
    docker("exec", f"{real.name}-host", "pkill", "-f", "sleep 20")
