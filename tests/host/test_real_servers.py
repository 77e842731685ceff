"""The steps on real servers: forward, back, killed, refused, and what the wire says after each."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import images
from tests.host.conftest import SecretsManager
from tests.host.issuing import SECRETS, Generation, authority, server
from tests.host.real_host import PASSWORD, RealHost, docker, must, wait_until
from toolchain.progress import part

OFF = {"CERTIFICATE_GENERATION": "0", "POSTGRES_TLS_ENABLED": "off", "PGBOUNCER_SERVER_TLS_SSLMODE": "disable"}
KILLED = 128 + signal.SIGKILL


@pytest.fixture(scope="module")
def real(
    tmp_path_factory: pytest.TempPathFactory, moto_server: SecretsManager, generations: dict[int, Generation]
) -> Iterator[RealHost]:
    """A host whose servers run in plaintext."""
    images.ensure(part)
    moto_server.put(generations[1].secrets())
    host = RealHost(
        root=tmp_path_factory.mktemp("real"),
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


@pytest.fixture(autouse=True)
def servers_logs(real: RealHost, request: pytest.FixtureRequest) -> Iterator[None]:
    """The servers' logs, printed when a test fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(real.logs())


def at(generation: Generation | None, postgres: str = "off", pgbouncer: str = "disable") -> dict[str, str]:
    """The settings at a place of the rollout."""
    certificate = generation.settings() if generation else {}
    return {**OFF, **certificate, "POSTGRES_TLS_ENABLED": postgres, "PGBOUNCER_SERVER_TLS_SSLMODE": pgbouncer}


@pytest.fixture
def path(generations: dict[int, Generation]) -> list[dict[str, str]]:
    """The rollout's places, each one step from the next."""
    one = generations[1]
    return [at(None), at(one), at(one, "on"), at(one, "on", "verify-ca")]


def place_of(real: RealHost, path: list[dict[str, str]]) -> int:
    record = real.record()
    return next(i for i, place in enumerate(path) if all(record.get(k) == v for k, v in place.items()))


def go(real: RealHost, path: list[dict[str, str]], target: int) -> None:
    """Walk to a place of the rollout, step by step."""
    here = place_of(real, path)
    while here != target:
        here += 1 if target > here else -1
        real.applied(path[here])


def assert_wire(real: RealHost, place: dict[str, str]) -> None:
    """What these settings mean, seen by clients of our own."""
    if place["POSTGRES_TLS_ENABLED"] == "on":
        assert real.direct("verify-full sslrootcert=/etc/ssl/internal/ca.crt") == "t"
        assert "certificate verify failed" in real.direct("verify-ca sslrootcert=/etc/ssl/internal/wrong-ca.crt")
    else:
        assert "does not support SSL" in real.direct("require")
    assert real.direct("disable") == "f"
    assert real.through() == ("t" if place["PGBOUNCER_SERVER_TLS_SSLMODE"] != "disable" else "f")


def test_every_step_forward_and_back_by_reload_alone(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 0)
    before = real.started()
    for place in (*path[1:], *reversed(path[:-1])):
        began = time.monotonic()
        real.applied(place)
        print(f"{place['CERTIFICATE_GENERATION']} {place['POSTGRES_TLS_ENABLED']}", time.monotonic() - began)
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
    assert (done.returncode, done.stdout.strip()) == (0, str(real.revision)), done.stderr


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


def test_a_change_whose_record_cannot_be_written_is_taken_back_on_the_wire(
    real: RealHost, path: list[dict[str, str]]
) -> None:
    go(real, path, 1)
    settings = real.root / "state/settings"
    settings.unlink()
    (settings / "in the way").mkdir(parents=True)
    try:
        done = real.update(path[2])
    finally:
        (settings / "in the way").rmdir()
        settings.rmdir()
    assert done.returncode == 1, done.stderr
    assert "the previous settings are back and verified" in done.stderr
    assert_wire(real, path[1])
    real.applied(path[1])


@contextmanager
def open_transaction(real: RealHost) -> Iterator[None]:
    """A transaction through PgBouncer that stays open."""
    holder = subprocess.Popen(
        [
            *("docker", "exec", "-i", real.container("pgbouncer"), "psql", "-XAtq"),
            "host=127.0.0.1 port=5432 user=voiceai dbname=voiceai",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin
    assert holder.stdout
    try:
        holder.stdin.write("BEGIN;\nSELECT 'begun';\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "begun\n"
        yield
    finally:
        holder.communicate("ROLLBACK;\n", timeout=20)


def test_a_transaction_older_than_the_wait_is_refused_with_its_user_and_age(
    real: RealHost, path: list[dict[str, str]]
) -> None:
    go(real, path, 2)
    with open_transaction(real):
        old = (
            "SELECT max(now() - xact_start) > interval '1.2 s' "
            "FROM pg_stat_activity WHERE state = 'idle in transaction'"
        )
        wait_until("the transaction to be old", lambda: real.psql("postgres", "user=voiceai", old) == "t")
        done = real.update(path[3], environment={"WAIT_SECONDS": "1"})
    assert done.returncode == 3
    assert re.search(r"voiceai has been in a transaction for \d+ s \(pid \d+, idle in transaction\)", done.stderr)
    assert "WAIT_SECONDS" in done.stderr
    assert_wire(real, path[2])


def test_a_signal_while_it_waits_takes_the_change_back(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 2)
    with open_transaction(real):
        done = real.run(
            *("timeout", "--signal=TERM", "--kill-after=20", "6", "/opt/voiceai/update.sh", "--set"),
            "PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca",
        )
        assert "stopped by TERM while waiting for every server connection" in done.stderr, done.stderr
        assert "the previous settings are back and verified" in done.stderr
    assert_wire(real, path[2])
    assert real.record()["PGBOUNCER_SERVER_TLS_SSLMODE"] == "disable"


def test_two_variables_at_once_are_refused_by_name(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 1)
    done = real.update(path[3])
    assert done.returncode == 3
    assert "POSTGRES_TLS_ENABLED off → on, PGBOUNCER_SERVER_TLS_SSLMODE disable → verify-ca" in done.stderr
    assert_wire(real, path[1])


@pytest.mark.parametrize(
    ("place", "asked", "words"),
    [
        (1, ("off", "verify-ca"), "PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca: from PgBouncer's own container"),
        (3, ("off", "verify-ca"), "POSTGRES_TLS_ENABLED=off: PgBouncer on this host needs TLS"),
        (2, None, "CERTIFICATE_GENERATION=0: Postgres on this host serves TLS"),
    ],
)
def test_a_step_that_would_cut_someone_off_is_refused_before_anything(
    real: RealHost,
    path: list[dict[str, str]],
    generations: dict[int, Generation],
    place: int,
    asked: tuple[str, str] | None,
    words: str,
) -> None:
    go(real, path, place)
    values = at(generations[1], *asked) if asked else {**path[2], **OFF, "POSTGRES_TLS_ENABLED": "on"}
    values |= {} if asked else {"CERTIFICATE_REQUEST": "", "CERTIFICATE_SHA256": "", "CA_SHA256": ""}
    done = real.update(values)
    assert done.returncode == 3, done.stderr
    assert words in done.stderr
    assert_wire(real, path[place])


def test_ssl_set_by_alter_system_is_refused_with_the_way_out(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 1)
    real.psql("postgres", "user=voiceai", "ALTER SYSTEM SET ssl = off")
    try:
        done = real.update(path[2])
    finally:
        real.psql("postgres", "user=voiceai", "ALTER SYSTEM RESET ssl")
    assert done.returncode == 3
    assert "ALTER SYSTEM RESET" in done.stderr


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


def test_another_ca_while_pgbouncer_verifies_is_refused(
    real: RealHost, path: list[dict[str, str]], moto_server: SecretsManager, generations: dict[int, Generation]
) -> None:
    go(real, path, 3)
    # A good chain, but not the present one.
    ca = authority("another CA")
    other = Generation(number=2, ca=ca, leaf=server(ca))
    moto_server.put(other.secrets())
    try:
        done = real.update(at(other, "on", "verify-ca"))
    finally:
        moto_server.put(generations[1].secrets())
    assert done.returncode == 3
    assert "another CA, while PgBouncer" in done.stderr
    assert_wire(real, path[3])


def test_a_spoiled_key_with_secrets_manager_down_is_refused_before_tls_is_turned_on(
    real: RealHost, path: list[dict[str, str]]
) -> None:
    go(real, path, 1)
    key = real.root / "tls/server.key"
    key.chmod(0o644)
    done = real.update(path[2], environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert done.returncode == 3, done.stderr
    assert "does not answer" in done.stderr
    assert_wire(real, path[1])
    # With Secrets Manager back the key is fetched again.
    real.applied(path[2])
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_change_by_hand_is_shown_and_blocks_the_next_step_until_it_is_reconciled(
    real: RealHost, path: list[dict[str, str]], generations: dict[int, Generation]
) -> None:
    go(real, path, 3)
    by_hand = real.run("/opt/voiceai/update.sh", "--set", "PGBOUNCER_SERVER_TLS_SSLMODE=disable")
    assert (by_hand.returncode, by_hand.stdout.strip()) == (0, str(real.revision)), by_hand.stderr
    assert real.through() == "f"
    status = real.run("/opt/voiceai/update.sh", "--status").stdout
    assert "hand change  PGBOUNCER_SERVER_TLS_SSLMODE=disable, declared verify-ca; by root at" in status
    assert "ssl on" in status
    assert "server_tls_sslmode disable" in status
    # The next forward move knows nothing of the hand: two variables differ.
    blocked = real.update({**path[3], **generations[2].settings()})
    assert blocked.returncode == 3
    real.applied(path[3])
    assert real.through() == "t"
    assert "hand change" not in real.run("/opt/voiceai/update.sh", "--status").stdout


def test_a_host_whose_record_is_lost_converges_without_a_restart(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 3)
    before = real.started()
    for file in (real.root / "state").iterdir():
        file.unlink()
    real.applied(path[3])
    assert real.started() == before
    assert_wire(real, path[3])


@pytest.mark.parametrize("size", ["4k", "8k", "12k"])
def test_a_full_disk_leaves_the_verified_state(real: RealHost, path: list[dict[str, str]], size: str) -> None:
    """The state's disk has room for less and less of what a transaction writes."""
    go(real, path, 1)
    real.start_host("full", ["--tmpfs", f"/var/lib/voiceai:size={size}"])
    try:
        record = (real.root / "state/settings.verified").read_text()
        placed = real.run("sh", "-c", "cat >/var/lib/voiceai/settings.verified", stdin=record, on="full")
        assert placed.returncode == 0, placed.stderr
        done = real.update(path[2], on="full")
        assert done.returncode in (1, 3), done.stderr
        assert "disk is full" in done.stderr
        kept = real.run("cat", "/var/lib/voiceai/settings.verified", on="full").stdout
        assert kept == record
    finally:
        docker("rm", "--force", f"{real.name}-full")
    assert_wire(real, path[1])
    real.applied(path[1])


@pytest.mark.parametrize("size", ["4k", "16k"])
def test_a_full_disk_for_the_certificates_is_refused_and_leaves_no_key(
    real: RealHost, path: list[dict[str, str]], size: str
) -> None:
    go(real, path, 1)
    real.start_host("full", ["--volume", f"{real.root}/state:/var/lib/voiceai", "--tmpfs", f"/small:size={size}"])
    try:
        done = real.update(path[1], environment={"VOICEAI_TLS": "/small"}, on="full")
        left = real.run("find", "/small", "-name", "*.key*", "-o", "-name", "current", on="full").stdout
    finally:
        docker("rm", "--force", f"{real.name}-full")
    assert done.returncode == 3, done.stderr
    assert "the disk is full" in done.stderr
    assert left == ""
    assert_wire(real, path[1])


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
