"""The apps as a site has them on its hosts: a compose file, `.env` for it, `app.env` with the app's settings.

An app's containers share the network namespace of their host's container, which stands in for `network_mode: host`.
Everything but `start` computes text.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from lab import containers, images
from lab.layout import (
    APP_OF,
    DATABASE_DNS,
    GATEWAY,
    LOAD_DNS,
    PGBOUNCER,
    PROXY,
    REDIS,
    REDIS_TLS,
    REPLICAS,
    Layout,
)

ENV_FILE = "app.env"
CA_FILE = "/etc/ssl/internal/ca.crt"
DATABASE_USER = "voiceai"
# How long docker waits for a replica that drains.
GRACE_SECONDS = 20
_START_SECONDS = 90


def services(app: str) -> list[str]:
    """The compose services that are an app's replicas. telpro has one."""
    return [app] if app == "telpro" else [f"{app}-{number}" for number in range(1, len(REPLICAS) + 1)]


def health_command(app: str) -> str:
    """Run on the host with SERVICE, CONTAINER and REPLICA (1, 2, …): whether that replica takes requests."""
    if app == "telpro":
        return 'docker exec "$CONTAINER" telpro-healthy'
    return f"curl -fsS --max-time 2 http://127.0.0.1:{PROXY // 10}$REPLICA/health"


def declared(app: str) -> dict[str, Any]:
    """What the stack's configuration says of an app, every step at its initial value."""
    common = {
        "REDIS_TLS_ENABLED": "false",
        "directory": f"/opt/{app}",
        "envFile": ENV_FILE,
        "services": services(app),
        "healthCommand": health_command(app),
        "drainSeconds": GRACE_SECONDS,
    }
    if app == "telpro":
        return {**common, "kind": "kamailio", "uses": ["redis"], "acceptRestart": True}
    return {"DATABASE_SSL_MODE": "disable", **common, "applicationName": app, "redisClientName": app}


def compose_file(app: str) -> str:
    """compose.yaml of an app."""
    common = {
        "network_mode": "container:${HOST_CONTAINER}",
        "restart": "unless-stopped",
        "stop_grace_period": f"{GRACE_SECONDS}s",
    }
    replica = {**common, "env_file": ENV_FILE, "volumes": ["${INTERNAL_TLS_DIR}:/etc/ssl/internal:ro"]}
    if app == "telpro":
        gateway = {"SIP_GATEWAY": f"{LOAD_DNS}:{GATEWAY}"}
        found = {"telpro": {"image": "${TELPRO_IMAGE}", **replica, "environment": gateway}}
    else:
        found = {
            service: {"image": "${APP_IMAGE}", **replica, "environment": {"APP_NAME": app, "PORT": str(port)}}
            for service, port in zip(services(app), REPLICAS, strict=True)
        }
        ports = {"PROXY_PORT": PROXY, **{f"REPLICA_{number}": port for number, port in enumerate(REPLICAS, start=1)}}
        found["proxy"] = {
            "image": "${APP_IMAGE}",
            **common,
            # As the first process of a container HAProxy is deaf to SIGTERM.
            "stop_signal": "SIGUSR1",
            "command": ["haproxy", "-db", "-f", "/app/haproxy.cfg"],
            "environment": {name: str(port) for name, port in ports.items()},
            "healthcheck": {"disable": True},
        }
    return yaml.safe_dump({"services": found}, sort_keys=False)


def dot_env(layout: Layout, host: str) -> dict[str, str]:
    """`.env` of an app: what its compose file takes from the machine."""
    return {
        "COMPOSE_PROJECT_NAME": layout.project_of(host),
        "HOST_CONTAINER": layout.host(host),
        # By the machine's own name, as its daemon resolves it.
        "INTERNAL_TLS_DIR": str(layout.tls(host)),
        "APP_IMAGE": images.app_image(),
        "TELPRO_IMAGE": images.kamailio_image(),
    }


def settings(app: str, passwords: Mapping[str, str]) -> str:
    """app.env in plaintext, as somebody wrote it by hand: comments, blank lines and an order of its own stay."""
    database = (
        f"# {app}'s own pool is small: PgBouncer has the large one\n"
        f"DATABASE_URL=postgresql://{DATABASE_USER}:{passwords['postgres_password']}@{DATABASE_DNS}:{PGBOUNCER}/voiceai\n"
        f"DATABASE_SSL_MODE=disable\n"
        f"DATABASE_SSL_CA_FILE={CA_FILE}\n\n"
    )
    redis = (
        f"REDIS_HOST={DATABASE_DNS}\n"
        f"REDIS_PORT={REDIS}\n"
        f"REDIS_PASSWORD={passwords['redis_password']}\n"
        f"REDIS_TLS_ENABLED=false\n"
        f"REDIS_TLS_PORT={REDIS_TLS}\n"
        f"REDIS_TLS_CA_FILE={CA_FILE}\n"
    )
    return f"# {app}, see the wiki\n\n{'' if app == 'telpro' else database}# cache\n{redis}"


def start(layout: Layout, host: str) -> None:
    """Have a host's app running and wait until it takes requests. What runs is left as it is.

    Raises DockerError with compose's words, or the app's, when it does not get healthy.
    """
    app = APP_OF[host]
    script = f"cd /opt/{app} && docker compose --progress quiet up --detach --no-recreate && {_healthy(app)}"
    containers.exec_in(layout.host(host), "sh", "-c", script, timeout=_START_SECONDS + 30)


def _healthy(app: str) -> str:
    """Shell text that waits for every replica and for the proxy before them."""
    if app == "telpro":
        checks = "docker compose exec -T telpro telpro-healthy"
    else:
        checks = " && ".join(f"curl -fsS --max-time 2 http://127.0.0.1:{port}/health" for port in (*REPLICAS, PROXY))
    wait = f"until {{ {checks}; }} >/dev/null 2>&1; do sleep 0.3; done"
    said = "docker compose logs --no-color --tail 2 >&2; exit 1"
    return f"timeout {_START_SECONDS} sh -c '{wait}' || {{ {said}; }}"
