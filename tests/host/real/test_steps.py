"""The steps on real servers: forward, back, killed and run again, and what the wire says after each."""

import json
import re
import signal

import pytest

from tests.host.conftest import SecretsManager
from tests.host.issuing import SECRETS, Generation
from tests.host.real.real_host import PASSWORD, RealHost, must
from tests.host.real.walking import assert_wire, at, go, place_of
from tests.waiting import wait_until

KILLED = 128 + signal.SIGKILL


def test_every_step_forward_and_back_by_reload_alone(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 0)
    before = real.started()
    for place in (*path[1:], *reversed(path[:-1])):
        real.applied(place)
        assert_wire(real, place)
    assert real.started() == before


def test_the_same_settings_again_touch_no_server_and_no_file(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 2)
    watched = [real.root / "etc/postgres/conf.d/tls.conf", real.root / "etc/pgbouncer/pgbouncer.ini"]
    before = real.started(), [file.stat().st_mtime_ns for file in watched]
    loaded = "SELECT pg_conf_load_time()"
    at_start = real.psql("postgres", "user=voiceai", loaded)
    assert "nothing to change" in real.applied(path[2]).stderr
    assert (real.started(), [file.stat().st_mtime_ns for file in watched]) == before
    assert real.psql("postgres", "user=voiceai", loaded) == at_start


def test_the_seeds_verification_command_answers_t(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 2)
    done = real.run(
        *("sh", "-c", 'cd /opt/voiceai && docker compose exec -T voiceai-postgres psql -U voiceai -c "$1"', "seed"),
        "SELECT ssl, version FROM pg_stat_ssl WHERE pid=pg_backend_pid();",
    )
    assert re.search(r"\n t +\| TLSv1\.3", done.stdout), done.stdout + done.stderr


def test_containers_that_start_later_come_up_with_the_current_settings(
    real: RealHost, path: list[dict[str, str]]
) -> None:
    go(real, path, 3)
    must("restart", *(real.container(role) for role in ("postgres", "pgbouncer", "redis")))
    wait_until("a query through PgBouncer", lambda: real.through() == "t")
    assert_wire(real, path[3])
    done = real.run("/opt/voiceai/update.sh", "--verify-only")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str(real.revision)), done.stderr
    checks = done.stdout.splitlines()[:-1]
    assert all(line.startswith("ok ") for line in checks), done.stdout
    # An accepted probe and a refused one, of the same server.
    assert "ok      a verified TLS session to Postgres should be accepted" in checks
    assert "ok      a client that trusts another CA should refuse Postgres's certificate" in checks


def test_a_missing_container_is_started_and_the_running_ones_are_left_alone(
    real: RealHost, path: list[dict[str, str]]
) -> None:
    go(real, path, 2)
    before = real.started()
    must("rm", "--force", real.container("redis"))
    real.applied(path[2])
    after = real.started()
    redis = f"/{real.container('redis')}"
    assert after[redis] != before[redis]
    assert {k: v for k, v in after.items() if k != redis} == {k: v for k, v in before.items() if k != redis}


@pytest.mark.parametrize("point", ["postgres-rendered", "postgres-applied"])
def test_killed_in_the_middle_of_the_postgres_step(real: RealHost, path: list[dict[str, str]], point: str) -> None:
    kill_and_run_again(real, path, places=(1, 2), point=point)


@pytest.mark.parametrize(
    "point",
    [
        *("intent-written", "pgbouncer-begun", "pgbouncer-rendered", "pgbouncer-reloaded", "pgbouncer-applied"),
        *("pgbouncer-verified", "record-renamed", "settings-renamed", "journalled"),
    ],
)
def test_killed_at_any_point_of_the_pgbouncer_step(real: RealHost, path: list[dict[str, str]], point: str) -> None:
    kill_and_run_again(real, path, places=(2, 3), point=point)


def kill_and_run_again(real: RealHost, path: list[dict[str, str]], *, places: tuple[int, int], point: str) -> None:
    """From whichever place the host is at, to the other, so that both directions are tried."""
    if place_of(real, path) not in places:
        go(real, path, places[0])
    here = place_of(real, path)
    target = places[1] if here == places[0] else places[0]
    before = real.started()
    dead = real.update(path[target], environment={"VOICEAI_FAULT": point})
    assert dead.returncode == KILLED, dead.stderr
    assert "interrupted" in real.run("/opt/voiceai/update.sh", "--status").stdout
    again = real.applied(path[target])
    assert "putting it back first" in again.stderr
    assert_wire(real, path[target])
    assert real.started() == before
    assert not (real.root / "state/intent").exists()


def test_a_reissue_is_on_the_wire_and_the_wrong_pair_is_not(
    real: RealHost, path: list[dict[str, str]], generations: dict[int, Generation], moto_server: SecretsManager
) -> None:
    go(real, path, 3)
    two = at(generations[2], "on", "verify-ca")
    refused = real.update(two)
    assert refused.returncode == 3
    assert "Secrets Manager holds another generation" in refused.stderr
    assert_wire(real, path[3])
    moto_server.put(generations[2].secrets())
    try:
        before = real.started()
        real.applied(two)
        assert_wire(real, two)
        assert real.started() == before
    finally:
        moto_server.put(generations[1].secrets())
    real.applied(path[3])
    assert_wire(real, path[3])


def test_a_host_whose_record_is_lost_converges_without_a_restart(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 3)
    before = real.started()
    for file in (real.root / "state").iterdir():
        file.unlink()
    real.applied(path[3])
    assert real.started() == before
    assert_wire(real, path[3])


def test_no_secret_is_in_any_inspection_log_or_process(
    real: RealHost, path: list[dict[str, str]], generations: dict[int, Generation]
) -> None:
    go(real, path, 3)
    key = generations[1].leaf.key_pem.decode().splitlines()[1][8:40]
    encoded = generations[1].secrets()[SECRETS["SECRET_KEY"]][60:100]
    names = [real.container(role) for role in ("postgres", "pgbouncer", "redis")]
    texts = [must("inspect", *names), *(must("logs", name) for name in names)]
    texts += [must("top", name, "-eo", "pid,args") for name in names]
    texts += [(real.root / "state/journal").read_text()]
    planted = json.dumps(PASSWORD)[1:-1]
    for needle in (key, encoded, PASSWORD, planted):
        assert not any(needle in text for text in texts)
