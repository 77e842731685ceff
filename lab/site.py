"""What a site has on its hosts before the first `pulumi up`: passwords, compose.env, the environment of init.sh, its
apps.

The text is computed by pure functions; `prepare` writes it.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path

from lab import apps, images, network
from lab.files import ensure_secret, ensure_ssh_key, write
from lab.layout import APP_OF, HOSTS, MOTO, REGION, SECRETS_DNS, Layout

SERVERS = ("voiceai-postgres", "voiceai-pgbouncer", "voiceai-redis")

# moto takes any credentials; the clients insist on some.
AWS_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab"}


def prepare(layout: Layout, subnet: IPv4Network, *, collector: bool) -> dict[str, str]:
    """Write every host's files. Returns each host's public key. What exists already is kept."""
    accepted = ensure_ssh_key(layout.ssh_key)
    host_keys: dict[str, str] = {}
    for host in HOSTS:
        layout.tls(host).mkdir(parents=True, exist_ok=True)
        host_keys[host] = ensure_ssh_key(layout.ssh(host) / "host_key")
        write(layout.ssh(host) / "authorized_keys", f"{accepted}\n")
        place(layout.etc(host) / "environment", key_values(host_environment()))
    # The load reads them from files, as an app would.
    passwords = {name: ensure_secret(layout.load / name) for name in ("postgres_password", "redis_password")}
    database = layout.etc("database")
    for name, password in passwords.items():
        place(database / name, f"{password}\n")
    write(database / "compose.env", key_values(compose_environment(layout, collector=collector)))
    write(database / "compose.site.yaml", compose_override(layout.name, subnet))
    for host, app in APP_OF.items():
        write(layout.opt(host) / "compose.yaml", apps.compose_file(app))
        write(layout.opt(host) / ".env", key_values(apps.dot_env(layout, host)))
        place(layout.opt(host) / apps.ENV_FILE, apps.settings(app, passwords))
    return host_keys


def place(path: Path, content: str) -> None:
    """Have a private file of a host. Once it is there it belongs to that host's root and may not be ours to read."""
    if not path.exists():
        write(path, content, mode=0o600)


def host_environment() -> dict[str, str]:
    """What init.sh exports before it reads Secrets Manager."""
    return {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": f"http://{SECRETS_DNS}:{MOTO}",
        **AWS_CREDENTIALS,
    }


def compose_environment(layout: Layout, *, collector: bool) -> dict[str, str]:
    """compose.env of the database host.

    Bind mounts are resolved by the machine's daemon, so the directories are named as the machine names them.
    """
    image = images.servers_image()
    return {
        "COMPOSE_PROJECT_NAME": layout.name,
        "COMPOSE_FILE": "compose.yaml:/etc/voiceai/compose.site.yaml",
        "POSTGRES_IMAGE": image,
        "PGBOUNCER_IMAGE": image,
        "REDIS_IMAGE": image,
        "CONTAINER_PREFIX": layout.container_prefix,
        "VOICEAI_CONFIG_DIR": str(layout.etc("database")),
        "INTERNAL_TLS_DIR": str(layout.tls("database")),
        # The collector is the lab's where it could be built.
        **({"OTEL_IMAGE": images.otel_image(), "COMPOSE_PROFILES": "otel"} if collector else {}),
    }


def compose_override(name: str, subnet: IPv4Network) -> str:
    """compose.site.yaml: the lab's network with fixed addresses, and no published ports (the hosts' translation stands
    in for them)."""
    services = "".join(
        f"  {server}:\n    ports: !reset []\n"
        f"    networks:\n      default:\n        ipv4_address: {network.address(subnet, server)}\n"
        for server in SERVERS
    )
    return f"services:\n{services}networks:\n  default:\n    name: {name}\n    external: true\n"


def key_values(values: Mapping[str, str]) -> str:
    """`KEY=VALUE` lines."""
    return "".join(f"{key}={value}\n" for key, value in values.items())
