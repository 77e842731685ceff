"""What each host is told, to the letter, and which hosts a move touches."""

from dataclasses import replace

from rollout.declared import Deployment
from rollout.render import host_content, host_settings, touched_hosts

from .declarations import (
    APPS_FLIPPED,
    CERTIFICATES,
    CLIENT_LEG,
    CLOSED,
    NOTHING,
    POSTGRES_OFFERS,
    PREPARED,
    REDIS_CLOSED,
    REDIS_FLIPPED,
    REDIS_OFFERS,
    SERVER_LEG,
    declared,
    having,
    with_app,
    with_host,
    with_name,
    without_app,
)

EVERY = ("api1", "api2", "database", "web")


def lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_database_host_is_told_every_variable_of_its_roles_and_who_its_clients_are() -> None:
    state = with_app(declared(**SERVER_LEG), "telpro")
    assert host_content(state, "database") == (
        "AWS_REGION=eu-west-1\n"
        "CERTIFICATE_GENERATION=1\n"
        "CERTIFICATE_REQUEST=0123456789abcdef\n"
        "CLIENTS=api,web,telpro\n"
        "DATABASE_USERS=voiceai\n"
        "DIALED_NAMES=db.internal,voiceai-postgres,voiceai-pgbouncer,voiceai-redis\n"
        "DRAIN_STRAGGLERS=off\n"
        "ENVIRONMENT=test\n"
        "PGBOUNCER_CLIENT_TLS_SSLMODE=disable\n"
        "PGBOUNCER_SERVER_TLS_SSLMODE=verify-ca\n"
        "POSTGRES_FORCE_SSL=off\n"
        "POSTGRES_TLS_ENABLED=on\n"
        "PREPARED=on\n"
        "QUIET_MINUTES=60\n"
        "REDIS_FORCE_TLS=false\n"
        "REDIS_TLS_ENABLED=false\n"
        "REDIS_TLS_PORT=6380\n"
        "ROLES=postgres,pgbouncer,redis\n"
        "SECRET_CA=voiceai/test/INTERNAL_CA_CRT_B64\n"
        "SECRET_CERT=voiceai/test/INTERNAL_TLS_CERT_B64\n"
        "SECRET_KEY=voiceai/test/INTERNAL_TLS_KEY_B64\n"
        "clients.api.ADDRESSES=10.0.0.21,10.0.0.22\n"
        "clients.api.DATABASE_USER=voiceai\n"
        "clients.api.USES=postgres,redis\n"
        "clients.telpro.ADDRESSES=10.0.0.99\n"
        "clients.telpro.USES=redis\n"
        "clients.web.ADDRESSES=10.0.0.30\n"
        "clients.web.DATABASE_USER=voiceai\n"
        "clients.web.USES=postgres,redis\n"
    )


def test_an_app_host_is_told_its_apps_and_no_server_variable_nor_where_the_key_is() -> None:
    state = having(declared(**APPS_FLIPPED), apps__api__healthCommand="curl -fsS 'http://127.0.0.1/?a=b' # x")
    assert host_content(state, "api1") == (
        "APPS=api\n"
        "AWS_REGION=eu-west-1\n"
        "CERTIFICATE_GENERATION=1\n"
        "CERTIFICATE_REQUEST=0123456789abcdef\n"
        "DIALED_NAMES=db.internal,voiceai-postgres,voiceai-pgbouncer,voiceai-redis\n"
        "ENVIRONMENT=test\n"
        "REDIS_TLS_PORT=6380\n"
        "ROLES=app\n"
        "SECRET_CA=voiceai/test/INTERNAL_CA_CRT_B64\n"
        "apps.api.ACCEPT_RESTART=false\n"
        "apps.api.DATABASE_SSL_CA_FILE=/etc/ssl/internal/ca.crt\n"
        "apps.api.DATABASE_SSL_MODE=verify-full\n"
        "apps.api.DATABASE_USER=voiceai\n"
        "apps.api.DIRECTORY=/opt/api\n"
        "apps.api.DRAIN_SECONDS=30\n"
        "apps.api.ENV_FILE=/opt/api/.env\n"
        "apps.api.HEALTH_COMMAND=curl -fsS 'http://127.0.0.1/?a=b' # x\n"
        "apps.api.KIND=service\n"
        "apps.api.REDIS_TLS_CA_FILE=/etc/ssl/internal/ca.crt\n"
        "apps.api.REDIS_TLS_ENABLED=false\n"
        "apps.api.SERVICES=api\n"
        "apps.api.USES=postgres,redis\n"
    )


def test_an_app_is_told_of_no_server_that_it_does_not_use() -> None:
    told = lines(host_content(with_app(NOTHING, "telpro"), "telpro"))
    assert not {key for key in told if "DATABASE" in key}
    assert told["apps.telpro.KIND"] == "kamailio"
    assert told["apps.telpro.REDIS_TLS_ENABLED"] == "false"


def test_names_of_sessions_are_told_to_servers_and_to_apps_where_there_are_any() -> None:
    named = replace(NOTHING.apps["api"], application_name="api-app", redis_client_name="api-redis")
    state = replace(NOTHING, apps={**NOTHING.apps, "api": named})
    told = lines(host_content(state, "database")) | lines(host_content(state, "api1"))
    for where in ("clients.api", "apps.api"):
        assert told[f"{where}.APPLICATION_NAME"] == "api-app"
        assert told[f"{where}.REDIS_CLIENT_NAME"] == "api-redis"
    assert "clients.web.APPLICATION_NAME" not in told


def test_the_users_of_all_apps_become_the_poolers_readers() -> None:
    other = replace(NOTHING.apps["web"], database_user="reports")
    state = replace(NOTHING, apps={**NOTHING.apps, "web": other})
    assert lines(host_content(state, "database"))["DATABASE_USERS"] == "reports,voiceai"


def test_a_collector_beside_an_app_is_told_of_redis() -> None:
    told = lines(host_content(declared(**REDIS_OFFERS), "web"))
    assert told["ROLES"] == "otel,app"
    assert (told["REDIS_TLS_ENABLED"], told["REDIS_TLS_PORT"]) == ("true", "6380")
    assert not {"REDIS_FORCE_TLS", "SECRET_KEY", "CLIENTS", "PREPARED"} & told.keys()


def test_a_collector_alone_is_no_app_and_no_server() -> None:
    told = lines(host_content(with_host(NOTHING, "metrics", "otel"), "metrics"))
    assert told["ROLES"] == "otel"
    assert not {"APPS", "SECRET_KEY", "QUIET_MINUTES"} & told.keys()


def test_a_server_on_a_host_of_its_own_is_only_another_inventory() -> None:
    state = with_host(with_host(NOTHING, "database", "postgres"), "pool", "pgbouncer")
    state = with_host(state, "cache", "redis")
    before, after = declared(state, **POSTGRES_OFFERS), declared(state, **SERVER_LEG)
    assert "PGBOUNCER_SERVER_TLS_SSLMODE" not in lines(host_content(before, "database"))
    assert "POSTGRES_TLS_ENABLED" not in lines(host_content(before, "pool"))
    assert "DATABASE_USERS" not in lines(host_content(before, "cache"))
    assert {lines(host_content(before, host))["CLIENTS"] for host in ("database", "pool", "cache")} == {"api,web"}
    assert touched_hosts(before, after) == ("pool",)


def test_a_deployment_of_its_own_is_told_where_it_is_declared() -> None:
    services = {"postgres": "db", "pgbouncer": "pooler", "redis": "cache"}
    deployment = Deployment(directory="/srv/db", files=("compose.yaml", "prod.yaml"), services=services)
    database = replace(NOTHING.hosts["database"], deployment=deployment)
    told = lines(host_content(replace(NOTHING, hosts={**NOTHING.hosts, "database": database}), "database"))
    assert {key: value for key, value in told.items() if key.startswith(("DEPLOYMENT", "SERVICE"))} == {
        "DEPLOYMENT_DIRECTORY": "/srv/db",
        "DEPLOYMENT_FILES": "compose.yaml,prod.yaml",
        "SERVICE_POSTGRES": "db",
        "SERVICE_PGBOUNCER": "pooler",
        "SERVICE_REDIS": "cache",
    }
    assert not [key for key in lines(host_content(NOTHING, "database")) if key.startswith(("DEPLOYMENT", "SERVICE"))]


def test_without_apps_there_are_no_clients() -> None:
    told = lines(host_content(without_app(without_app(NOTHING, "api"), "web"), "database"))
    assert not [key for key in told if key.upper().startswith(("CLIENTS", "DATABASE_USERS"))]


def test_the_revision_and_fingerprints_frame_the_content() -> None:
    content = host_content(declared(**CERTIFICATES), "api1")
    text = host_settings(content, revision="7", certificate_sha256="ab" * 32, ca_sha256="cd" * 32)
    assert text.startswith("REVISION=7\n")
    assert lines(text) == lines(content) | {
        "REVISION": "7",
        "CERTIFICATE_SHA256": "ab" * 32,
        "CA_SHA256": "cd" * 32,
    }


def test_nothing_is_asked_for_at_generation_0() -> None:
    assert lines(host_content(NOTHING, "database"))["CERTIFICATE_REQUEST"] == ""
    assert touched_hosts(NOTHING, with_name(NOTHING, "later.internal")) == ()


def test_which_hosts_a_step_touches() -> None:
    assert touched_hosts(NOTHING, declared(**PREPARED)) == ("database",)
    assert touched_hosts(declared(**PREPARED), declared(**CERTIFICATES)) == EVERY
    assert touched_hosts(declared(**CERTIFICATES), declared(**POSTGRES_OFFERS)) == ("database",)
    assert touched_hosts(declared(**CLIENT_LEG), declared(**CLIENT_LEG, api="verify-full")) == ("api1", "api2")
    assert touched_hosts(declared(**APPS_FLIPPED), declared(**CLOSED)) == ("database",)
    assert touched_hosts(declared(**CERTIFICATES), declared(**REDIS_OFFERS)) == ("database", "web")
    assert touched_hosts(declared(**REDIS_OFFERS), declared(**REDIS_OFFERS, web_redis="true")) == ("web",)
    assert touched_hosts(declared(**REDIS_FLIPPED), declared(**REDIS_CLOSED)) == ("database",)


def test_which_hosts_other_moves_touch() -> None:
    before = declared(**CERTIFICATES)
    assert touched_hosts(before, with_name(before, "db2.internal")) == EVERY
    assert touched_hosts(before, having(before, REDIS_TLS_PORT="6390")) == EVERY
    assert touched_hosts(before, having(before, QUIET_MINUTES="0")) == ("database",)
    assert touched_hosts(before, having(before, apps__api__acceptRestart="true")) == ("api1", "api2")
    assert touched_hosts(before, with_host(before, "new", "web")) == ("database", "new")
