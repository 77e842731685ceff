"""An app's flip with the lab's real app, PgBouncer and Redis: under load, refused, put back, killed."""

import signal
from collections.abc import Iterator

import pytest

from operate.served import HostReport
from tests.host.issuing import Generation, authority, server
from tests.host.real.app_host import AppHost
from tests.host.real.real_host import PASSWORD, RealHost, docker, must
from tests.host.real.reporting import reported
from tests.host.real.walking import OFF
from tests.waiting import wait_until

ON = {"DATABASE_SSL_MODE": "verify-full"}
REDIS_ON = {"REDIS_TLS_ENABLED": "true"}


@pytest.fixture(scope="module")
def open_servers(real_host: RealHost, generations: dict[int, Generation]) -> RealHost:
    """PgBouncer offers TLS, Redis has both listeners."""
    here = {**OFF, **generations[1].settings(), "DATABASE_USERS": "voiceai"}
    for step in ({}, {"PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}, {"REDIS_TLS_ENABLED": "true"}):
        here |= step
        real_host.applied(here)
    return real_host


@pytest.fixture(scope="module")
def app_host(open_servers: RealHost, generations: dict[int, Generation]) -> AppHost:
    """Its containers go with those of the database host, whose name theirs begin with."""
    host = AppHost(database=open_servers, app="api", generation=generations[1])
    host.open()
    host.applied()
    return host


@pytest.fixture
def app(app_host: AppHost, request: pytest.FixtureRequest) -> Iterator[AppHost]:
    """The app in plaintext, as it was deployed; its logs are printed when a test fails."""
    failed = request.session.testsfailed
    yield app_host
    if request.session.testsfailed > failed:
        print(app_host.logs())
    app_host.run("iptables", "-F", "OUTPUT")
    app_host.write_env()
    app_host.deploy()
    app_host.applied()


def test_both_tracks_flip_and_go_back_without_a_failed_request(app: AppHost) -> None:
    before = app.env_file.read_bytes()
    with app.load() as load:
        app.applied(**ON)
        assert app.modes("DATABASE_SSL_MODE") == ["verify-full", "verify-full"]
        assert set(app.sessions()) == {True}
        app.applied(**ON, **REDIS_ON)
        assert set(app.sessions(redis=True)) == {True}
        verified = app.run("/opt/voiceai/update.sh", "--verify-only")
        told = reported(app.run, "--restart")
        app.applied(**REDIS_ON)
        assert set(app.sessions()) == {False}
        app.applied()
    assert load.failed == []
    assert load.done > 50
    assert app.env_file.read_bytes() == before
    assert app.env_file.stat().st_mode & 0o777 == 0o640
    assert verified.returncode == 0, verified.stderr
    for words in (
        "with sslmode=verify-full is accepted",
        "another CA refuses voiceai-pgbouncer:5432",
        "verifies for that name",
    ):
        assert words in verified.stdout
    tells_of_both_tracks(told)


def tells_of_both_tracks(told: HostReport) -> None:
    (api,) = told.apps
    flipped = {"DATABASE_SSL_MODE": "verify-full", "REDIS_TLS_ENABLED": "true"}
    assert api.env_file is not None
    for modes in (api.env_file.modes, *(replica.modes for replica in api.replicas)):
        assert {key: modes[key] for key in flipped} == flipped
    assert [(one.service, one.state, one.restart_policy) for one in api.replicas] == [
        ("api-1", "running", "unless-stopped"),
        ("api-2", "running", "unless-stopped"),
    ]
    for track in ("postgres", "redis"):
        sessions = api.sessions[track]
        assert sessions.unknown == "", track
        assert (sessions.tls or 0) >= 2, track
        assert sessions.plaintext == 0, track
    assert api.start is not None
    assert api.start.dials == {"postgres": "accepted", "redis": "accepted"}
    assert (told.servers, told.collector, told.problem) == ({}, None, "")


def test_the_same_again_makes_no_replica_anew(app: AppHost) -> None:
    before = app.started()
    app.applied()
    for path in (app.root / "state").glob("settings*"):
        path.unlink()
    app.applied()
    assert app.started() == before


def test_an_app_with_a_wrong_ca_gets_no_session(app: AppHost) -> None:
    """No server can see whether a client verifies; this one does."""
    name = f"{app.name}-wrong"
    settings = {"DATABASE_SSL_MODE": "verify-full", "DATABASE_SSL_CA_FILE": "/etc/ssl/internal/wrong-ca.crt"}
    options = [part for key, value in settings.items() for part in ("--env", f"{key}={value}")]
    image = must("inspect", "--format", "{{.Config.Image}}", app.containers()[0])
    must(
        *("run", "--detach", "--name", name, "--network", app.database.name, "--env-file", str(app.env_file)),
        *("--volume", f"{app.root}/tls:/etc/ssl/internal:ro", "--env", "APP_NAME=wrong", *options, image),
    )
    try:
        wait_until("it is refused", lambda: "certificate verify failed" in docker("logs", name).stdout)
        assert docker("exec", name, "curl", "-fsS", "http://127.0.0.1:8001/health").returncode != 0
    finally:
        docker("rm", "--force", name)


def test_a_mode_in_the_address_is_seen_by_pgbouncer_and_put_back(app: AppHost) -> None:
    app.write_env(query="?sslmode=disable")
    app.deploy()
    before, untouched = app.env_file.read_bytes(), app.started()[1]
    with app.load() as load:
        done = app.update(**ON)
    assert done.returncode == 1, done.stderr
    assert "DATABASE_URL has sslmode=disable, which wins over DATABASE_SSL_MODE: remove it there" in done.stderr
    assert "the previous settings are back and verified" in done.stderr
    assert load.failed == []
    assert app.env_file.read_bytes() == before
    assert app.started()[1] == untouched


def test_a_rewritten_env_file_is_found_and_put_in_again(app: AppHost) -> None:
    app.applied(**ON)
    app.write_env(more="NEW=1\n")
    (told,) = reported(app.run).apps
    assert told.env_file is not None
    assert told.env_file.modes["DATABASE_SSL_MODE"] == "disable"
    assert [replica.modes["DATABASE_SSL_MODE"] for replica in told.replicas] == ["verify-full", "verify-full"]
    app.deploy()
    found = app.run("/opt/voiceai/update.sh", "--verify-only")
    assert found.returncode == 4
    assert "says DATABASE_SSL_MODE=disable, wanted is verify-full" in found.stdout + found.stderr
    with app.load() as load:
        again = app.run("/opt/voiceai/update.sh", "--restart-only")
    assert again.returncode == 0, again.stderr
    assert load.failed == []
    assert set(app.sessions()) == {True}
    assert "NEW=1" in app.env_file.read_text()


def test_a_replica_that_is_down_at_the_apps_turn_is_named_and_the_way_back_is_open(app: AppHost) -> None:
    must("stop", app.containers()[1])
    refused = app.update(**ON)
    assert refused.returncode == 3
    assert "api-2 is exited" in refused.stderr
    app.deploy()
    app.applied(**ON)
    must("stop", app.containers()[1])
    app.applied()
    assert set(app.sessions()) == {False}


def test_a_closed_port_a_foreign_name_a_stray_certificate_and_a_bad_ca_file_are_refused(app: AppHost) -> None:
    before = app.started()
    app.run("iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", "6380", "-j", "DROP")
    closed = app.update(**REDIS_ON)
    app.run("iptables", "-F", "OUTPUT")
    reset = ("-p", "tcp", "--dport", "5432", "-j", "REJECT", "--reject-with", "tcp-reset")
    app.run("iptables", "-A", "OUTPUT", *reset)
    (told,) = reported(app.run, "--restart").apps
    app.run("iptables", "-F", "OUTPUT")
    assert told.start is not None
    assert "refused" in told.start.dials["postgres"]
    assert told.start.dials["redis"] == "accepted"
    assert "PgBouncer does not show its clients" in told.sessions["postgres"].unknown
    assert told.sessions["redis"].plaintext
    assert closed.returncode == 3, closed.stderr
    assert "voiceai-redis" in closed.stderr
    stale = app.update(**ON, DATABASE_SSL_CA_FILE="/etc/ssl/internal/wrong-ca.crt")
    assert stale.returncode == 3
    assert "does not hold the present CA" in stale.stderr
    hidden = app.root / "tls/hidden.crt"
    hidden.write_bytes((app.root / "tls/ca.crt").read_bytes())
    hidden.chmod(0o600)
    unreadable = app.update(**ON, DATABASE_SSL_CA_FILE="/etc/ssl/internal/hidden.crt")
    hidden.unlink()
    assert unreadable.returncode == 3, unreadable.stderr
    assert "/etc/ssl/internal/hidden.crt" in unreadable.stderr
    assert "read" in unreadable.stderr
    home = "/nonexistent/.postgresql"
    place = f"mkdir -p {home} && cat >{home}/postgresql.crt && chmod -R a+rX /nonexistent"
    foreign = server(authority("another CA")).pem.decode()
    assert docker("exec", "-i", "-u", "0", app.containers()[0], "sh", "-c", place, stdin=foreign).returncode == 0
    stray = app.update(**ON)
    assert stray.returncode == 3, stray.stderr
    assert "/nonexistent/.postgresql/postgresql.crt" in stray.stderr
    assert app.started() == before
    app.write_env(host=app.database.container("pgbouncer"))
    app.deploy()
    named = app.update(**ON)
    assert named.returncode == 3, named.stderr
    assert "the certificate covers db.lab.internal voiceai-postgres" in named.stderr


@pytest.mark.parametrize("point", ["app-env-written", "app-replica-recreated", "app_database-applied"])
def test_killed_in_the_middle_it_ends_verified_without_a_failed_request(app: AppHost, point: str) -> None:
    with app.load() as load:
        dead = app.update(point, **ON)
        assert dead.returncode == 128 + signal.SIGKILL, dead.stderr
        again = app.applied(**ON)
    assert "putting it back first" in again.stderr
    assert load.failed == []
    assert set(app.sessions()) == {True}


def test_sigterm_takes_the_flip_back(app: AppHost) -> None:
    before = app.env_file.read_bytes()
    text = app.text(**ON)
    # A second after the first replica is made anew it is not healthy twice yet.
    script = (
        "/opt/voiceai/update.sh --settings - & child=$!; "
        "until grep -q verify-full /opt/api/app.env; do sleep 0.05; done; kill -TERM $child; wait $child"
    )
    done = app.run("bash", "-c", f"exec 3<&0; ({script.replace('--settings -', '--settings - <&3')})", stdin=text)
    assert done.returncode == 1, done.stderr
    assert "stopped by TERM" in done.stderr
    assert app.env_file.read_bytes() == before
    assert set(app.sessions()) == {False}


def test_no_password_is_in_an_argument_a_log_or_the_journal(app: AppHost) -> None:
    done = app.applied(**ON)
    watched = app.run("sh", "-c", "cat /var/lib/voiceai/journal; find /var/lib/voiceai -type f -exec cat {} +")
    assert "verified: revision" in watched.stdout
    for text in (done.stderr, done.stdout, watched.stdout):
        assert PASSWORD not in text
        assert "p%22a" not in text
