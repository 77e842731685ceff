"""An app's contract, read from config: what hosts need to know of it, its step variables and attributes.

Values go into settings text that hosts read line by line, so each must match a pattern that can't leave its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rollout.declared import USES, App, HostSpec, default_app
from rollout.reader import ABSOLUTE_PATH, PLAIN_PATH, Reader
from rollout.steps import APP, ATTRIBUTES, ENTRIES, FALSE_TRUE, VARIABLES, for_app

KINDS = ("service", "kamailio")
CONTRACT = (
    "uses",
    "kind",
    "directory",
    "envFile",
    "services",
    "databaseUser",
    "applicationName",
    "redisClientName",
)

_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SESSION_NAME = re.compile(r"[A-Za-z0-9_.:@/-]{1,63}")
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,1000}")
_OF_SERVER = {"databaseUser": "postgres", "applicationName": "postgres", "redisClientName": "redis"} | {
    entry.key.removeprefix(APP): entry.uses for entry in ENTRIES if entry.key.startswith(APP) and entry.uses
}
"""Keys of an app that mean nothing where it does not use this server."""

_KEYS = (*CONTRACT, *(entry.key.removeprefix(APP) for entry in ENTRIES if entry.key.startswith(APP)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Apps:
    """Every declared app's contract in the order of the rollout; their settings and attributes by config key."""

    contracts: Mapping[str, App]
    settings: Mapping[str, str]
    attributes: Mapping[str, str]


def read_apps(read: Reader, value: Any, names: tuple[str, ...], hosts: Mapping[str, HostSpec]) -> Apps:
    """The apps `names`, which run on `hosts`; problems go to `read`."""
    declared = read.mapping("apps", value)
    for app in declared.keys() - set(names):
        read.unknown("apps.", (app,), names, "app on any host")
    contracts: dict[str, App] = {}
    settings: dict[str, str] = {}
    attributes: dict[str, str] = {}
    for app in names:
        where = f"apps.{app}"
        fields = read.mapping(where, declared.get(app))
        read.unknown(f"{where}.", fields, _KEYS, "field of an app")
        contract = contracts[app] = _contract(read, app, fields)
        _nothing_of_other_servers(read, where, fields, contract)
        settings |= _variables(read, app, fields, contract)
        attributes |= _attributes(read, app, fields, contract)
    for problem in _alike(contracts, hosts):
        read.wrong(*problem)
    return Apps(contracts=contracts, settings=settings, attributes=attributes)


def _contract(read: Reader, app: str, fields: Mapping[str, Any]) -> App:
    where, default = f"apps.{app}", default_app(app)
    uses = read.words(f"{where}.uses", fields.get("uses")) if "uses" in fields else default.uses
    read.unknown(f"{where}.uses: ", uses, USES, "server")
    if not uses:
        read.wrong(f"{where}.uses", "it is empty; list postgres, redis or both, or leave it out for both")
    kind = read.choice(f"{where}.kind", fields.get("kind"), values=KINDS, default=default.kind)
    directory = read.text(
        f"{where}.directory",
        fields.get("directory"),
        pattern=ABSOLUTE_PATH,
        wanted="an absolute, plain path",
        default=default.directory,
    )
    env_file = read.text(
        f"{where}.envFile", fields.get("envFile"), pattern=PLAIN_PATH, wanted="a plain path", default=".env"
    )
    return App(
        uses=tuple(server for server in USES if server in uses),
        kind=kind,
        directory=directory,
        env_file=env_file if env_file.startswith("/") else f"{directory}/{env_file}",
        services=_services(read, where, fields, default),
        database_user=read.text(
            f"{where}.databaseUser",
            fields.get("databaseUser"),
            pattern=_SESSION_NAME,
            wanted="a user's name",
            default="voiceai" if "postgres" in uses else "",
        ),
        application_name=_session_name(read, f"{where}.applicationName", fields),
        redis_client_name=_session_name(read, f"{where}.redisClientName", fields),
    )


def _session_name(read: Reader, key: str, fields: Mapping[str, Any]) -> str:
    value = fields.get(key.rsplit(".", 1)[1])
    wanted = "a name of letters, digits and _ . : @ / - as the server shows it"
    return read.text(key, value, pattern=_SESSION_NAME, wanted=wanted, default="")


def _services(read: Reader, where: str, fields: Mapping[str, Any], default: App) -> tuple[str, ...]:
    if "services" not in fields:
        return default.services
    services = read.words(f"{where}.services", fields["services"])
    if not services:
        read.wrong(f"{where}.services", "it is empty; list the compose services that are the app's replicas")
    for service in services:
        if not _SERVICE.fullmatch(service):
            read.wrong(f"{where}.services", f"{service!r} is not the name of a compose service")
    for service in sorted({s for s in services if services.count(s) > 1}):
        read.wrong(f"{where}.services", f"{service} is named twice; name each replica once")
    return services


def _nothing_of_other_servers(read: Reader, where: str, fields: Mapping[str, Any], contract: App) -> None:
    for key, server in _OF_SERVER.items():
        if key in fields and server not in contract.uses:
            uses = ", ".join(contract.uses)
            read.wrong(
                f"{where}.{key}",
                f"the app does not use {server} (it uses {uses}); leave it out, or add {server} to {where}.uses",
            )


def _variables(read: Reader, app: str, fields: Mapping[str, Any], contract: App) -> dict[str, str]:
    return {
        key: read.choice(key, fields.get(name), values=variable.values, default=variable.initial)
        for variable in VARIABLES.values()
        if variable.uses in contract.uses
        for key, name in [(for_app(variable.key, app), variable.key.removeprefix(APP))]
    }


def _attributes(read: Reader, app: str, fields: Mapping[str, Any], contract: App) -> dict[str, str]:
    where = f"apps.{app}"
    files = {
        for_app(entry.key, app): read.text(
            for_app(entry.key, app),
            fields.get(entry.key.removeprefix(APP)),
            pattern=ABSOLUTE_PATH,
            wanted="an absolute, plain path",
            default=entry.initial,
        )
        for entry in ATTRIBUTES.values()
        if entry.uses in contract.uses
    }
    drain = read.count(f"{where}.drainSeconds", fields.get("drainSeconds"), allowed=range(1, 3601), default=30)
    return files | {
        f"{where}.acceptRestart": read.choice(
            f"{where}.acceptRestart", fields.get("acceptRestart"), values=FALSE_TRUE, default="false"
        ),
        f"{where}.drainSeconds": str(drain),
        f"{where}.healthCommand": read.text(
            f"{where}.healthCommand",
            fields.get("healthCommand"),
            pattern=_PRINTABLE,
            wanted="one line of printable ASCII",
            default="",
        ),
    }


def _alike(contracts: Mapping[str, App], hosts: Mapping[str, HostSpec]) -> Iterator[tuple[str, str]]:
    """Apps that share a host or an address and can't be told apart there, by a server or by compose."""
    for (one, a), (other, b) in combinations(contracts.items(), 2):
        if _addresses(one, hosts) & _addresses(other, hosts):
            if "postgres" in a.uses and "postgres" in b.uses and a.database_user == b.database_user:
                names = a.application_name, b.application_name
                yield from _same_name(one, other, "applicationName", names, f"the user {a.database_user}")
            if "redis" in a.uses and "redis" in b.uses:
                names = a.redis_client_name, b.redis_client_name
                yield from _same_name(one, other, "redisClientName", names, "Redis")
        together = any(one in host.roles and other in host.roles for host in hosts.values())
        shared = set(a.services) & set(b.services) if a.directory == b.directory else set()
        if together and shared:
            yield (
                f"apps.{other}.services",
                f"{', '.join(sorted(shared))} in {a.directory} is already apps.{one}.services; a service is one app's",
            )


def _same_name(one: str, other: str, key: str, names: tuple[str, str], share: str) -> Iterator[tuple[str, str]]:
    if all(names) and names[0] != names[1]:
        return
    so = f"both are {names[0]}" if all(names) else "not both are set"
    yield (
        f"apps.{one}.{key}",
        f"{one} and {other} reach the servers from the same address and share {share}, so nothing tells them apart: "
        f"{so}; set apps.{one}.{key} and apps.{other}.{key} to two names",
    )


def _addresses(app: str, hosts: Mapping[str, HostSpec]) -> set[str]:
    return {address for host in hosts.values() if app in host.roles for address in host.client_addresses}
