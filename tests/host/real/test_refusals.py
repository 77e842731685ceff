"""On real servers: what is refused, what is taken back, and that the wire is then as it was."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.host.conftest import SecretsManager
from tests.host.issuing import Generation, authority, server
from tests.host.real.real_host import RealHost, docker, must
from tests.host.real.walking import OFF, assert_wire, at, go
from tests.waiting import wait_until


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
    assert re.search(
        r"voiceai has been in a transaction for \d+ s \(pid \d+, idle in transaction, application_name psql\)",
        done.stderr,
    )
    assert "WAIT_SECONDS" in done.stderr
    assert_wire(real, path[2])


def test_session_pooling_is_refused_with_a_sentence(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 2)
    console = ("psql", "-XAtq", "-h", "/tmp", "-U", "pgbouncer", "pgbouncer", "-c")
    must("exec", real.container("pgbouncer"), *console, "SET pool_mode = 'session'")
    try:
        done = real.update(path[3])
    finally:
        must("exec", real.container("pgbouncer"), *console, "SET pool_mode = 'transaction'")
    assert done.returncode == 3, done.stderr
    assert "PgBouncer has pool_mode=session" in done.stderr
    assert_wire(real, path[2])


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
        (2, None, "CERTIFICATE_GENERATION=0: voiceai-postgres on this host serves TLS"),
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


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (
            {"POSTGRES_TLS_ENABLED": "on", "PGBOUNCER_SERVER_TLS_SSLMODE": "verify-ca"},
            "PgBouncer on this host verifies",
        ),
        ({"PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}, "clients may verify voiceai-pgbouncer"),
        ({"REDIS_TLS_ENABLED": "true"}, "clients may verify voiceai-redis"),
    ],
)
def test_another_ca_while_somebody_may_verify_is_refused(
    real: RealHost,
    path: list[dict[str, str]],
    moto_server: SecretsManager,
    generations: dict[int, Generation],
    step: dict[str, str],
    says: str,
) -> None:
    go(real, path, 1)
    here = dict(path[1])
    for key, value in step.items():
        here[key] = value
        real.applied(here)
    # A good chain, but not the present one.
    ca = authority("another CA")
    other = Generation(number=2, ca=ca, leaf=server(ca))
    moto_server.put(other.secrets())
    try:
        done = real.update({**at(other), **step})
    finally:
        moto_server.put(generations[1].secrets())
    assert done.returncode == 3
    assert f"another CA, while {says}" in done.stderr
    for key in reversed(step):
        here[key] = OFF[key]
        real.applied(here)
    assert_wire(real, path[1])


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


# An impatient operator: Ctrl-C goes to the whole process group, and again while the way back is under way.
SIGNALLED = r"""set -m
/opt/voiceai/update.sh --set "$1" 2>/tmp/said &
until grep -q 'waiting for every server connection' /tmp/said || ! kill -0 $!; do sleep 0.1; done
for _ in $(seq 40); do kill -TERM -- -$! 2>/dev/null; sleep 0.05; done
wait $!; code=$?
cat /tmp/said >&2
exit $code"""


def test_signals_while_it_waits_take_the_change_back(real: RealHost, path: list[dict[str, str]]) -> None:
    go(real, path, 2)
    with open_transaction(real):
        done = real.run("timeout", "60", "bash", "-c", SIGNALLED, "signalled", "PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca")
        assert "stopped by TERM while waiting for every server connection" in done.stderr, done.stderr
        assert "the previous settings are back and verified" in done.stderr, done.stderr
        assert done.returncode == 1
    assert_wire(real, path[2])
    assert real.record()["PGBOUNCER_SERVER_TLS_SSLMODE"] == "disable"
