"""PgBouncer's client leg and Postgres's pg_hba.conf: opened, closed on evidence alone, and opened again."""

import pytest

from tests.host.issuing import Generation
from tests.host.real.real_host import ROLES, RealHost, docker, must
from tests.host.real.walking import OFF
from tests.waiting import wait_until

POOLER = "host=voiceai-pgbouncer port=5432 user=voiceai dbname=voiceai application_name=api "
VERIFIED = "sslmode=verify-full sslrootcert=/etc/ssl/internal/ca.crt"
WRONG = "sslmode=verify-ca sslrootcert=/etc/ssl/internal/wrong-ca.crt"
DIRECT = "host=voiceai-postgres user=voiceai dbname=voiceai application_name=exporter "
CLIENTS = {
    "CLIENTS": "api",
    "clients.api.ADDRESSES": "api",
    "clients.api.USES": "postgres",
    "clients.api.DATABASE_USER": "voiceai",
    "DATABASE_USERS": "voiceai",
}


@pytest.fixture(scope="module")
def open_leg(real_host: RealHost, generations: dict[int, Generation]) -> dict[str, str]:
    """Every step up to the client leg at `allow`, with a client called api."""
    real_host.client("api")
    here = {**OFF, **CLIENTS, **generations[1].settings()}
    for key, value in [
        ("CERTIFICATE_GENERATION", "1"),
        ("POSTGRES_TLS_ENABLED", "on"),
        ("PGBOUNCER_SERVER_TLS_SSLMODE", "verify-ca"),
    ]:
        here[key] = value
        real_host.applied(here)
    return here


@pytest.fixture
def allowed(real: RealHost, open_leg: dict[str, str]) -> dict[str, str]:
    """The client leg at `allow`, wherever the test before left it."""
    here = {**open_leg, "PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}
    record = real.record()
    if record["POSTGRES_FORCE_SSL"] == "on":
        real.applied({**here, "PGBOUNCER_CLIENT_TLS_SSLMODE": record["PGBOUNCER_CLIENT_TLS_SSLMODE"]})
    real.applied(here)
    return here


def required(here: dict[str, str]) -> dict[str, str]:
    return {**here, "PGBOUNCER_CLIENT_TLS_SSLMODE": "require"}


def ask(real: RealHost, conninfo: str) -> str:
    return real.from_client("api", "psql", "-XAtw", "-c", "SELECT 'answered'", conninfo)


def test_the_client_leg_opens_and_shuts_without_a_restart_or_a_lost_session(
    real: RealHost, open_leg: dict[str, str]
) -> None:
    real.applied(open_leg)
    before = real.started()
    assert "does not support SSL" in ask(real, POOLER + "sslmode=require")
    with real.connected("api", POOLER + "sslmode=disable") as session:
        real.applied({**open_leg, "PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"})
        assert ask(real, POOLER + VERIFIED) == "answered"
        assert "certificate verify failed" in ask(real, POOLER + WRONG)
        assert ask(real, POOLER + "sslmode=disable") == "answered"
        real.applied(open_leg)
        assert session.process.poll() is None
    assert "does not support SSL" in ask(real, POOLER + "sslmode=require")
    assert real.started() == before


def test_a_host_whose_record_is_lost_keeps_offering_tls_while_it_converges(
    real: RealHost, allowed: dict[str, str]
) -> None:
    for name in ("settings", "settings.verified"):
        (real.root / "state" / name).unlink()
    loop = 'while :; do psql -XAtwq -c "SELECT 1" "$1" >>/tmp/said 2>&1; done'
    must("exec", "--detach", f"{real.name}-api", "sh", "-c", loop, "verifying", POOLER + VERIFIED)
    try:
        wait_until("it connects", lambda: real.from_client("api", "cat", "/tmp/said").startswith("1"))
        real.applied(allowed)
    finally:
        docker("exec", f"{real.name}-api", "pkill", "-f", "verifying")
    assert set(real.from_client("api", "cat", "/tmp/said").split()) == {"1"}


def test_a_client_in_plaintext_is_named_and_nothing_is_closed(real: RealHost, allowed: dict[str, str]) -> None:
    with real.connected("api", POOLER + "sslmode=disable"):
        done = real.update(required(allowed))
    assert done.returncode == 3, done.stderr
    assert "connected in plaintext: user voiceai, application api, from " in done.stderr
    assert "(api)" in done.stderr
    assert ask(real, POOLER + "sslmode=disable") == "answered"


def test_an_app_that_was_never_seen_in_tls_is_no_proof(real: RealHost, allowed: dict[str, str]) -> None:
    other = {"CLIENTS": "api,voice", "clients.voice.ADDRESSES": "10.255.255.1", "clients.voice.USES": "postgres"}
    assert ask(real, POOLER + VERIFIED) == "answered"
    done = real.update({**required(allowed), **other})
    assert done.returncode == 3, done.stderr
    assert "no proof of voice: it was not seen in TLS from 10.255.255.1" in done.stderr
    assert "no proof of api" not in done.stderr


def test_a_plaintext_login_after_the_last_one_in_tls_is_no_proof(real: RealHost, allowed: dict[str, str]) -> None:
    assert ask(real, POOLER + VERIFIED) == "answered"
    assert ask(real, POOLER + "sslmode=disable") == "answered"
    done = real.update(required(allowed))
    assert done.returncode == 3, done.stderr
    assert "no proof of api" in done.stderr
    done = real.update({**required(allowed), "QUIET_MINUTES": "1"})
    assert done.returncode == 3, done.stderr
    assert "not quiet: the last plaintext login of pgbouncer's log was at" in done.stderr


def test_it_closes_on_proof_refuses_plaintext_and_opens_again(real: RealHost, allowed: dict[str, str]) -> None:
    before = real.started()
    with real.connected("api", POOLER + VERIFIED) as session:
        real.applied(required(allowed))
        assert "SSL required" in ask(real, POOLER + "sslmode=disable")
        assert ask(real, POOLER + VERIFIED) == "answered"
        assert "certificate verify failed" in ask(real, POOLER + WRONG)
        real.applied(allowed)
        assert ask(real, POOLER + "sslmode=disable") == "answered"
        assert session.process.poll() is None
    assert real.started() == before


def test_draining_ends_an_idle_straggler_and_says_whom(real: RealHost, allowed: dict[str, str]) -> None:
    assert ask(real, POOLER + VERIFIED) == "answered"
    with real.connected("api", POOLER + "sslmode=disable"), real.connected("api", POOLER + VERIFIED):
        done = real.update({**required(allowed), "DRAIN_STRAGGLERS": "on"})
    assert done.returncode == 0, done.stderr
    assert "ending an idle plaintext session of pgbouncer: user voiceai, application api" in done.stderr
    real.applied(allowed)


def test_a_straggler_that_comes_back_at_once_is_refused_by_name(real: RealHost, allowed: dict[str, str]) -> None:
    loop = 'while :; do psql -XAtwq -c "SELECT pg_sleep(2)" "$1"; done'
    name = f"{real.name}-api"
    must("exec", "--detach", name, "sh", "-c", loop, "again", POOLER + "sslmode=disable application_name=nightly")
    try:
        seen = f"docker exec {real.container('pgbouncer')} psql -XAt -h /tmp -U pgbouncer pgbouncer -c 'SHOW CLIENTS'"
        wait_until("it is connected", lambda: "nightly" in real.run("sh", "-c", seen).stdout)
        done = real.update({**required(allowed), "DRAIN_STRAGGLERS": "on"})
    finally:
        docker("exec", name, "pkill", "-f", "nightly")
    assert done.returncode == 3, done.stderr
    assert "application nightly" in done.stderr


def test_a_straggler_that_connects_anew_each_second_is_found_without_a_quiet_period(
    real: RealHost, allowed: dict[str, str]
) -> None:
    """It is connected for milliseconds, so no list of clients has it."""
    loop = 'while :; do psql -XAtwq -c "SELECT 1" "$1" >>/tmp/nightly; sleep 1; done'
    name = f"{real.name}-api"
    other = "host=voiceai-pgbouncer port=5432 user=voiceai dbname=voiceai application_name=anew sslmode=disable"
    must("exec", "--detach", name, "sh", "-c", loop, "again", other)
    try:
        wait_until("it came twice", lambda: real.from_client("api", "cat", "/tmp/nightly").split() == ["1", "1"])
        with real.connected("api", POOLER + VERIFIED):
            done = real.update(required(allowed))
    finally:
        docker("exec", name, "pkill", "-f", "application_name=anew")
    assert done.returncode == 3, done.stderr
    assert "the last plaintext login of pgbouncer's log was at" in done.stderr
    assert "user voiceai from" in done.stderr
    with real.connected("api", POOLER + VERIFIED):
        real.applied(required(allowed))


def test_by_hand_tls_is_not_taken_from_who_uses_it(real: RealHost, allowed: dict[str, str]) -> None:
    back = ("/opt/voiceai/update.sh", "--set", "PGBOUNCER_CLIENT_TLS_SSLMODE=disable")
    with real.connected("api", POOLER + VERIFIED):
        refused = real.run(*back)
        assert refused.returncode == 3, refused.stderr
        assert "user voiceai, application api" in refused.stderr
        assert ask(real, POOLER + VERIFIED) == "answered"
    done = real.run(*back)
    assert done.returncode == 0, done.stderr
    assert "does not support SSL" in ask(real, POOLER + "sslmode=require")


def test_a_rebuilt_host_converges_to_where_plaintext_is_refused(real: RealHost, allowed: dict[str, str]) -> None:
    """Nobody was ever connected to it, so nobody can prove anything."""
    must("rm", "--force", "--volumes", *(real.container(role) for role in ROLES))
    must("volume", "rm", *must("volume", "ls", "--quiet", "--filter", f"name=^{real.name}").split())
    for name in ("settings", "settings.verified", "journal"):
        (real.root / "state" / name).unlink()
    done = real.applied(forced(required(allowed)))
    assert "a new host, nobody was connected yet" in done.stderr
    assert "SSL required" in ask(real, POOLER + "sslmode=disable")
    assert ask(real, POOLER + VERIFIED) == "answered"
    assert "no encryption" in ask(real, DIRECT + "sslmode=disable")
    real.applied(required(allowed))


@pytest.mark.parametrize("point", ["client_leg-begun", "client_leg-rendered", "client_leg-applied"])
def test_killed_anywhere_it_is_finished_by_the_next_run(real: RealHost, allowed: dict[str, str], point: str) -> None:
    with real.connected("api", POOLER + VERIFIED):
        dead = real.update(required(allowed), environment={"VOICEAI_FAULT": point})
        assert dead.returncode == 137, dead.stderr
        real.applied(required(allowed))
        assert "SSL required" in ask(real, POOLER + "sslmode=disable")


HBA = "/var/lib/postgresql/data/pg_hba.conf"


def hba(real: RealHost) -> bytes:
    return must("exec", real.container("postgres"), "base64", "-w0", HBA).encode()


def forced(here: dict[str, str]) -> dict[str, str]:
    return {**here, "POSTGRES_FORCE_SSL": "on"}


def test_pg_hba_changes_in_one_word_a_line_and_comes_back_to_the_byte(real: RealHost, allowed: dict[str, str]) -> None:
    strange = "# host is a word here\n\thost\tall all 192.0.2.1/32 \\\nscram-sha-256\nhostssl all all 192.0.2.2/32 md5"
    strange += "\nhostnogssenc all all 192.0.2.3/32 scram-sha-256"
    must("exec", real.container("postgres"), "sh", "-c", 'printf %s "$1" >>"$2"', "add", strange, HBA)
    before, servers = hba(real), real.started()
    done = real.applied(forced(allowed))
    text = must("exec", real.container("postgres"), "cat", HBA)
    assert "\thostssl\tall all 192.0.2.1/32 \\\nscram-sha-256\nhostssl all all 192.0.2.2/32 md5" in text, done.stderr
    assert "\nhostssl all all 192.0.2.3/32" in text
    assert "# host is a word here" in text
    assert "no encryption" in ask(real, DIRECT + "sslmode=disable")
    assert ask(real, DIRECT + VERIFIED) == "answered"
    assert ask(real, POOLER + VERIFIED) == "answered"
    real.applied(allowed)
    assert hba(real) == before
    assert ask(real, DIRECT + "sslmode=disable") == "answered"
    assert real.started() == servers


def test_an_edit_made_meanwhile_survives_the_way_back(real: RealHost, allowed: dict[str, str]) -> None:
    real.applied(forced(allowed))
    added = "hostssl all all 192.0.2.3/32 md5"
    must("exec", real.container("postgres"), "sh", "-c", 'printf "\\n%s\\n" "$1" >>"$2"', "add", added, HBA)
    done = real.applied(allowed)
    assert "was edited" in done.stderr
    text = must("exec", real.container("postgres"), "cat", HBA)
    assert added in text
    assert "host all all all" in text
    assert ask(real, DIRECT + "sslmode=disable") == "answered"


def test_a_direct_client_in_plaintext_is_named(real: RealHost, allowed: dict[str, str]) -> None:
    with real.connected("api", DIRECT + "sslmode=disable"):
        done = real.update(forced(allowed))
    assert done.returncode == 3, done.stderr
    assert "connected in plaintext: user voiceai, application exporter" in done.stderr
    before = hba(real)
    assert b"hostssl" not in before or ask(real, DIRECT + "sslmode=disable") == "answered"


def test_a_file_that_is_broken_already_is_refused(real: RealHost, allowed: dict[str, str]) -> None:
    must("exec", real.container("postgres"), "sh", "-c", 'cp "$1" /tmp/hba; echo "host nonsense" >>"$1"', "x", HBA)
    try:
        done = real.update(forced(allowed))
    finally:
        must("exec", real.container("postgres"), "sh", "-c", 'cat /tmp/hba >"$1"', "x", HBA)
    assert done.returncode == 3, done.stderr
    assert "pg_hba.conf has errors already" in done.stderr


@pytest.mark.parametrize("point", ["force_ssl-kept", "force_ssl-written", "force_ssl-applied"])
def test_killed_while_pg_hba_changes(real: RealHost, allowed: dict[str, str], point: str) -> None:
    before = hba(real)
    dead = real.update(forced(allowed), environment={"VOICEAI_FAULT": point})
    assert dead.returncode == 137, dead.stderr
    real.applied(allowed)
    assert hba(real) == before
    assert ask(real, DIRECT + "sslmode=disable") == "answered"
