"""What a site has on its hosts before the first `pulumi up`: passwords, compose.env, the environment of init.sh.

The text is computed by pure functions; `prepare` writes it.
"""

from collections.abc import Mapping
from pathlib import Path

from lab import images
from lab.files import ensure_secret, ensure_ssh_key, write
from lab.layout import HOSTS, MOTO, REGION, SECRETS_DNS, Layout

# moto takes any credentials; the clients insist on some.
AWS_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab"}


def prepare(layout: Layout) -> dict[str, str]:
    """Write every host's files. Returns each host's public key. What exists already is kept."""
    accepted = ensure_ssh_key(layout.ssh_key)
    host_keys: dict[str, str] = {}
    for host in HOSTS:
        layout.tls(host).mkdir(parents=True, exist_ok=True)
        host_keys[host] = ensure_ssh_key(layout.ssh(host) / "host_key")
        write(layout.ssh(host) / "authorized_keys", f"{accepted}\n")
        place(layout.etc(host) / "environment", key_values(host_environment()))
    database = layout.etc("database")
    for name in ("postgres_password", "redis_password"):
        # The load runs on the app host and reads it from a file, as an app would.
        password = ensure_secret(layout.load / name)
        place(database / name, f"{password}\n")
    write(database / "compose.env", key_values(compose_environment(layout)))
    write(database / "compose.site.yaml", compose_override(layout.name))
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


def compose_environment(layout: Layout) -> dict[str, str]:
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
    }


def compose_override(network: str) -> str:
    """compose.site.yaml: the lab's network, and no published ports (the host's forwarders stand in for them)."""
    services = "".join(
        f"  {service}:\n    ports: !reset []\n"
        for service in ("voiceai-postgres", "voiceai-pgbouncer", "voiceai-redis")
    )
    return f"services:\n{services}networks:\n  default:\n    name: {network}\n    external: true\n"


def key_values(values: Mapping[str, str]) -> str:
    """`KEY=VALUE` lines."""
    return "".join(f"{key}={value}\n" for key, value in values.items())
