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
from rollout.declared import CertificateSpec, Declared, Site
from rollout.reader import ConfigError, Reader, decoded, shown, whole
from rollout.steps import APP_ORDER, SERVER_ROLES, SWITCH, TRACKS, Step, initial_settings, offered_steps

SERVICES = ("voiceai-postgres", "voiceai-pgbouncer", "voiceai-redis")
"""Compose service names of the three servers: what containers dial."""

STEP_KEYS = tuple(dict.fromkeys(step.key for step in TRACKS["postgres"] if "<app>" not in step.key))
KEYS = (
    *STEP_KEYS,
    "environment",
    "databaseDns",
    "certificate",
    "secrets",
    "hosts",
    "apps",
    "furtherApps",
    "sshPrivateKeyFile",
    "sshPrivateKey",
    "hostTimeoutSeconds",
)

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_HOST_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/=]{40,}( .*)?")
_PREFIX = re.compile(r"[A-Za-z0-9/_+=.@-]{0,400}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_WORDS = {"on": "on", "true": "on", "off": "off", "false": "off"}
_RECOVERY_DAYS = (0, *range(7, 31))


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """How to reach a host. `host_key` is the one public key that is accepted from it."""

    name: str
    address: str
    port: int
    user: str
    host_key: str
    roles: tuple[str, ...]

    @property
    def sudo(self) -> str:
        """What a command is prefixed with; "" for root."""
        return "" if self.user == "root" else "sudo -n "


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
    settings = _settings(read, values)
    hosts, apps = _hosts(read, values)
    _apps(read, values, apps)
    environment = read.text(
        "environment", values.get("environment"), pattern=_NAME, wanted="a name such as staging or production"
    )
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
    declared = Declared(
        settings=settings,
        certificate=CertificateSpec(
            names=request.names, key_type=request.key_type, days=request.days, request=request.digest()
        ),
        site=Site(
            environment=environment,
            dialed_names=(dns, *SERVICES),
            secrets_prefix=secrets.prefix,
            region=secrets.region,
        ),
        hosts={host.name: host.roles for host in hosts},
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


def _settings(read: Reader, values: Mapping[str, Any]) -> dict[str, str]:
    settings = initial_settings()
    offered = {step.key: step for step in offered_steps()}
    for number, step in enumerate(TRACKS["postgres"], start=1):
        value = values.get(step.key)
        if value is None or "<app>" in step.key:
            continue
        spoken = _spoken(step, value)
        if spoken is None:
            wanted = "a whole number from 0 on" if not step.values else "one of " + ", ".join(step.values)
            read.wrong(step.key, f"{shown(value)} is not {wanted}")
        elif step.key in offered:
            settings[step.key] = spoken
        elif spoken != step.initial:
            _not_offered(read, step.key, spoken, number)
            break
    return settings


def _not_offered(read: Reader, key: str, value: str, number: int) -> None:
    last = max(n for n, step in enumerate(TRACKS["postgres"], start=1) if step.offered)
    read.wrong(
        key,
        f"{value} is step {number} of {len(TRACKS['postgres'])} on the postgres track, and this version applies the "
        f"steps up to {last}; leave it out for now",
    )


def _spoken(step: Step, value: Any) -> str | None:
    """The value in the step's own words, None where it is none of them. YAML's `on`, `true` and the texts agree."""
    if not step.values:
        number = whole(value)
        return str(number) if number is not None and number >= 0 else None
    word = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    if not isinstance(word, str):
        return None
    word = word.lower()
    if step.values == SWITCH:
        word = _WORDS.get(word, word)
    return word if word in step.values else None


def _hosts(read: Reader, values: Mapping[str, Any]) -> tuple[tuple[Host, ...], set[str]]:
    further = read.words("furtherApps", values.get("furtherApps"))
    known_roles = {*SERVER_ROLES, *APP_ORDER, *further}
    declared = read.mapping("hosts", values.get("hosts"))
    if not declared:
        read.wrong("hosts", "there is no host; declare at least the database host with its roles")
    hosts = [_host(read, name, declared[name], known_roles) for name in sorted(declared)]
    for role in SERVER_ROLES if declared else ():
        runs = [host.name for host in hosts if role in host.roles]
        if len(runs) != 1:
            so = "no host has" if not runs else f"{' and '.join(runs)} have"
            read.wrong("hosts", f"{so} the role {role}; exactly one host runs it")
    return tuple(hosts), {role for host in hosts for role in host.roles} - set(SERVER_ROLES)


def _host(read: Reader, name: str, value: Any, known_roles: set[str]) -> Host:
    where = f"hosts.{name}"
    if not _NAME.fullmatch(name):
        read.wrong(where, "a host's name is lower-case letters, digits and hyphens")
    fields = read.mapping(where, value)
    read.unknown(f"{where}.", fields, ("address", "port", "user", "hostKey", "roles"), "field of a host")
    roles = read.words(f"{where}.roles", fields.get("roles"))
    if not roles:
        read.wrong(f"{where}.roles", "it is missing; list what the host runs: postgres, pgbouncer, redis, or apps")
    read.unknown(f"{where}.roles: ", roles, known_roles, "server or app (further apps go into furtherApps)")
    return Host(
        name=name,
        address=read.text(
            f"{where}.address", fields.get("address"), pattern=_ADDRESS, wanted="a name or an IP address"
        ),
        port=read.count(f"{where}.port", fields.get("port"), allowed=range(1, 65536), default=22),
        user=read.text(
            f"{where}.user",
            fields.get("user"),
            pattern=re.compile(r"[a-z_][a-z0-9_-]{0,31}"),
            wanted="a user name",
            default="root",
        ),
        host_key=read.text(
            f"{where}.hostKey",
            fields.get("hostKey"),
            pattern=_HOST_KEY,
            wanted="the host's public key, as `ssh-keyscan -t ed25519 ADDRESS` prints it after the address",
        ),
        roles=tuple(sorted(set(roles))),
    )


def _apps(read: Reader, values: Mapping[str, Any], running: set[str]) -> None:
    apps = read.mapping("apps", values.get("apps"))
    read.unknown("apps.", apps, running, "app on any host")
    for number, step in enumerate(TRACKS["postgres"], start=1):
        variable = step.key.removeprefix("apps.<app>.")
        if variable == step.key:
            continue
        for app in sorted(running & apps.keys()):
            fields = read.mapping(f"apps.{app}", apps[app])
            read.unknown(f"apps.{app}.", fields, (variable,), "variable of an app")
            if variable not in fields:
                continue
            spoken = _spoken(step, fields[variable])
            if spoken is None:
                read.wrong(
                    f"apps.{app}.{variable}", f"{shown(fields[variable])} is not one of {', '.join(step.values)}"
                )
            elif spoken != step.initial:
                _not_offered(read, f"apps.{app}.{variable}", spoken, number)


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
