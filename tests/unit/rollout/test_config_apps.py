"""An app's contract in config: defaults, and each bad input refused with its key."""

from typing import Any

import pytest

from rollout.config import parse
from rollout.declared import App, default_app

from .test_config import HOST_KEY, hosts, problems, raw


def app(name: str = "api", /, **fields: Any) -> App:
    return parse(raw(apps={name: fields})).declared.apps[name]


def test_an_app_that_declares_nothing_has_the_seeds_defaults() -> None:
    assert app() == App(
        uses=("postgres", "redis"),
        kind="service",
        directory="/opt/api",
        env_file="/opt/api/.env",
        services=("api",),
        database_user="voiceai",
        application_name="",
        redis_client_name="",
    )


def test_telpro_is_a_kamailio_that_knows_only_redis() -> None:
    telpro = {"address": "10.0.0.4", "hostKey": HOST_KEY, "roles": ["telpro"]}
    declared = parse(raw(hosts=hosts(telpro=telpro))).declared
    assert declared.apps["telpro"] == default_app("telpro")
    assert (declared.apps["telpro"].uses, declared.apps["telpro"].kind) == (("redis",), "kamailio")
    assert "apps.telpro.DATABASE_SSL_MODE" not in declared.settings


def test_every_field_of_a_contract_is_taken() -> None:
    fields = {
        "uses": ["redis", "postgres"],
        "kind": "kamailio",
        "directory": "/srv/api",
        "envFile": "env/app.env",
        "services": ["api-1", "api-2"],
        "databaseUser": "api",
        "applicationName": "api:prod",
        "redisClientName": "api",
    }
    assert app(**fields) == App(
        uses=("postgres", "redis"),
        kind="kamailio",
        directory="/srv/api",
        env_file="/srv/api/env/app.env",
        services=("api-1", "api-2"),
        database_user="api",
        application_name="api:prod",
        redis_client_name="api",
    )
    assert app(envFile="/etc/api.env").env_file == "/etc/api.env"


def test_what_stands_beside_an_apps_steps_is_taken() -> None:
    command = "curl -fsS --max-time 2 http://127.0.0.1:800$REPLICA/health"
    fields = {"healthCommand": command, "drainSeconds": 5, "acceptRestart": True, "REDIS_TLS_CA_FILE": "/etc/ca.crt"}
    declared = parse(raw(apps={"api": fields})).declared
    assert {key: value for key, value in declared.attributes.items() if key.startswith("apps.api.")} == {
        "apps.api.DATABASE_SSL_CA_FILE": "/etc/ssl/internal/ca.crt",
        "apps.api.REDIS_TLS_CA_FILE": "/etc/ca.crt",
        "apps.api.acceptRestart": "true",
        "apps.api.drainSeconds": "5",
        "apps.api.healthCommand": command,
    }


BAD = [
    ("unknown server", {"uses": ["postgress"]}, "uses: postgress", "did you mean postgres?"),
    ("no server", {"uses": []}, "uses: ", "it is empty"),
    ("unknown kind", {"kind": "daemon"}, "kind: ", "one of service, kamailio"),
    ("kind is no switch", {"kind": True}, "kind: ", "one of service, kamailio"),
    ("relative directory", {"directory": "opt/api"}, "directory: ", "absolute, plain path"),
    ("directory with a blank", {"directory": "/opt/my api"}, "directory: ", "absolute, plain path"),
    ("directory with a variable", {"directory": "/opt/$APP"}, "directory: ", "absolute, plain path"),
    ("directory that climbs", {"directory": "/opt/../etc"}, "directory: ", "absolute, plain path"),
    ("env file that climbs", {"envFile": "../other/.env"}, "envFile: ", "plain path"),
    ("env file with a line break", {"envFile": ".env\nREVISION=9"}, "envFile: ", "plain path"),
    ("env file with a comma", {"envFile": "a,b"}, "envFile: ", "plain path"),
    ("no services", {"services": []}, "services: ", "it is empty"),
    ("service twice", {"services": ["a", "b", "a"]}, "services: ", "a is named twice"),
    ("service", {"services": ["a b"]}, "services: ", "'a b' is not the name of a compose service"),
    ("services is a text", {"services": "api"}, "services: ", "a list of names"),
    ("user", {"databaseUser": "a,b"}, "databaseUser: ", "a user's name"),
    ("application name", {"applicationName": "two words"}, "applicationName: ", "letters, digits"),
    ("client name", {"redisClientName": "a\nb"}, "redisClientName: ", "letters, digits"),
    ("health command of two lines", {"healthCommand": "true\nREVISION=9"}, "healthCommand: ", "one line of printable"),
    ("health command with a tab", {"healthCommand": "a\tb"}, "healthCommand: ", "one line of printable"),
    ("health command in another script", {"healthCommand": "curl ü"}, "healthCommand: ", "one line of printable"),
    ("drain", {"drainSeconds": 0}, "drainSeconds: ", "from 1 to 3600"),
    ("restart", {"acceptRestart": "perhaps"}, "acceptRestart: ", "one of false, true"),
    ("sslmode", {"DATABASE_SSL_MODE": "verify"}, "DATABASE_SSL_MODE: ", "one of disable, prefer"),
    ("switch", {"REDIS_TLS_ENABLED": "maybe"}, "REDIS_TLS_ENABLED: ", "one of false, true"),
    ("CA file", {"DATABASE_SSL_CA_FILE": "ca.crt"}, "DATABASE_SSL_CA_FILE: ", "absolute, plain path"),
    ("field", {"service": ["a"]}, "service: ", "did you mean services?"),
    (
        "sslmode without Postgres",
        {"uses": ["redis"], "DATABASE_SSL_MODE": "disable"},
        "DATABASE_SSL_MODE: ",
        "add postgres",
    ),
    (
        "CA file without Postgres",
        {"uses": ["redis"], "DATABASE_SSL_CA_FILE": "/c"},
        "DATABASE_SSL_CA_FILE: ",
        "add postgres",
    ),
    ("user without Postgres", {"uses": ["redis"], "databaseUser": "x"}, "databaseUser: ", "it uses redis"),
    ("switch without Redis", {"uses": ["postgres"], "REDIS_TLS_ENABLED": True}, "REDIS_TLS_ENABLED: ", "add redis"),
]


@pytest.mark.parametrize(("name", "fields", "key", "says"), BAD, ids=[row[0] for row in BAD])
def test_bad_field_of_an_app_is_refused_with_its_key(name: str, fields: dict[str, Any], key: str, says: str) -> None:
    found = problems(apps={"api": fields})
    assert any(problem.startswith(f"apps.api.{key}") and says in problem for problem in found), found


def together(**apps: dict[str, Any]) -> dict[str, Any]:
    """The change that puts api and web on one host."""
    return {"hosts": hosts(api1={"roles": ["api", "web"]}, web={"roles": ["otel"]}), "apps": apps}


NAMES = {"applicationName": "one", "redisClientName": "one"}
OTHER_NAMES = {"applicationName": "other", "redisClientName": "other"}


def test_two_apps_on_one_host_that_look_the_same_are_refused_with_both_keys() -> None:
    found = problems(**together())
    assert found == [
        "apps.api.applicationName: api and web reach the servers from the same address and share the user voiceai, so "
        "nothing tells them apart: not both are set; set apps.api.applicationName and apps.web.applicationName to two "
        "names",
        "apps.api.redisClientName: api and web reach the servers from the same address and share Redis, so nothing "
        "tells them apart: not both are set; set apps.api.redisClientName and apps.web.redisClientName to two names",
    ]


@pytest.mark.parametrize(
    ("api", "web", "refused"),
    [
        (NAMES, OTHER_NAMES, 0),
        (NAMES, {}, 2),
        (NAMES, NAMES, 2),
        ({**NAMES, "databaseUser": "api"}, {"redisClientName": "other"}, 0),
        ({"uses": ["redis"]}, {"uses": ["postgres"]}, 0),
    ],
)
def test_what_tells_two_apps_on_one_host_apart(api: dict[str, Any], web: dict[str, Any], refused: int) -> None:
    changes = together(api=api, web=web)
    if refused:
        assert len(problems(**changes)) == refused
    else:
        parse(raw(**changes))


def test_two_hosts_behind_one_address_are_one_to_the_servers() -> None:
    shared = {"clientAddresses": ["10.9.9.9"]}
    found = problems(hosts=hosts(api1=shared, web=shared))
    assert [problem.split(":")[0] for problem in found] == ["apps.api.applicationName", "apps.api.redisClientName"]


def test_one_service_belongs_to_one_app() -> None:
    own = {"directory": "/opt/all", "services": ["main"]}
    found = problems(**together(api={**NAMES, **own}, web={**OTHER_NAMES, **own}))
    assert found == ["apps.web.services: main in /opt/all is already apps.api.services; a service is one app's"]
    parse(raw(apps={"api": own, "web": own}))
