"""What an update would be refused for, asked beforehand: `update.sh --preflight`.

An accepted and a refused twin of each kind of step, and that asking changes nothing."""

import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.host.conftest import SecretsManager
from tests.host.issuing import Generation, server_settings, settings_text
from tests.host.real.app_host import AppHost
from tests.host.real.real_host import RealHost, docker, must
from tests.host.real.test_closing import CLIENTS, DIRECT, POOLER, VERIFIED
from tests.host.real.walking import OFF
from tests.waiting import wait_until

REDIS_CLIENT = {"clients.api.USES": "postgres,redis"}
TLS = ("-p", "6380", "--tls", "--cacert", "/etc/ssl/internal/ca.crt")


def asked(real: RealHost, values: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`--preflight` as an operator's command asks: the next revision, no fingerprints."""
    known = server_settings(**{**values, "REVISION": str(real.revision + 1)})
    known |= {"CERTIFICATE_SHA256": "", "CA_SHA256": ""}
    return real.run("/opt/voiceai/update.sh", "--preflight", "-", stdin=settings_text(known))


def everything(real: RealHost) -> dict[str, str]:
    """Each file of the host by its content, mode and inode, and when each server was started."""
    found = real.started()
    for folder in ("etc", "tls", "state"):
        for path in sorted((real.root / folder).rglob("*")):
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = f"{content} {status.st_mode:o} {status.st_ino} {status.st_uid}"
    return found


@contextmanager
def nothing_changes(real: RealHost) -> Iterator[None]:
    before = everything(real)
    yield
    assert everything(real) == before


def passes(real: RealHost, values: Mapping[str, str], words: str) -> None:
    with nothing_changes(real):
        done = asked(real, values)
    assert done.returncode == 0, done.stderr
    assert f"would be taken: {words}" in done.stderr


def refused(real: RealHost, values: Mapping[str, str], words: str) -> str:
    with nothing_changes(real):
        done = asked(real, values)
    assert done.returncode == 3, done.stdout + done.stderr
    assert words in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def here(real_host: RealHost, generations: dict[int, Generation]) -> dict[str, str]:
    """Where the host stands: the tests are one story, and each step that is taken is written down here."""
    real_host.client("api")
    at = {**OFF, **CLIENTS, **REDIS_CLIENT}
    real_host.applied(at)
    return at


def take(real: RealHost, here: dict[str, str], **step: str) -> None:
    here |= step
    real.applied(here)


def test_a_certificate_that_is_not_issued_yet(
    real: RealHost, here: dict[str, str], generations: dict[int, Generation], moto_server: SecretsManager
) -> None:
    moto_server.remove_all()
    first = {**here, **generations[1].settings()}
    passes(real, first, "CERTIFICATE_GENERATION 0 → 1")
    moto_server.put(generations[1].secrets())
    take(real, here, **generations[1].settings())
    passes(real, {**here, "CERTIFICATE_GENERATION": "2"}, "CERTIFICATE_GENERATION 1 → 2")


def test_postgres(real: RealHost, here: dict[str, str]) -> None:
    on = {**here, "POSTGRES_TLS_ENABLED": "on"}
    passes(real, on, "POSTGRES_TLS_ENABLED off → on")
    real.psql("postgres", "user=voiceai", "ALTER SYSTEM SET ssl = off")
    try:
        refused(real, on, "ALTER SYSTEM RESET")
    finally:
        real.psql("postgres", "user=voiceai", "ALTER SYSTEM RESET ssl")
    leg = {**here, "PGBOUNCER_SERVER_TLS_SSLMODE": "verify-ca"}
    refused(real, leg, "from PgBouncer's own container Postgres cannot be reached so")
    refused(real, {**on, **leg, "POSTGRES_TLS_ENABLED": "on"}, "more than one variable differs")
    take(real, here, POSTGRES_TLS_ENABLED="on")
    none = {**here, "CERTIFICATE_GENERATION": "0", "CERTIFICATE_REQUEST": ""}
    refused(real, none, "voiceai-postgres on this host serves TLS")


def test_pgbouncers_two_legs(real: RealHost, here: dict[str, str]) -> None:
    passes(
        real, {**here, "PGBOUNCER_SERVER_TLS_SSLMODE": "verify-ca"}, "PGBOUNCER_SERVER_TLS_SSLMODE disable → verify-ca"
    )
    take(real, here, PGBOUNCER_SERVER_TLS_SSLMODE="verify-ca")
    refused(real, {**here, "POSTGRES_TLS_ENABLED": "off"}, "PgBouncer on this host needs TLS")
    passes(real, {**here, "PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}, "PGBOUNCER_CLIENT_TLS_SSLMODE disable → allow")
    take(real, here, PGBOUNCER_CLIENT_TLS_SSLMODE="allow")


def test_pgbouncer_closes_only_when_nobody_is_in_plaintext(real: RealHost, here: dict[str, str]) -> None:
    shut = {**here, "PGBOUNCER_CLIENT_TLS_SSLMODE": "require"}
    with real.connected("api", POOLER + VERIFIED), real.connected("api", POOLER + "sslmode=disable") as plain:
        said = refused(real, shut, "connected in plaintext: user voiceai, application api, from ")
        assert "let these clients use TLS first" in said
        # What an update would end is told, and is still there.
        done = asked(real, {**shut, "DRAIN_STRAGGLERS": "on"})
        assert "would end an idle plaintext session of pgbouncer: user voiceai, application api" in done.stderr
        assert plain.process.poll() is None
        seen = f"docker exec {real.container('pgbouncer')} psql -XAt -h /tmp -U pgbouncer pgbouncer -c 'SHOW CLIENTS'"
        assert real.run("sh", "-c", seen).stdout.count("|api|") == 2
    with real.connected("api", POOLER + VERIFIED):
        passes(real, shut, "PGBOUNCER_CLIENT_TLS_SSLMODE allow → require")


def test_postgres_closes_only_when_nobody_is_in_plaintext(real: RealHost, here: dict[str, str]) -> None:
    forced = {**here, "POSTGRES_FORCE_SSL": "on"}
    with real.connected("api", DIRECT + "sslmode=disable"):
        refused(real, forced, "connected in plaintext: user voiceai, application exporter")
    wait_until("nobody came lately", lambda: asked(real, forced).returncode == 0, seconds=30)
    passes(real, forced, "POSTGRES_FORCE_SSL off → on")


def test_redis_opens_and_closes(real: RealHost, here: dict[str, str]) -> None:
    opened = {**here, "REDIS_TLS_ENABLED": "true"}
    passes(real, opened, "REDIS_TLS_ENABLED false → true")
    take(real, here, REDIS_TLS_ENABLED="true")
    closed = {**here, "REDIS_FORCE_TLS": "true"}
    with real.redis_connected("api"):
        refused(real, closed, "connected in plaintext: user default")
    with real.redis_connected("api", *TLS):
        passes(real, closed, "REDIS_FORCE_TLS false → true")
        refused(real, {**here, "REDIS_TLS_ENABLED": "false"}, "1 sessions use Redis's TLS listener")
    passes(real, {**here, "REDIS_TLS_ENABLED": "false"}, "REDIS_TLS_ENABLED true → false")


@pytest.fixture(scope="module")
def app(real_host: RealHost, here: dict[str, str], generations: dict[int, Generation]) -> AppHost:
    real_host.applied({**here, "DATABASE_USERS": "voiceai"})
    host = AppHost(database=real_host, app="worker", generation=generations[1])
    host.open()
    host.applied()
    return host


def asked_of(app: AppHost, **changed: str) -> subprocess.CompletedProcess[str]:
    files = (
        "find",
        "/var/lib/voiceai",
        "/etc/ssl/internal",
        app_directory(app),
        "-type",
        "f",
        "-exec",
        "sha256sum",
        "{}",
        "+",
    )
    before = app.started(), sorted(app.run(*files).stdout.splitlines())
    lines = [
        line for line in app.text(**changed).splitlines() if not line.startswith(("CA_SHA256=", "CERTIFICATE_SHA"))
    ]
    text = "\n".join([*lines, "CA_SHA256=", "CERTIFICATE_SHA256=", ""])
    done = app.run("/opt/voiceai/update.sh", "--preflight", "-", stdin=text)
    assert (app.started(), sorted(app.run(*files).stdout.splitlines())) == before
    return done


def app_directory(app: AppHost) -> str:
    return f"/opt/{app.app}"


def test_an_app_proves_its_handshake_or_is_refused(real: RealHost, app: AppHost) -> None:
    database = asked_of(app, DATABASE_SSL_MODE="verify-full")
    assert database.returncode == 0, database.stderr
    assert "worker: a login at voiceai-pgbouncer:5432 with sslmode=verify-full is accepted" in database.stdout
    redis = asked_of(app, REDIS_TLS_ENABLED="true")
    assert redis.returncode == 0, redis.stderr
    assert "another CA refuses voiceai-redis:6380" in redis.stdout
    must("stop", app.containers()[1])
    down = asked_of(app, REDIS_TLS_ENABLED="true")
    assert down.returncode == 3
    assert "worker-2 is exited" in down.stderr
    app.deploy()
    app.run("iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", "6380", "-j", "DROP")
    closed = asked_of(app, REDIS_TLS_ENABLED="true")
    app.run("iptables", "-F", "OUTPUT")
    assert closed.returncode == 3
    assert "voiceai-redis" in closed.stderr


def test_what_an_update_would_put_right_first_is_refused(real: RealHost, here: dict[str, str]) -> None:
    on = {**here, "POSTGRES_FORCE_SSL": "on"}
    must("stop", real.container("redis"))
    refused(real, on, "voiceai-redis does not run (exited)")
    must("start", real.container("redis"))
    key = real.root / "tls/server.key"
    key.chmod(0o644)
    refused(real, on, "the certificate on disk is not as it was verified")
    key.chmod(0o600)
    off = {**here, "REDIS_TLS_ENABLED": "false"}
    dead = real.update(off, environment={"VOICEAI_FAULT": "intent-written"})
    assert dead.returncode == 137, dead.stderr
    refused(real, off, "an update was interrupted here (REDIS_TLS_ENABLED, begun ")
    real.applied(here)


def test_a_host_that_is_busy_says_so(real: RealHost, here: dict[str, str]) -> None:
    held = ("exec", f"{real.name}-host", "sh", "-c", "flock /var/lib/voiceai/lock sleep 5 & sleep 0.3; echo held")
    assert "held" in docker(*held).stdout
    done = asked(real, here)
    assert done.returncode == 5, done.stderr
    assert "another update of this host holds" in done.stderr


def test_nothing_to_change_and_bad_input(real: RealHost, here: dict[str, str]) -> None:
    wait_until("the lock is free", lambda: asked(real, here).returncode == 0, seconds=20)
    with nothing_changes(real):
        done = asked(real, {**here, "QUIET_MINUTES": "5"})
    assert done.returncode == 0, done.stderr
    assert "no variable of this host changes" in done.stderr
    assert asked(real, {**here, "POSTGRES_TLS_ENABLED": "maybe"}).returncode == 2
