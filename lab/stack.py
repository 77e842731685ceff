"""The lab's Pulumi stack: its configuration file, its backend, and the environment in which `pulumi` works on it."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import yaml

from lab import agent, apps, network
from lab.errors import LabError
from lab.files import ensure_secret, write
from lab.layout import (
    APP_HOSTS,
    APP_OF,
    DATABASE_DNS,
    HOSTS,
    MOTO,
    REDIS_TLS,
    REGION,
    SECRETS_PREFIX,
    SSH,
    STACK,
    Layout,
)
from lab.site import AWS_CREDENTIALS
from toolchain.env import engine_environment, shell_exports

_NAMESPACE = "internal-tls"
_INIT_SECONDS = 60.0

# Every step at its initial value, in the order of the rollout; the apps' are with the apps.
_STEPS = {
    "PREPARED": "off",
    "CERTIFICATE_GENERATION": 0,
    "POSTGRES_TLS_ENABLED": "off",
    "PGBOUNCER_SERVER_TLS_SSLMODE": "disable",
    "PGBOUNCER_CLIENT_TLS_SSLMODE": "disable",
    "POSTGRES_FORCE_SSL": "off",
    "REDIS_TLS_ENABLED": "false",
    "REDIS_FORCE_TLS": "false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the configuration takes from the running lab."""

    ports: Mapping[str, int]
    host_keys: Mapping[str, str]
    subnet: IPv4Network
    collector: bool


def configuration(facts: Facts) -> dict[str, Any]:
    """The stack's configuration before the first step."""
    names = dict.fromkeys(APP_OF.values())
    values: dict[str, Any] = {
        **_STEPS,
        "REDIS_TLS_PORT": REDIS_TLS,
        # The lab's whole rollout takes minutes; a site waits an hour before it closes a door.
        "QUIET_MINUTES": 0,
        "DRAIN_STRAGGLERS": "off",
        "apps": {app: apps.declared(app) for app in names},
        "furtherApps": ["worker"],
        "environment": "lab",
        "databaseDns": DATABASE_DNS,
        "secrets": {
            "prefix": SECRETS_PREFIX,
            "region": REGION,
            "endpoint": f"http://127.0.0.1:{facts.ports[f'moto:{MOTO}']}",
            "recoveryWindowDays": 0,
        },
        "hosts": {host: _host(facts, host) for host in HOSTS},
    }
    return {f"{_NAMESPACE}:{key}": value for key, value in values.items()}


def _host(facts: Facts, host: str) -> dict[str, Any]:
    """A host's entry. Pulumi comes by a port of this machine; the servers see a host by its address in the lab."""
    servers = ["postgres", "pgbouncer", "redis", *(["otel"] if facts.collector else [])]
    entry: dict[str, Any] = {
        "address": "127.0.0.1",
        "port": facts.ports[f"{host}:{SSH}"],
        "user": "root",
        "hostKey": facts.host_keys[host],
        "roles": [APP_OF[host]] if host in APP_HOSTS else servers,
    }
    if host in APP_HOSTS:
        entry["clientAddresses"] = [network.address(facts.subnet, host)]
    return entry


def write_stack_config(layout: Layout, facts: Facts) -> None:
    """Write the configuration with every step at its initial value. The stack's own salt is kept."""
    document = _read(layout.stack_config)
    document["config"] = configuration(facts)
    write(layout.stack_config, yaml.safe_dump(document, sort_keys=False))


def ensure_stack(layout: Layout, facts: Facts) -> None:
    """Have the stack in the lab's backend, its configuration and the `env` file. What exists is kept."""
    ensure_secret(layout.passphrase)
    layout.state.mkdir(parents=True, exist_ok=True)
    write(layout.env_file, shell_exports(own_variables(layout)), mode=0o600)
    if "encryptionsalt" not in _read(layout.stack_config):
        _init(layout)
    if "config" not in _read(layout.stack_config):
        write_stack_config(layout, facts)


def variables(layout: Layout) -> dict[str, str]:
    """What to add to a process's environment so that `pulumi` in the project's folder works on this lab's stack."""
    return {**engine_environment(), **own_variables(layout)}


def own_variables(layout: Layout) -> dict[str, str]:
    """The part of `variables` that is this lab's."""
    return {
        "PULUMI_BACKEND_URL": f"file://{layout.state}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(layout.passphrase),
        "PULUMI_STACK": STACK,
        # Any flag of the CLI can be given this way; this one keeps the lab's configuration in the lab's folder.
        "PULUMI_OPTION_CONFIG_FILE": str(layout.stack_config),
        "SSH_AUTH_SOCK": str(agent.socket(layout)),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        **AWS_CREDENTIALS,
    }


def _read(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def _init(layout: Layout) -> None:
    """Create the stack. `pulumi stack init` writes Pulumi.<stack>.yaml beside the Pulumi.yaml that it finds, so it is
    run on a copy, and the salt that it chose is taken over."""
    with tempfile.TemporaryDirectory(dir=layout.root, prefix="init-") as folder:
        work = Path(folder)
        (work / "Pulumi.yaml").write_text(f"name: {_NAMESPACE}\nruntime: python\n")
        _pulumi(layout, work, "stack", "init", STACK, "--no-select", may_fail="already exists")
        salt = _read(work / layout.stack_config.name).get("encryptionsalt")
        if salt is None:
            # A former run created the stack and was ended before it wrote the salt down. It holds nothing yet.
            _pulumi(layout, work, "stack", "rm", "--yes", "--stack", STACK)
            _pulumi(layout, work, "stack", "init", STACK, "--no-select")
            salt = _read(work / layout.stack_config.name)["encryptionsalt"]
        write(
            layout.stack_config, yaml.safe_dump({"encryptionsalt": salt, **_read(layout.stack_config)}, sort_keys=False)
        )


_NOT_FOR_INIT = ("PULUMI_STACK", "PULUMI_OPTION_CONFIG_FILE")


def _pulumi(layout: Layout, folder: Path, *argv: str, may_fail: str | None = None) -> None:
    environment = {**os.environ, **variables(layout)}
    for name in _NOT_FOR_INIT:
        del environment[name]
    try:
        done = subprocess.run(
            ["pulumi", "--non-interactive", *argv],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"`pulumi {' '.join(argv)}` did not end within {_INIT_SECONDS:.0f} s") from None
    if done.returncode != 0 and (may_fail is None or may_fail not in done.stderr):
        raise LabError(f"`pulumi {' '.join(argv)}` failed: {done.stderr.strip()}")
