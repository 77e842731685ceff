"""What somebody may have done by hand, planted in reports: data for the tests.

A row is what is planted, then of the difference that must be told: key, declared, served, and the command that
reconciles it, each by its beginning. The rows of the issue's figure come first.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.operate.reports import OLD, Plain

MEND = "/opt/voiceai/update.sh --restart-only"
Plant = Callable[[dict[str, Plain]], None]


def server(plains: dict[str, Plain], role: str) -> Plain:
    """One of the database host's servers."""
    found: Plain = plains["database"]["servers"][role]
    return found


def setting_edited(plains: dict[str, Plain]) -> None:
    plains["database"]["record"]["edited"] = True


def old_certificate(plains: dict[str, Plain]) -> None:
    server(plains, "redis")["served"]["certificate"] = OLD


def old_certificate_by_alter_system(plains: dict[str, Plain]) -> None:
    server(plains, "postgres")["served"]["certificate"] = OLD
    server(plains, "postgres")["over"] = {"ssl_cert_file": "ALTER SYSTEM", "ssl_key_file": "ALTER SYSTEM"}


def expired(plains: dict[str, Plain]) -> None:
    server(plains, "pgbouncer")["served"]["verify"] = "10 (certificate has expired)"


def redis_opened(plains: dict[str, Plain]) -> None:
    server(plains, "redis")["plaintext"] = {"verdict": "accepted", "answer": "PONG"}
    server(plains, "redis")["facts"]["port"] = "6379"


def redis_tls_closed(plains: dict[str, Plain]) -> None:
    server(plains, "redis")["served"] = None


def redis_asks_for_certificates(plains: dict[str, Plain]) -> None:
    server(plains, "redis")["facts"]["tls-auth-clients"] = "yes"


def postgres_opened(plains: dict[str, Plain]) -> None:
    server(plains, "postgres")["plaintext"] = {"verdict": "accepted", "answer": "f"}


def postgres_opened_for_others(plains: dict[str, Plain]) -> None:
    server(plains, "postgres")["plaintextRules"] = 1


def pgbouncer_opened(plains: dict[str, Plain]) -> None:
    server(plains, "pgbouncer")["plaintext"] = {"verdict": "accepted", "answer": "t"}


def on_the_command_line(plains: dict[str, Plain]) -> None:
    server(plains, "postgres")["sources"] = {"ssl": "command line"}


def off_by_the_command_line(plains: dict[str, Plain]) -> None:
    on_the_command_line(plains)
    server(plains, "postgres")["served"] = None


def redis_command_line(plains: dict[str, Plain]) -> None:
    server(plains, "redis")["start"]["reads"] = {"port": "6379", "tls-port": "6380"}


def file_edited(plains: dict[str, Plain]) -> None:
    server(plains, "redis")["rendered"]["asVerified"] = False
    server(plains, "redis")["start"]["reads"] = {"port": "6379", "tls-port": "0"}


def key_unreadable(plains: dict[str, Plain]) -> None:
    server(plains, "postgres")["start"]["problems"] = ["server.key has mode and owner 644 70, Postgres wants 600 70"]


def configuration_refused(plains: dict[str, Plain]) -> None:
    server(plains, "postgres")["problems"] = ["pg_hba.conf line 3 syntax error"]


def by_hand(plains: dict[str, Plain]) -> None:
    record = plains["database"]["record"]["settings"]
    record["PGBOUNCER_CLIENT_TLS_SSLMODE"] = "allow"
    plains["database"]["handChanges"] = [
        {
            "key": "PGBOUNCER_CLIENT_TLS_SSLMODE",
            "declared": "require",
            "now": "allow",
            "who": "mia@10.0.9.9",
            "since": "2026-11-25T17:00:00Z",
        }
    ]
    pgbouncer_opened(plains)


def restored(plains: dict[str, Plain]) -> None:
    plains["database"]["record"]["settings"]["REDIS_FORCE_TLS"] = "false"
    redis_opened(plains)
    redis_command_line(plains)  # its file is that of an open listener, too


def certificate_taken_back_by_hand(plains: dict[str, Plain]) -> None:
    plains["web"]["record"]["settings"]["CERTIFICATE_GENERATION"] = "0"


def record_lost(plains: dict[str, Plain]) -> None:
    for key in ("record", "files", "servers"):
        plains["database"].pop(key)
    plains["database"]["apps"] = []


def interrupted(plains: dict[str, Plain]) -> None:
    plains["database"]["interrupted"] = {"changes": "REDIS_FORCE_TLS", "since": "2026-11-25T17:00:00Z", "who": "mia"}
    redis_opened(plains)


def stopped(plains: dict[str, Plain]) -> None:
    plains["database"]["servers"]["redis"] = {
        key: server(plains, "redis")[key] for key in ("container", "startedAt", "restartPolicy", "rendered")
    } | {"state": "exited"}


def left_in_plaintext(plains: dict[str, Plain]) -> None:
    server(plains, "pgbouncer")["clients"][0]["way"] = "plaintext"


def collector_in_plaintext(plains: dict[str, Plain]) -> None:
    server(plains, "otel")["runsWith"]["REDIS_TLS_INSECURE"] = "true"
    server(plains, "otel")["asRendered"] = False
    server(plains, "redis")["clients"][1]["way"] = "plaintext"


def collector_does_not_scrape(plains: dict[str, Plain]) -> None:
    plains["database"]["servers"]["otel"] |= {"scrapes": False, "why": "x509: certificate signed by unknown authority"}


def env_file_rewritten(plains: dict[str, Plain]) -> None:
    plains["web"]["apps"][0]["envFile"]["modes"] = {}


def replica_with_other_mode(plains: dict[str, Plain]) -> None:
    plains["telpro"]["apps"][0]["replicas"][1]["modes"] = {"REDIS_TLS_ENABLED": "false"}


def app_in_plaintext_by_its_url(plains: dict[str, Plain]) -> None:
    plains["web"]["apps"][0]["sessions"]["postgres"] |= {"tls": 0, "plaintext": 2, "urlSslmode": "disable"}


def file_on_disk_exchanged(plains: dict[str, Plain]) -> None:
    plains["database"]["files"]["server"] = OLD


def another_environment(plains: dict[str, Plain]) -> None:
    plains["web"]["record"]["environment"] = "production"


RESET = (
    "docker exec -e PGHOST= voiceai-postgres psql -U voiceai -c 'ALTER SYSTEM RESET ssl_cert_file' "
    "-c 'ALTER SYSTEM RESET ssl_key_file' -c 'SELECT pg_reload_conf()'"
)
RECREATE = "cd /opt/voiceai && docker compose up --detach voiceai-"
UNEDIT = "cp /var/lib/voiceai/settings.verified /var/lib/voiceai/settings"

PLANTED: list[tuple[Plant, str, str, str, str]] = [
    (setting_edited, "/var/lib/voiceai/settings", "as verified", "edited", UNEDIT),
    (old_certificate, "certificate", "serial 5B0C33D1…, until 2027-12-26", "serial 01DEAD00, until 2027-01-05", MEND),
    (old_certificate_by_alter_system, "certificate", "serial 5B0C33D1…", "serial 01DEAD00", RESET),
    (redis_opened, "REDIS_FORCE_TLS", "true", "false", MEND),
    (postgres_opened, "POSTGRES_FORCE_SSL", "on", "off", MEND),
    (postgres_opened_for_others, "POSTGRES_FORCE_SSL", "on", "off", MEND),
    (pgbouncer_opened, "PGBOUNCER_CLIENT_TLS_SSLMODE", "require", "allow", MEND),
    (on_the_command_line, "ssl", "by /etc/voiceai/postgres", "by something else", f"{RECREATE}postgres"),
    (off_by_the_command_line, "POSTGRES_TLS_ENABLED", "on", "off", f"{RECREATE}postgres"),
    (redis_command_line, "port of a start", "0", "6379", f"{RECREATE}redis"),
    (file_edited, "/etc/voiceai/redis/tls.conf", "as verified", "edited", MEND),
    (key_unreadable, "start of voiceai-postgres", "serves every hop", "does not", MEND),
    (redis_tls_closed, "REDIS_TLS_ENABLED", "true", "false", MEND),
    (redis_asks_for_certificates, "tls-auth-clients", "no", "yes", MEND),
    (configuration_refused, "configuration", "read", "refused", f"mend that line, then {MEND}"),
    (
        expired,
        "certificate",
        "verifies",
        "10 (certificate has expired)",
        "python -m operate next --stack staging --to CERTIFICATE_GENERATION=2",
    ),
    (
        by_hand,
        "PGBOUNCER_CLIENT_TLS_SSLMODE",
        "require",
        "allow",
        "/opt/voiceai/update.sh --set PGBOUNCER_CLIENT_TLS_SSLMODE=require",
    ),
    (restored, "REDIS_FORCE_TLS", "true", "false", "/opt/voiceai/update.sh --set REDIS_FORCE_TLS=true"),
    (
        certificate_taken_back_by_hand,
        "CERTIFICATE_GENERATION",
        "1",
        "0",
        "python -m operate back --stack staging --to CERTIFICATE_GENERATION=0",
    ),
    (record_lost, "record", "revision", "none", "pulumi up --stack staging --replace '**::hosts.database'"),
    (interrupted, "REDIS_FORCE_TLS", "ended", "interrupted", MEND),
    (stopped, "voiceai-redis", "running", "exited", MEND),
    (left_in_plaintext, "sessions", "in TLS", "2 in plaintext", "restart these clients"),
    (collector_in_plaintext, "REDIS_TLS_ENABLED", "true", "false", MEND),
    (collector_does_not_scrape, "scrapes", "yes", "no", "docker logs --tail 50 voiceai-otel"),
    (env_file_rewritten, "DATABASE_SSL_MODE in /opt/web/.env", "verify-full", "disable", MEND),
    (replica_with_other_mode, "apps.telpro.REDIS_TLS_ENABLED", "true", "false", MEND),
    (app_in_plaintext_by_its_url, "apps.web.DATABASE_SSL_MODE", "verify-full", "disable", "take sslmode=disable out"),
    (file_on_disk_exchanged, "server.crt", "sha256 a1a1", "serial 01DEAD00", MEND),
    (another_environment, "environment", "staging", "production", "see hosts.web.address"),
]
