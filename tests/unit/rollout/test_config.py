"""Config in, frozen values or every problem out. Each bad input is refused with its key."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.config import KEYS, parse
from rollout.declared import Deployment, default_app
from rollout.reader import ConfigError

ROOT = Path(__file__).resolve().parents[3]
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKp4cbBxcSvmx8Q0SNKDG9ZS3JzSJyV4sJZ7S7cQh1mN"


def raw(**changes: Any) -> dict[str, str]:
    """A good config as the engine hands it over; a change to None leaves the key out."""
    values: dict[str, Any] = {
        "environment": "test",
        "databaseDns": "db.internal",
        "secrets": {"region": "eu-west-1"},
        "hosts": {
            "database": {"address": "10.0.0.1", "hostKey": HOST_KEY, "roles": ["postgres", "pgbouncer", "redis"]},
            "api1": {"address": "10.0.0.2", "hostKey": HOST_KEY, "user": "admin", "roles": ["api"]},
            "web": {"address": "10.0.0.3", "hostKey": HOST_KEY, "roles": ["web", "otel"]},
        },
    }
    values |= changes
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in values.items()
        if value is not None
    }


def problems(**changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(raw(**changes))
    return [str(problem) for problem in error.value.problems]


def hosts(**changes: Any) -> dict[str, Any]:
    declared: dict[str, Any] = json.loads(raw()["hosts"])
    for name, fields in changes.items():
        declared[name] = {**declared.get(name, {}), **fields}
    return declared


DEPLOYMENT = "hosts.database.deployment"


def deployment(**fields: Any) -> dict[str, Any]:
    """The change that gives the database host a deployment of its own."""
    return {"hosts": hosts(database={"deployment": {"directory": "/srv/db", **fields}})}


def test_a_good_config_becomes_frozen_values() -> None:
    config = parse(raw())
    assert config.declared.settings["POSTGRES_TLS_ENABLED"] == "off"
    assert {name: host.roles for name, host in config.declared.hosts.items()} == {
        "api1": ("api",),
        "database": ("pgbouncer", "postgres", "redis"),
        "web": ("otel", "web"),
    }
    assert dict(config.declared.apps) == {"api": default_app("api"), "web": default_app("web")}
    assert config.request.names == ("db.internal", "voiceai-pgbouncer", "voiceai-postgres", "voiceai-redis")
    assert config.secrets.prefix == "voiceai/test/"
    assert [host.sudo for host in config.hosts] == ["sudo -n ", "", ""]


# what is written, as the engine hands it over; the table's word of an off/on and of a false/true variable
SPELLINGS = [
    ("on", "on", "true"),
    ("On", "on", "true"),
    ("true", "on", "true"),
    ("TRUE", "on", "true"),
    ("off", "off", "false"),
    ("False", "off", "false"),
]


@pytest.mark.parametrize(("spelling", "off_on", "false_true"), SPELLINGS)
def test_on_and_true_mean_the_same_and_become_the_tables_word(spelling: str, off_on: str, false_true: str) -> None:
    switched = dict.fromkeys(("POSTGRES_TLS_ENABLED", "REDIS_TLS_ENABLED", "DRAIN_STRAGGLERS", "PREPARED"), spelling)
    declared = parse(raw(**switched)).declared
    assert declared.settings["PREPARED"] == declared.settings["POSTGRES_TLS_ENABLED"] == off_on
    assert declared.settings["REDIS_TLS_ENABLED"] == false_true
    assert declared.attributes["DRAIN_STRAGGLERS"] == off_on


@pytest.mark.parametrize("written", [True, "true", "on", "ON"])
def test_a_switch_of_an_app_is_understood_as_yaml_or_as_text(written: object) -> None:
    declared = parse(raw(apps={"web": {"REDIS_TLS_ENABLED": written, "acceptRestart": written}})).declared
    assert declared.settings["apps.web.REDIS_TLS_ENABLED"] == "true"
    assert declared.attributes["apps.web.acceptRestart"] == "true"


@pytest.mark.parametrize(
    ("written", "protected"), [(None, False), (False, False), ("off", False), (True, True), ("on", True)]
)
def test_an_environment_may_be_marked_protected(written: object, protected: bool) -> None:
    assert parse(raw(protected=written)).declared.site.protected is protected


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca", "verify-full"])
def test_every_sslmode_is_understood(mode: str) -> None:
    assert parse(raw(PGBOUNCER_SERVER_TLS_SSLMODE=mode)).declared.settings["PGBOUNCER_SERVER_TLS_SSLMODE"] == mode


BAD = [
    ("unknown variable", {"POSTGRES_TLS_ENABLE": "on"}, "POSTGRES_TLS_ENABLE: ", "did you mean POSTGRES_TLS_ENABLED?"),
    (
        "neither on nor off",
        {"POSTGRES_TLS_ENABLED": "maybe"},
        "POSTGRES_TLS_ENABLED: ",
        "'maybe' is not one of off, on",
    ),
    ("no sslmode", {"PGBOUNCER_SERVER_TLS_SSLMODE": "verify"}, "PGBOUNCER_SERVER_TLS_SSLMODE: ", "one of disable,"),
    ("negative generation", {"CERTIFICATE_GENERATION": "-1"}, "CERTIFICATE_GENERATION: ", "whole number from 0"),
    ("no database DNS", {"databaseDns": None}, "databaseDns: ", "it is missing"),
    ("database DNS is no name", {"databaseDns": "db internal"}, "databaseDns: ", "neither a DNS name nor an IP"),
    ("SAN is no name", {"certificate": {"names": ["-bad-"]}}, "certificate.names: ", "'-bad-' is neither a DNS name"),
    ("key type", {"certificate": {"keyType": "dsa"}}, "certificate.keyType: ", "one of ecdsa-p256"),
    ("days", {"certificate": {"days": 9999}}, "certificate.days: ", "from 1 to 825"),
    ("certificate field", {"certificate": {"name": ["x"]}}, "certificate.name: ", "did you mean names?"),
    ("app in apps", {"apps": {"apii": {}}}, "apps.apii: ", "did you mean api?"),
    ("app in roles", {"hosts": hosts(api1={"roles": ["apii"]})}, "hosts.api1.roles: apii", "did you mean api?"),
    ("variable of an app", {"apps": {"api": {"DATABASE_SSL": "x"}}}, "apps.api.DATABASE_SSL: ", "DATABASE_SSL_MODE?"),
    ("no hosts", {"hosts": None}, "hosts: ", "there is no host"),
    ("no host key", {"hosts": hosts(database={"hostKey": None})}, "hosts.database.hostKey: ", "ssh-keyscan"),
    ("host key", {"hosts": hosts(database={"hostKey": "abc"})}, "hosts.database.hostKey: ", "'abc' is not the host's"),
    ("no address", {"hosts": hosts(database={"address": None})}, "hosts.database.address: ", "it is missing"),
    ("port", {"hosts": hosts(database={"port": 70000})}, "hosts.database.port: ", "from 1 to 65535"),
    ("two databases", {"hosts": hosts(web={"roles": ["postgres"]})}, "hosts: ", "exactly one host runs it"),
    ("no redis", {"hosts": hosts(database={"roles": ["postgres", "pgbouncer"]})}, "hosts: ", "the role redis"),
    (
        "a collector and no redis",
        {"hosts": hosts(database={"roles": ["postgres", "pgbouncer"]})},
        "hosts.web.roles: ",
        "otel scrapes Redis",
    ),
    ("app on no host", {"apps": {"voice": {}}}, "apps.voice: ", "no such app on any host"),
    ("further app on no host", {"furtherApps": ["worker"]}, "furtherApps: ", "worker runs on no host"),
    ("further app named like a role", {"furtherApps": ["otel"]}, "furtherApps: ", "'otel' can't be an app's name"),
    ("further app with a dot", {"furtherApps": ["a.b"]}, "furtherApps: ", "'a.b' can't be an app's name"),
    ("leaving", {"leaving": ["a b"]}, "leaving: ", "not the name of an app"),
    ("port of Redis", {"REDIS_TLS_PORT": "70000"}, "REDIS_TLS_PORT: ", "from 1 to 65535"),
    ("the plaintext port", {"REDIS_TLS_PORT": "6379"}, "REDIS_TLS_PORT: ", "6379 is the plaintext listener's"),
    ("quiet minutes", {"QUIET_MINUTES": "soon"}, "QUIET_MINUTES: ", "from 0 to 10080"),
    ("draining", {"DRAIN_STRAGGLERS": "maybe"}, "DRAIN_STRAGGLERS: ", "one of off, on"),
    ("client leg", {"PGBOUNCER_CLIENT_TLS_SSLMODE": "verify-full"}, "PGBOUNCER_CLIENT_TLS_SSLMODE: ", "allow, prefer"),
    (
        "client address",
        {"hosts": hosts(web={"clientAddresses": ["10.0.0.1,10.0.0.2"]})},
        "hosts.web.clientAddresses: ",
        "not a name or an IP",
    ),
    ("host field", {"hosts": hosts(web={"adress": "x"})}, "hosts.web.adress: ", "did you mean address?"),
    ("deployment of apps", {"hosts": hosts(web={"deployment": {}})}, "hosts.web.deployment: ", "runs none of"),
    ("deployment directory", deployment(directory="srv/db"), f"{DEPLOYMENT}.directory: ", "absolute, plain path"),
    ("no deployment directory", deployment(directory=None), f"{DEPLOYMENT}.directory: ", "it is missing"),
    ("deployment file", deployment(files=["a b.yaml"]), f"{DEPLOYMENT}.files: ", "'a b.yaml' is not a plain path"),
    ("deployment file above", deployment(files=["../x"]), f"{DEPLOYMENT}.files: ", "'../x' is not a plain path"),
    ("deployment field", deployment(service={}), f"{DEPLOYMENT}.service: ", "did you mean services?"),
    ("deployment role", deployment(services={"pgbounce": "x"}), f"{DEPLOYMENT}.services.pgbounce: ", "mean pgbouncer?"),
    ("deployment service", deployment(services={"redis": "a,b"}), f"{DEPLOYMENT}.services.redis: ", "compose service"),
    ("host name", {"hosts": hosts(**{"My Host": {"roles": ["web"]}})}, "hosts.My Host: ", "lower-case letters"),
    ("neither protected nor not", {"protected": "maybe"}, "protected: ", "one of false, true"),
    ("no region", {"secrets": {}}, "secrets.region: ", "it is missing"),
    (
        "recovery",
        {"secrets": {"region": "eu-west-1", "recoveryWindowDays": 3}},
        "secrets.recoveryWindowDays: ",
        "of 0,",
    ),
    ("role", {"secrets": {"region": "eu-west-1", "appRoleArns": ["me"]}}, "secrets.appRoleArns: ", "IAM role's ARN"),
    ("hosts is a list", {"hosts": ["a"]}, "hosts: ", "a map of names"),
    ("environment", {"environment": "My Env"}, "environment: ", "a name such as staging"),
    ("timeout", {"hostTimeoutSeconds": "5"}, "hostTimeoutSeconds: ", "from 30 to 3600"),
]


@pytest.mark.parametrize(("name", "changes", "key", "says"), BAD, ids=[row[0] for row in BAD])
def test_bad_input_is_refused_with_its_key(name: str, changes: dict[str, Any], key: str, says: str) -> None:
    found = problems(**changes)
    assert any(problem.startswith(key) and says in problem for problem in found), found


def test_every_problem_is_told_at_once() -> None:
    found = problems(
        databaseDns=None, POSTGRES_TLS_ENABLED="maybe", secrets={}, certificate={"names": ["-"], "days": 0}
    )
    keys = {problem.split(":")[0] for problem in found}
    assert keys == {"databaseDns", "POSTGRES_TLS_ENABLED", "secrets.region", "certificate.names", "certificate.days"}


def test_a_wrong_ssh_key_is_never_shown() -> None:
    (found,) = problems(sshPrivateKey="SECRET-BYTES-NOT-A-KEY")
    assert found.startswith("sshPrivateKey: ")
    assert "SECRET" not in found


def test_no_repr_shows_the_ssh_key() -> None:
    config = parse(raw(sshPrivateKey="-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET\n"))
    assert "SECRET" not in repr(config)


def test_what_is_not_set_stands_at_its_default() -> None:
    declared = parse(raw()).declared
    assert set(declared.settings.values()) == {"off", "0", "disable", "false"}
    assert declared.attributes["REDIS_TLS_PORT"] == "6380"
    assert declared.attributes["QUIET_MINUTES"] == "60"
    assert declared.hosts["web"].client_addresses == ("10.0.0.3",)
    assert declared.leaving == ()


def test_further_apps_come_after_the_seeds_in_the_order_declared() -> None:
    more = {
        name: {"address": f"10.0.1.{number}", "hostKey": HOST_KEY, "roles": [name]}
        for number, name in enumerate(("batch", "worker", "telpro", "ops"))
    }
    config = parse(raw(furtherApps=["worker", "batch"], hosts=hosts(**more)))
    assert list(config.declared.apps) == ["api", "web", "ops", "telpro", "worker", "batch"]
    assert [key for key in config.declared.settings if key.endswith(".DATABASE_SSL_MODE")] == [
        f"apps.{app}.DATABASE_SSL_MODE" for app in ("api", "web", "ops", "worker", "batch")
    ]


def test_a_deployment_takes_the_seeds_service_names_where_it_names_none() -> None:
    found = parse(raw(**deployment(services={"postgres": "db"}))).declared.hosts["database"].deployment
    assert found == Deployment(
        directory="/srv/db",
        files=("compose.yaml",),
        services={"postgres": "db", "pgbouncer": "voiceai-pgbouncer", "redis": "voiceai-redis"},
    )


def test_client_addresses_may_be_others_than_the_address() -> None:
    found = parse(raw(hosts=hosts(web={"clientAddresses": ["10.9.9.1", "web.internal", "fd00::1"]}))).declared
    assert found.hosts["web"].client_addresses == ("10.9.9.1", "web.internal", "fd00::1")


def test_the_project_file_describes_exactly_the_known_keys() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert set(project["config"]) == set(KEYS)
    assert all(entry["description"] for entry in project["config"].values())


def test_the_example_environment_is_a_good_config() -> None:
    example = yaml.safe_load((ROOT / "Pulumi.staging.yaml").read_text(encoding="utf-8"))["config"]
    config = parse(
        {
            key.removeprefix("internal-tls:"): value if isinstance(value, str) else json.dumps(value)
            for key, value in example.items()
        }
    )
    declared = config.declared
    assert set(declared.settings.values()) == {"0", "off", "disable", "false"}
    assert list(declared.apps) == ["api", "web", "voice", "ops", "telpro", "worker"]
    # A rollout is a one-line diff: every variable is there to be changed, and `pulumi config set`, which quotes what
    # YAML takes for a number or a boolean, changes no other line.
    written = set(example) | {
        f"internal-tls:apps.{app}.{name}" for app, fields in example["internal-tls:apps"].items() for name in fields
    }
    assert {f"internal-tls:{key}" for key in declared.settings} <= written
    text = (ROOT / "Pulumi.staging.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^  internal-tls:\w+: (?:\d+|true|false)\b.*$", text, re.MULTILINE) == []
