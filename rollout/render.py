"""What each host is told: the settings text of `host/update.sh`, one `KEY=VALUE` a line.

The text without its fingerprints and revision is the host's *content*: the ledger compares contents to know which
hosts a move touches. An app host is never told where the private key is, a server's host never the apps' modes: an
app's flip touches only the app's own hosts.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollout.declared import Declared
from rollout.steps import (
    APP,
    ENTRIES,
    GENERATION,
    ROLES,
    SERVER_ROLES,
    app_of,
    attribute_of,
    for_app,
)

# Names of variables, not values (hence the S105).
CA_SECRET = "INTERNAL_CA_CRT_B64"  # noqa: S105
CERTIFICATE_SECRET = "INTERNAL_TLS_CERT_B64"  # noqa: S105
KEY_SECRET = "INTERNAL_TLS_KEY_B64"  # noqa: S105


def host_content(declared: Declared, host: str) -> str:
    """The part of a host's settings that a move can change. `KeyError` where the inventory has no such host."""
    spec = declared.hosts[host]
    apps = tuple(app for app in declared.apps if app in spec.roles)
    roles = (*(role for role in ROLES if role in spec.roles), *(["app"] if apps else []))
    issued = declared.settings[GENERATION] != "0"
    lines = {
        "ENVIRONMENT": declared.site.environment,
        "ROLES": ",".join(roles),
        "CERTIFICATE_REQUEST": declared.certificate.request if issued else "",
        "DIALED_NAMES": ",".join(declared.site.dialed_names),
        "AWS_REGION": declared.site.region,
        "SECRET_CA": declared.site.secrets_prefix + CA_SECRET,
    }
    lines |= _shared_variables(declared, roles)
    if set(roles) & set(SERVER_ROLES):
        lines["SECRET_CERT"] = declared.site.secrets_prefix + CERTIFICATE_SECRET
        lines["SECRET_KEY"] = declared.site.secrets_prefix + KEY_SECRET
        lines |= _deployment(declared, host) | _clients(declared)
    if "pgbouncer" in roles:
        lines |= _filled(
            {"DATABASE_USERS": ",".join(sorted({app.database_user for app in declared.apps.values()} - {""}))}
        )
    if apps:
        lines["APPS"] = ",".join(apps)
    for app in apps:
        lines |= _app(declared, app)
    return "".join(f"{key}={value}\n" for key, value in sorted(lines.items()))


def _shared_variables(declared: Declared, roles: tuple[str, ...]) -> dict[str, str]:
    """The variables and attributes that are not an app's, of these roles."""
    values = {**declared.settings, **declared.attributes}
    return {
        entry.key: values[entry.key]
        for entry in ENTRIES
        if not entry.key.startswith(APP) and (not entry.roles or set(entry.roles) & set(roles))
    }


def _deployment(declared: Declared, host: str) -> dict[str, str]:
    deployment = declared.hosts[host].deployment
    if deployment is None:
        return {}
    return {
        "DEPLOYMENT_DIRECTORY": deployment.directory,
        "DEPLOYMENT_FILES": ",".join(deployment.files),
        **{f"SERVICE_{role.upper()}": service for role, service in deployment.services.items()},
    }


def _clients(declared: Declared) -> dict[str, str]:
    """Who connects to the servers, and by what its sessions are known there."""
    lines = {"CLIENTS": ",".join(declared.apps)}
    for app, contract in declared.apps.items():
        addresses = (a for host in declared.running(app) for a in declared.hosts[host].client_addresses)
        lines[f"clients.{app}.ADDRESSES"] = ",".join(dict.fromkeys(addresses))
        lines[f"clients.{app}.USES"] = ",".join(contract.uses)
        lines |= _session_names(declared, "clients", app)
    return _filled(lines)


def _app(declared: Declared, app: str) -> dict[str, str]:
    contract, where = declared.apps[app], f"apps.{app}"
    lines = {key: value for key, value in declared.settings.items() if app_of(key) == app}
    for key, value in declared.attributes.items():
        if app_of(key) == app:
            lines[for_app(attribute_of(key).text, app) or key] = value
    lines |= {
        f"{where}.USES": ",".join(contract.uses),
        f"{where}.KIND": contract.kind,
        f"{where}.DIRECTORY": contract.directory,
        f"{where}.ENV_FILE": contract.env_file,
        f"{where}.SERVICES": ",".join(contract.services),
    }
    return _filled(lines | _session_names(declared, "apps", app))


def _session_names(declared: Declared, where: str, app: str) -> dict[str, str]:
    contract = declared.apps[app]
    return {
        f"{where}.{app}.DATABASE_USER": contract.database_user,
        f"{where}.{app}.APPLICATION_NAME": contract.application_name,
        f"{where}.{app}.REDIS_CLIENT_NAME": contract.redis_client_name,
    }


def _filled(lines: Mapping[str, str]) -> dict[str, str]:
    """Without the empty ones."""
    return {key: value for key, value in lines.items() if value}


def host_settings(content: str, *, revision: str, certificate_sha256: str, ca_sha256: str) -> str:
    """The whole settings text. The fingerprints are lower-case hex SHA-256 of the DER, "" at generation 0."""
    return f"REVISION={revision}\n{content}CERTIFICATE_SHA256={certificate_sha256}\nCA_SHA256={ca_sha256}\n"


def touched_hosts(previous: Declared, following: Declared) -> tuple[str, ...]:
    """The hosts of `following` whose content differs from `previous`, new ones included, in its order."""
    return tuple(
        host
        for host in following.hosts
        if host not in previous.hosts or host_content(previous, host) != host_content(following, host)
    )


def generation(settings: Mapping[str, str]) -> int:
    """`CERTIFICATE_GENERATION` as a number; 0 means that no certificate is issued."""
    return int(settings[GENERATION])
