"""What one version of the stack's config declares: the value that the rules compare and the ledger remembers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.steps import APP_ORDER, ROLES, initial_attributes, initial_settings

USES = ("postgres", "redis")
"""The servers that an app may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSpec:
    """What is asked of the server certificate. `days` is its lifetime; `request` the digest of all three."""

    names: tuple[str, ...]
    key_type: str
    days: int
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What hosts need to know besides the variables: plain attributes, never part of a step."""

    environment: str
    dialed_names: tuple[str, ...]
    secrets_prefix: str
    region: str
    protected: bool = False
    """Whether the policy pack asks more of it (docs/policy.md); no host is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What the hosts need to know of an app to flip it. `env_file` is absolute; `services` are its replicas.

    `database_user`, `application_name` and `redis_client_name` tell its sessions from others; "" is none.
    """

    uses: tuple[str, ...]
    kind: str
    directory: str
    env_file: str
    services: tuple[str, ...]
    database_user: str
    application_name: str
    redis_client_name: str

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data under the config's own keys."""
        return {
            "uses": list(self.uses),
            "kind": self.kind,
            "directory": self.directory,
            "envFile": self.env_file,
            "services": list(self.services),
            "databaseUser": self.database_user,
            "applicationName": self.application_name,
            "redisClientName": self.redis_client_name,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> App:
        """The inverse of `to_plain`."""
        return cls(
            uses=tuple(plain["uses"]),
            kind=plain["kind"],
            directory=plain["directory"],
            env_file=plain["envFile"],
            services=tuple(plain["services"]),
            database_user=plain["databaseUser"],
            application_name=plain["applicationName"],
            redis_client_name=plain["redisClientName"],
        )


def default_app(name: str) -> App:
    """The contract of an app that declares nothing. telpro is the seed's Kamailio, which knows Redis only."""
    kamailio = name == "telpro"
    return App(
        uses=("redis",) if kamailio else USES,
        kind="kamailio" if kamailio else "service",
        directory=f"/opt/{name}",
        env_file=f"/opt/{name}/.env",
        services=(name,),
        database_user="" if kamailio else "voiceai",
        application_name="",
        redis_client_name="",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where a host runs its servers, if not by our own compose.yaml. `services` maps its server roles to services."""

    directory: str
    files: tuple[str, ...]
    services: Mapping[str, str]

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data under the config's own keys."""
        return {"directory": self.directory, "files": list(self.files), "services": dict(self.services)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Deployment:
        """The inverse of `to_plain`."""
        return cls(directory=plain["directory"], files=tuple(plain["files"]), services=dict(plain["services"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """What a host runs. `roles` are sorted: server roles, `otel`, names of apps.

    `client_addresses` are those from which servers see its apps.
    """

    roles: tuple[str, ...]
    client_addresses: tuple[str, ...] = ()
    deployment: Deployment | None = None

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data under the config's own keys."""
        plain: dict[str, Any] = {"roles": list(self.roles), "clientAddresses": list(self.client_addresses)}
        return plain | ({"deployment": self.deployment.to_plain()} if self.deployment else {})

    @classmethod
    def from_plain(cls, plain: Any) -> HostSpec:
        """The inverse of `to_plain`; an older record holds the roles alone."""
        if not isinstance(plain, Mapping):
            return cls(roles=tuple(plain))
        deployment = plain.get("deployment")
        return cls(
            roles=tuple(plain["roles"]),
            client_addresses=tuple(plain["clientAddresses"]),
            deployment=Deployment.from_plain(deployment) if deployment else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Settings by config key (`apps.api.DATABASE_SSL_MODE` → `disable`), and what they are declared for."""

    settings: Mapping[str, str]
    """The step variables."""
    attributes: Mapping[str, str]
    """What stands beside the steps (`REDIS_TLS_PORT`, `apps.api.healthCommand`)."""
    certificate: CertificateSpec
    site: Site
    hosts: Mapping[str, HostSpec]
    apps: Mapping[str, App]
    """In the order in which they are flipped."""
    leaving: tuple[str, ...] = field(default=())
    """Apps that are said to be disconnected, so that they may leave the inventory."""

    def running(self, app: str) -> tuple[str, ...]:
        """The hosts that run the app, sorted."""
        return tuple(sorted(name for name, host in self.hosts.items() if app in host.roles))

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data, every leaf a string or a list of strings (the engine turns numbers into floats).

        Apps are a list, because the engine keeps no order of keys.
        """
        return {
            "settings": dict(self.settings),
            "attributes": dict(self.attributes),
            "certificate": {
                "names": list(self.certificate.names),
                "keyType": self.certificate.key_type,
                "days": str(self.certificate.days),
                "request": self.certificate.request,
            },
            "site": {
                "environment": self.site.environment,
                "dialedNames": list(self.site.dialed_names),
                "secretsPrefix": self.site.secrets_prefix,
                "region": self.site.region,
                "protected": "true" if self.site.protected else "false",
            },
            "hosts": {name: host.to_plain() for name, host in self.hosts.items()},
            "apps": [{"name": name, **app.to_plain()} for name, app in self.apps.items()],
            "leaving": list(self.leaving),
        }

    def as_kept(self) -> Declared:
        """As the ledger keeps it: what a record's declarations are compared with."""
        return Declared.from_plain(self.to_plain())

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Declared:
        """The inverse of `to_plain`. What an older version did not know stands at its initial value."""
        certificate, site = plain["certificate"], plain["site"]
        hosts = {name: HostSpec.from_plain(host) for name, host in sorted(plain["hosts"].items())}
        if "apps" in plain:
            apps = {app["name"]: App.from_plain(app) for app in plain["apps"]}
        else:
            apps = {
                name: default_app(name) for name in in_order(role for host in hosts.values() for role in host.roles)
            }
        uses = {name: app.uses for name, app in apps.items()}
        attributes = plain.get("attributes") or {}
        return cls(
            settings={key: plain["settings"].get(key, value) for key, value in initial_settings(uses).items()},
            attributes={key: attributes.get(key, value) for key, value in initial_attributes(uses).items()},
            certificate=CertificateSpec(
                names=tuple(certificate["names"]),
                key_type=certificate["keyType"],
                days=int(certificate["days"]),
                request=certificate["request"],
            ),
            site=Site(
                environment=site["environment"],
                dialed_names=tuple(site["dialedNames"]),
                secrets_prefix=site["secretsPrefix"],
                region=site["region"],
                protected=site.get("protected") == "true",
            ),
            hosts=hosts,
            apps=apps,
            leaving=tuple(plain.get("leaving") or ()),
        )


def in_order(roles: Iterable[str], further: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The apps among `roles` in the order in which they are flipped: the seed's, then further ones as declared."""
    apps = {role for role in roles if role not in ROLES}
    known = [app for app in (*APP_ORDER, *further) if app in apps]
    return tuple(dict.fromkeys((*known, *sorted(apps))))
