"""Reads one stack's config: every problem is collected with its key and raised together, before anything is touched.

`parse` takes what the engine hands over: config keys without their namespace, mapped to text (structured values as
JSON). It trusts nothing and returns frozen values that nobody has to check again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pki.names import NotAName, normalise
from pki.request import CertificateRequest, RequestError
from rollout.apps import read_apps
from rollout.declared import CertificateSpec, Declared, Site, in_order
from rollout.inventory import NAME, SERVICES, Host, read_further, read_hosts
from rollout.reader import ConfigError, Reader, decoded, shown
from rollout.steps import APP, ATTRIBUTES, ENTRIES, FALSE_TRUE, OFF_ON, VARIABLES, initial_attributes, initial_settings

KEYS = (
    *(entry.key for entry in ENTRIES if not entry.key.startswith(APP)),
    "environment",
    "protected",
    "databaseDns",
    "certificate",
    "secrets",
    "hosts",
    "apps",
    "furtherApps",
    "leaving",
    "sshPrivateKeyFile",
    "sshPrivateKey",
    "hostTimeoutSeconds",
)

PLAINTEXT_REDIS_PORT = "6379"

_PREFIX = re.compile(r"[A-Za-z0-9/_.@-]{0,400}")
"""Fewer characters than Secrets Manager allows: those that a host's settings may have."""
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_RECOVERY_DAYS = (0, *range(7, 31))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How every host is reached. `timeout_seconds` bounds one host's change.

    `private_key_file` is a path; `private_key` the key itself; where both are "" the SSH agent answers.
    """

    private_key_file: str
    private_key: str
    timeout_seconds: int

    def __repr__(self) -> str:
        return f"Ssh(private_key_file={self.private_key_file!r}, timeout_seconds={self.timeout_seconds})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsManager:
    """Where the three secrets are kept. `endpoint` "" means AWS itself; `recovery_days` 0 deletes at once."""

    prefix: str
    region: str
    endpoint: str
    kms_key_id: str
    recovery_days: int
    server_role_arns: tuple[str, ...]
    app_role_arns: tuple[str, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A stack's whole config, checked."""

    declared: Declared
    request: CertificateRequest
    hosts: tuple[Host, ...]
    ssh: Ssh
    secrets: SecretsManager


def parse(raw: Mapping[str, str]) -> Configuration:
    """The stack's config as frozen values; raises `ConfigError` with every problem found."""
    read = Reader()
    read.unknown("", raw, KEYS, "variable")
    values = {key: decoded(raw[key]) for key in raw if key in KEYS}
    further = read_further(read, values.get("furtherApps"))
    hosts, specs = read_hosts(read, values.get("hosts"), further)
    running = in_order((role for spec in specs.values() for role in spec.roles), further)
    apps = read_apps(read, values.get("apps"), running, specs)
    settings = {**_settings(read, values), **apps.settings}
    attributes = {**_attributes(read, values), **apps.attributes}
    leaving = _leaving(read, values.get("leaving"))
    environment = read.text(
        "environment", values.get("environment"), pattern=NAME, wanted="a name such as staging or production"
    )
    protected = read.choice("protected", values.get("protected"), values=FALSE_TRUE, default="false")
    dns = _dns(read, values.get("databaseDns"))
    secrets = _secrets(read, values, environment)
    request = _request(read, values, dns)
    ssh = Ssh(
        private_key_file=read.text(
            "sshPrivateKeyFile", values.get("sshPrivateKeyFile"), pattern=re.compile(r".+"), wanted="a path", default=""
        ),
        private_key=read.text(
            "sshPrivateKey",
            values.get("sshPrivateKey"),
            pattern=re.compile(r"-----BEGIN [\s\S]+"),
            wanted="a private key in PEM (set it with --secret)",
            default="",
            secret=True,
        ),
        timeout_seconds=read.count(
            "hostTimeoutSeconds", values.get("hostTimeoutSeconds"), allowed=range(30, 3601), default=300
        ),
    )
    if read.problems:
        raise ConfigError(tuple(read.problems))
    if request is None:  # _request reported why
        raise AssertionError("a missing request is always a problem")
    uses = {name: app.uses for name, app in apps.contracts.items()}
    declared = Declared(
        settings={key: settings[key] for key in initial_settings(uses)},
        attributes={key: attributes[key] for key in initial_attributes(uses)},
        certificate=CertificateSpec(
            names=request.names, key_type=request.key_type, days=request.days, request=request.digest()
        ),
        site=Site(
            environment=environment,
            dialed_names=(dns, *SERVICES),
            secrets_prefix=secrets.prefix,
            region=secrets.region,
            protected=protected == "true",
        ),
        hosts=specs,
        apps=apps.contracts,
        leaving=leaving,
    )
    return Configuration(declared=declared, request=request, hosts=hosts, ssh=ssh, secrets=secrets)


def _dns(read: Reader, value: Any) -> str:
    if not isinstance(value, str) or not value:
        read.wrong("databaseDns", "it is missing; set it to the Database instance's private DNS name, which apps dial")
        return ""
    try:
        return normalise(value)
    except NotAName as error:
        read.wrong("databaseDns", str(error))
        return ""


def _leaving(read: Reader, value: Any) -> tuple[str, ...]:
    names = read.words("leaving", value)
    for name in names:
        if not NAME.fullmatch(name):
            read.wrong("leaving", f"{shown(name)} is not the name of an app")
    return names


def _settings(read: Reader, values: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: read.choice(key, values.get(key), values=variable.values, default=variable.initial)
        for key, variable in VARIABLES.items()
        if not key.startswith(APP)
    }


def _attributes(read: Reader, values: Mapping[str, Any]) -> dict[str, str]:
    def count(key: str, allowed: range) -> str:
        return str(read.count(key, values.get(key), allowed=allowed, default=int(ATTRIBUTES[key].initial)))

    drain = ATTRIBUTES["DRAIN_STRAGGLERS"]
    port = count("REDIS_TLS_PORT", range(1, 65536))
    if port == PLAINTEXT_REDIS_PORT:
        read.wrong("REDIS_TLS_PORT", f"{port} is the plaintext listener's; set it to another port, such as 6380")
    return {
        "REDIS_TLS_PORT": port,
        "QUIET_MINUTES": count("QUIET_MINUTES", range(0, 7 * 24 * 60 + 1)),
        drain.key: read.choice(drain.key, values.get(drain.key), values=OFF_ON, default=drain.initial),
    }


def _secrets(read: Reader, values: Mapping[str, Any], environment: str) -> SecretsManager:
    fields = read.mapping("secrets", values.get("secrets"))
    known = (
        "prefix",
        "region",
        "endpoint",
        "kmsKeyId",
        "recoveryWindowDays",
        "serverRoleArns",
        "appRoleArns",
        "tags",
    )
    read.unknown("secrets.", fields, known, "field of secrets")
    arns = {key: read.words(f"secrets.{key}", fields.get(key)) for key in ("serverRoleArns", "appRoleArns")}
    for key, listed in arns.items():
        for arn in listed:
            if not _ARN.fullmatch(arn):
                read.wrong(f"secrets.{key}", f"{shown(arn)} is not an IAM role's ARN")
    tags = read.mapping("secrets.tags", fields.get("tags"))
    return SecretsManager(
        prefix=read.text(
            "secrets.prefix",
            fields.get("prefix"),
            pattern=_PREFIX,
            wanted="a secret name's beginning",
            default=f"voiceai/{environment}/",
        ),
        region=read.text("secrets.region", fields.get("region"), pattern=_REGION, wanted="an AWS region"),
        endpoint=read.text(
            "secrets.endpoint", fields.get("endpoint"), pattern=re.compile(r"https?://\S+"), wanted="a URL", default=""
        ),
        kms_key_id=read.text(
            "secrets.kmsKeyId",
            fields.get("kmsKeyId"),
            pattern=re.compile(r"[\w:/-]+"),
            wanted="a KMS key's id, ARN or alias",
            default="",
        ),
        recovery_days=read.count(
            "secrets.recoveryWindowDays", fields.get("recoveryWindowDays"), allowed=_RECOVERY_DAYS, default=30
        ),
        server_role_arns=arns["serverRoleArns"],
        app_role_arns=arns["appRoleArns"],
        tags={name: str(value) for name, value in tags.items()},
    )


def _request(read: Reader, values: Mapping[str, Any], dns: str) -> CertificateRequest | None:
    fields = read.mapping("certificate", values.get("certificate"))
    read.unknown("certificate.", fields, ("names", "keyType", "days"), "field of certificate")
    names = read.words("certificate.names", fields.get("names"))
    days = read.count("certificate.days", fields.get("days"), allowed=range(1, 826), default=397)
    try:
        return CertificateRequest(
            names=tuple(filter(None, (dns, *SERVICES, *names))),
            key_type=fields.get("keyType") or "ecdsa-p256",
            days=days,
        )
    except RequestError as error:
        for key, text in error.problems:
            read.wrong(f"certificate.{key}", text)
        return None
