"""Config in, frozen values or every problem out. Each bad input is refused with its key."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.config import KEYS, parse
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
            "apps": {"address": "10.0.0.2", "hostKey": HOST_KEY, "user": "admin", "roles": ["api", "web"]},
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


def test_a_good_config_becomes_frozen_values() -> None:
    config = parse(raw())
    assert config.declared.settings["POSTGRES_TLS_ENABLED"] == "off"
    assert config.declared.hosts == {"apps": ("api", "web"), "database": ("pgbouncer", "postgres", "redis")}
    assert config.request.names == ("db.internal", "voiceai-pgbouncer", "voiceai-postgres", "voiceai-redis")
    assert config.secrets.prefix == "voiceai/test/"
    assert [host.sudo for host in config.hosts] == ["sudo -n ", ""]


@pytest.mark.parametrize("spelling", ["on", "true", "On", "TRUE"])
def test_on_and_true_mean_the_same(spelling: str) -> None:
    settings = parse(raw(CERTIFICATE_GENERATION="1", POSTGRES_TLS_ENABLED=spelling)).declared.settings
    assert settings["POSTGRES_TLS_ENABLED"] == "on"


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
    ("app in roles", {"hosts": hosts(apps={"roles": ["apii"]})}, "hosts.apps.roles: apii", "did you mean api?"),
    ("variable of an app", {"apps": {"api": {"DATABASE_SSL": "x"}}}, "apps.api.DATABASE_SSL: ", "DATABASE_SSL_MODE?"),
    ("later step", {"PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}, "PGBOUNCER_CLIENT_TLS_SSLMODE: ", "step 4 of 7"),
    (
        "later step of an app",
        {"apps": {"api": {"DATABASE_SSL_MODE": "verify-full"}}},
        "apps.api.DATABASE_SSL_MODE: ",
        "step 5 of 7",
    ),
    ("no hosts", {"hosts": None}, "hosts: ", "there is no host"),
    ("no host key", {"hosts": hosts(database={"hostKey": None})}, "hosts.database.hostKey: ", "ssh-keyscan"),
    ("host key", {"hosts": hosts(database={"hostKey": "abc"})}, "hosts.database.hostKey: ", "'abc' is not the host's"),
    ("no address", {"hosts": hosts(database={"address": None})}, "hosts.database.address: ", "it is missing"),
    ("port", {"hosts": hosts(database={"port": 70000})}, "hosts.database.port: ", "from 1 to 65535"),
    ("two databases", {"hosts": hosts(apps={"roles": ["postgres"]})}, "hosts: ", "exactly one host runs it"),
    ("no redis", {"hosts": hosts(database={"roles": ["postgres", "pgbouncer"]})}, "hosts: ", "the role redis"),
    ("host name", {"hosts": hosts(**{"My Host": {"roles": ["web"]}})}, "hosts.My Host: ", "lower-case letters"),
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


def test_a_later_step_at_its_initial_value_is_accepted() -> None:
    config = parse(raw(PGBOUNCER_CLIENT_TLS_SSLMODE="disable", apps={"api": {"DATABASE_SSL_MODE": "disable"}}))
    assert "PGBOUNCER_CLIENT_TLS_SSLMODE" not in config.declared.settings


def test_a_further_app_is_known_once_declared() -> None:
    config = parse(raw(furtherApps=["worker"], hosts=hosts(apps={"roles": ["worker"]})))
    assert config.declared.hosts["apps"] == ("worker",)


def test_the_project_file_describes_exactly_the_known_keys() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert set(project["config"]) == set(KEYS) - {"PGBOUNCER_CLIENT_TLS_SSLMODE", "POSTGRES_FORCE_SSL"}
    assert all(entry["description"] for entry in project["config"].values())


def test_the_example_environment_is_a_good_config() -> None:
    example = yaml.safe_load((ROOT / "Pulumi.staging.yaml").read_text(encoding="utf-8"))["config"]
    config = parse(
        {
            key.removeprefix("internal-tls:"): value if isinstance(value, str) else json.dumps(value)
            for key, value in example.items()
        }
    )
    assert set(config.declared.settings.values()) == {"0", "off", "disable"}
