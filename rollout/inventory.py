"""The hosts, read from config: how each is reached, what runs there, and where a foreign deployment is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.declared import Deployment, HostSpec
from rollout.reader import ABSOLUTE_PATH, PLAIN_PATH, Reader
from rollout.steps import APP_ORDER, ROLES, SERVER_ROLES

SERVICES = ("voiceai-postgres", "voiceai-pgbouncer", "voiceai-redis")
"""Compose service names of the three servers in our own compose.yaml, as `SERVER_ROLES`: what containers dial."""

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
HOST_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/=]{40,}( .*)?")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_RESERVED = {*ROLES, "app"}
_FIELDS = ("address", "port", "user", "hostKey", "roles", "clientAddresses", "deployment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """How to reach a host. `host_key` is the one public key that is accepted from it."""

    name: str
    address: str
    port: int
    user: str
    host_key: str

    @property
    def sudo(self) -> str:
        """What a command is prefixed with; "" for root."""
        return "" if self.user == "root" else "sudo -n "


def read_further(read: Reader, value: Any) -> tuple[str, ...]:
    """The names of `furtherApps`; problems go to `read`."""
    further = read.words("furtherApps", value)
    for app in further:
        if app in _RESERVED or not NAME.fullmatch(app):
            read.wrong("furtherApps", f"{app!r} can't be an app's name: lower-case letters, digits, hyphens, no role's")
    return tuple(app for app in further if app not in _RESERVED)


def read_hosts(read: Reader, value: Any, further: tuple[str, ...]) -> tuple[tuple[Host, ...], dict[str, HostSpec]]:
    """How hosts are reached, and what each runs, by name; problems go to `read`."""
    known_roles = {*ROLES, *APP_ORDER, *further}
    declared = read.mapping("hosts", value)
    if not declared:
        read.wrong("hosts", "there is no host; declare at least the database host with its roles")
    hosts = []
    specs = {}
    for name in sorted(declared):
        where = f"hosts.{name}"
        if not NAME.fullmatch(name):
            read.wrong(where, "a host's name is lower-case letters, digits and hyphens")
        fields = read.mapping(where, declared[name])
        read.unknown(f"{where}.", fields, _FIELDS, "field of a host")
        host = _host(read, name, fields)
        hosts.append(host)
        specs[name] = _spec(read, where, fields, known_roles, host.address)
    if declared:
        _each_server_once(read, specs)
        running = {role for spec in specs.values() for role in spec.roles}
        for app in further:
            if app not in running:
                read.wrong("furtherApps", f"{app} runs on no host; add it to a host's roles, or leave it out")
    return tuple(hosts), specs


def _each_server_once(read: Reader, specs: Mapping[str, HostSpec]) -> None:
    for role in SERVER_ROLES:
        runs = [name for name, spec in specs.items() if role in spec.roles]
        if len(runs) == 1:
            continue
        so = "no host has" if not runs else f"{' and '.join(runs)} have"
        read.wrong("hosts", f"{so} the role {role}; exactly one host runs it")
        if role == "redis" and not runs:
            for name in (name for name, spec in specs.items() if "otel" in spec.roles):
                read.wrong(f"hosts.{name}.roles", "otel scrapes Redis, and no host has the role redis")


def _host(read: Reader, name: str, fields: Mapping[str, Any]) -> Host:
    where = f"hosts.{name}"
    return Host(
        name=name,
        address=read.text(
            f"{where}.address", fields.get("address"), pattern=_ADDRESS, wanted="a name or an IP address"
        ),
        port=read.count(f"{where}.port", fields.get("port"), allowed=range(1, 65536), default=22),
        user=read.text(f"{where}.user", fields.get("user"), pattern=_USER, wanted="a user name", default="root"),
        host_key=read.text(
            f"{where}.hostKey",
            fields.get("hostKey"),
            pattern=HOST_KEY,
            wanted="the host's public key, as `ssh-keyscan -t ed25519 ADDRESS` prints it after the address",
        ),
    )


def _spec(read: Reader, where: str, fields: Mapping[str, Any], known_roles: set[str], address: str) -> HostSpec:
    roles = read.words(f"{where}.roles", fields.get("roles"))
    if not roles:
        read.wrong(f"{where}.roles", "it is missing; list what the host runs: postgres, pgbouncer, redis, otel or apps")
    read.unknown(f"{where}.roles: ", roles, known_roles, "server or app (further apps go into furtherApps)")
    addresses = read.words(f"{where}.clientAddresses", fields.get("clientAddresses"))
    for one in addresses:
        if not _ADDRESS.fullmatch(one):
            read.wrong(f"{where}.clientAddresses", f"{one!r} is not a name or an IP address")
    return HostSpec(
        roles=tuple(sorted(set(roles))),
        client_addresses=addresses or ((address,) if address else ()),
        deployment=_deployment(read, where, fields.get("deployment"), roles),
    )


def _deployment(read: Reader, where: str, value: Any, roles: tuple[str, ...]) -> Deployment | None:
    if value is None:
        return None
    where = f"{where}.deployment"
    servers = [role for role in SERVER_ROLES if role in roles]
    if not servers:
        read.wrong(where, f"the host runs none of {', '.join(SERVER_ROLES)}; leave it out (apps have apps.X.directory)")
    fields = read.mapping(where, value)
    read.unknown(f"{where}.", fields, ("directory", "files", "services"), "field of a deployment")
    files = read.words(f"{where}.files", fields.get("files")) or ("compose.yaml",)
    for file in files:
        if not PLAIN_PATH.fullmatch(file):
            read.wrong(f"{where}.files", f"{file!r} is not a plain path")
    services = read.mapping(f"{where}.services", fields.get("services"))
    read.unknown(f"{where}.services.", services, servers, "server on this host")
    return Deployment(
        directory=read.text(
            f"{where}.directory",
            fields.get("directory"),
            pattern=ABSOLUTE_PATH,
            wanted="the absolute, plain path in which its compose files are",
        ),
        files=files,
        services={
            role: read.text(
                f"{where}.services.{role}",
                services.get(role),
                pattern=_SERVICE,
                wanted="the name of a compose service",
                default=service,
            )
            for role, service in zip(SERVER_ROLES, SERVICES, strict=True)
            if role in servers
        },
    )
