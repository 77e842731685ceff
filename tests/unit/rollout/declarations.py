"""Declarations for the tests of the pure core: a database host, one app on two hosts, one beside the collector."""

from dataclasses import replace
from typing import Any

from rollout.declared import CertificateSpec, Declared, HostSpec, Site, default_app
from rollout.steps import initial_attributes, initial_settings

NAMES = ("db.internal", "voiceai-pgbouncer", "voiceai-postgres", "voiceai-redis")
USES = {"api": ("postgres", "redis"), "web": ("postgres", "redis")}

NOTHING = Declared(
    settings=initial_settings(USES),
    attributes=initial_attributes(USES),
    certificate=CertificateSpec(names=NAMES, key_type="ecdsa-p256", days=397, request="0123456789abcdef"),
    site=Site(
        environment="test",
        dialed_names=("db.internal", "voiceai-postgres", "voiceai-pgbouncer", "voiceai-redis"),
        secrets_prefix="voiceai/test/",
        region="eu-west-1",
    ),
    hosts={
        "api1": HostSpec(roles=("api",), client_addresses=("10.0.0.21",)),
        "api2": HostSpec(roles=("api",), client_addresses=("10.0.0.22",)),
        "database": HostSpec(roles=("pgbouncer", "postgres", "redis"), client_addresses=("10.0.0.10",)),
        "web": HostSpec(roles=("otel", "web"), client_addresses=("10.0.0.30",)),
    },
    apps={"api": default_app("api"), "web": default_app("web")},
)
"""A deployment that knows nothing of us: every variable at its initial value."""

SHORT = {
    "prepared": "PREPARED",
    "gen": "CERTIFICATE_GENERATION",
    "pg": "POSTGRES_TLS_ENABLED",
    "leg2": "PGBOUNCER_SERVER_TLS_SSLMODE",
    "leg1": "PGBOUNCER_CLIENT_TLS_SSLMODE",
    "api": "apps.api.DATABASE_SSL_MODE",
    "web": "apps.web.DATABASE_SSL_MODE",
    "force": "POSTGRES_FORCE_SSL",
    "redis": "REDIS_TLS_ENABLED",
    "api_redis": "apps.api.REDIS_TLS_ENABLED",
    "web_redis": "apps.web.REDIS_TLS_ENABLED",
    "force_redis": "REDIS_FORCE_TLS",
}

PREPARED = {"prepared": "on"}
CERTIFICATES = {**PREPARED, "gen": "1"}
POSTGRES_OFFERS = {**CERTIFICATES, "pg": "on"}
SERVER_LEG = {**POSTGRES_OFFERS, "leg2": "verify-ca"}
CLIENT_LEG = {**SERVER_LEG, "leg1": "allow"}
APPS_FLIPPED = {**CLIENT_LEG, "api": "verify-full", "web": "verify-full"}
CLOSED = {**APPS_FLIPPED, "leg1": "require"}
FORCED = {**CLOSED, "force": "on"}
REDIS_OFFERS = {**CERTIFICATES, "redis": "true"}
REDIS_FLIPPED = {**REDIS_OFFERS, "api_redis": "true", "web_redis": "true"}
REDIS_CLOSED = {**REDIS_FLIPPED, "force_redis": "true"}


def settings(**short: str) -> dict[str, str]:
    """The initial settings with these values, by the names of `SHORT`."""
    return {**NOTHING.settings, **{SHORT[name]: value for name, value in short.items()}}


def declared(base: Declared = NOTHING, /, **short: str) -> Declared:
    """`base` with these values and all others initial."""
    return replace(base, settings=settings(**short))


def having(base: Declared, /, **attributes: str) -> Declared:
    """`base` with other attributes; `__` in a name is a dot (`apps__api__drainSeconds`)."""
    changed = {name.replace("__", "."): value for name, value in attributes.items()}
    assert changed.keys() <= base.attributes.keys()
    return replace(base, attributes={**base.attributes, **changed})


def with_name(base: Declared, name: str) -> Declared:
    """`base` with one more SAN asked for."""
    certificate = replace(base.certificate, names=(*base.certificate.names, name), request="fedcba9876543210")
    return replace(base, certificate=certificate)


def with_host(base: Declared, name: str, *roles: str, address: str = "10.0.0.99") -> Declared:
    """`base` with one host more, or another in its place."""
    host = HostSpec(roles=tuple(sorted(roles)), client_addresses=(address,))
    return replace(base, hosts={**base.hosts, name: host})


def without_host(base: Declared, name: str) -> Declared:
    """`base` with one host less; the apps stay."""
    return replace(base, hosts={key: host for key, host in base.hosts.items() if key != name})


def with_app(base: Declared, app: str, **values: Any) -> Declared:
    """`base` with one app more, on a host of its own; `values` are its variables."""
    grown = with_host(base, app, app)
    uses = {**{name: contract.uses for name, contract in base.apps.items()}, app: default_app(app).uses}
    own = {f"apps.{app}.{name}": value for name, value in values.items()}
    return replace(
        grown,
        apps={**base.apps, app: default_app(app)},
        settings={**initial_settings(uses), **base.settings, **own},
        attributes={**initial_attributes(uses), **base.attributes},
    )


def without_app(base: Declared, app: str, leaving: tuple[str, ...] = ()) -> Declared:
    """`base` with neither the app nor the hosts that ran only it."""

    def of_others(values: Any) -> dict[str, str]:
        return {key: value for key, value in values.items() if not key.startswith(f"apps.{app}.")}

    hosts = {
        name: replace(host, roles=tuple(role for role in host.roles if role != app))
        for name, host in base.hosts.items()
        if host.roles != (app,)
    }
    return replace(
        base,
        hosts=hosts,
        apps={name: contract for name, contract in base.apps.items() if name != app},
        settings=of_others(base.settings),
        attributes=of_others(base.attributes),
        leaving=leaving,
    )
