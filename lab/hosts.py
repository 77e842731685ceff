"""The lab's containers: the two hosts and the stand-in for Secrets Manager.

A host's own directories are mounted from the lab's folder; `/opt` and `/var/lib/voiceai` live in the container and so
survive its reboot, as a disk does, and end with the lab.
"""

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lab import containers, images
from lab.containers import DockerError, docker
from lab.errors import LabError
from lab.files import free_ports, write
from lab.layout import (
    APP_DNS,
    COMPOSE_LABEL,
    DATABASE_DNS,
    HOSTS,
    LABEL_CHECKOUT,
    LABEL_ID,
    LABEL_LAB,
    MOTO,
    PGBOUNCER,
    POSTGRES,
    REDIS,
    REDIS_TLS,
    SECRETS_DNS,
    SERVER_PORTS,
    SSH,
    Layout,
    checkout_digest,
)

# The database host's ports → the containers behind them, by the names that compose gives them on the network.
FORWARDS = {
    PGBOUNCER: "voiceai-pgbouncer:5432",
    POSTGRES: "voiceai-postgres:5432",
    REDIS: "voiceai-redis:6379",
    REDIS_TLS: "voiceai-redis:6380",
}
_ALIASES = {"database": DATABASE_DNS, "app": APP_DNS}
_SPEC = "internal-tls.spec"
_BOOT_SECONDS = 120.0
_PORT_ATTEMPTS = 3
_KINDS = ("container", "network", "volume")
_MOST_THINGS = 100
_SERVERS_STOP_SECONDS = "20"


def labels(layout: Layout) -> dict[str, str]:
    """The labels by which everything of this lab is found again."""
    return {LABEL_LAB: layout.name, LABEL_ID: layout.lab_id, LABEL_CHECKOUT: checkout_digest(layout.project)}


def ensure_network(layout: Layout) -> None:
    """The network that hosts, servers and moto share."""
    if not containers.list_ids("network", f"name=^{layout.name}$"):
        docker("network", "create", *containers.labels(labels(layout)), layout.name)


def machine_ports(layout: Layout) -> dict[str, int]:
    """`<container>:<port>` → the machine's port, chosen once for the lab."""
    if layout.ports.exists():
        chosen: dict[str, int] = json.loads(layout.ports.read_text())
        return chosen
    wanted = [*(f"{host}:{SSH}" for host in HOSTS), *(f"database:{port}" for port in SERVER_PORTS), f"moto:{MOTO}"]
    chosen = dict(zip(wanted, free_ports(len(wanted)), strict=True))
    write(layout.ports, json.dumps(chosen, indent=2) + "\n")
    return chosen


def ensure_containers(layout: Layout) -> None:
    """Create and start what is missing, then wait until everything answers. Raises LabError or DockerError."""
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        ports = machine_ports(layout)
        try:
            _ensure(layout.moto, partial(_moto, layout, ports))
            for host in HOSTS:
                _ensure(layout.host(host), partial(_host, layout, host, ports))
            break
        except DockerError as error:
            if not _port_taken(error) or attempt == _PORT_ATTEMPTS:
                raise
            # Somebody else took a port since it was chosen: choose all anew, before anything depends on them.
            containers.remove("container", [layout.moto, *map(layout.host, HOSTS)])
            layout.ports.unlink()
    wait_for_moto(machine_ports(layout)[f"moto:{MOTO}"])
    for host in HOSTS:
        wait_for_boot(layout, host)
        # The site's files belong to root on a real host, and init.sh insists on it.
        private = containers.exec_in(layout.host(host), "find", "/etc/voiceai", "-maxdepth", "1", "-perm", "600")
        containers.exec_in(layout.host(host), "chown", "0:0", *private.split())


def _port_taken(error: DockerError) -> bool:
    text = str(error).lower()
    return "already allocated" in text or ("already in use" in text and "address" in text)


def _ensure(name: str, arguments: Callable[[str], list[str]]) -> None:
    """Have a running container made with these arguments; what a former run left half-made is made anew."""
    wanted = arguments("")
    spec = hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:16]
    found = containers.inspect(name)
    if found is not None and found["State"]["Status"] == "created":
        containers.remove("container", [name])
        found = None
    if found is None:
        docker("run", "--detach", "--name", name, *arguments(spec))
    elif found["Config"]["Labels"].get(_SPEC) != spec:
        raise LabError(f"{name} was made by another version of the lab: take it down first (`make lab-down`)")
    elif not found["State"]["Running"]:
        docker("start", name)


def _host(layout: Layout, host: str, ports: dict[str, int], spec: str) -> list[str]:
    etc, tls = layout.etc(host), layout.tls(host)
    mounts = [
        *(f"{etc}:/etc/voiceai", f"{tls}:/etc/ssl/internal"),
        # Also under the machine's own names: compose.env uses those, as the machine's daemon resolves them.
        *(f"{etc}:{etc}", f"{tls}:{tls}"),
        f"{layout.ssh(host)}:/lab/ssh:ro",
    ]
    environment: list[str] = []
    published = [SSH]
    if host == "database":
        mounts.append("/var/run/docker.sock:/var/run/docker.sock")
        published += SERVER_PORTS
        environment = [f"LAB_FORWARDS={' '.join(f'{port}:{target}' for port, target in FORWARDS.items())}"]
    else:
        mounts.append(f"{layout.load}:/lab/load")
    return [
        *("--hostname", host, "--network", layout.name, "--network-alias", _ALIASES[host], "--stop-timeout", "5"),
        *containers.labels({**labels(layout), _SPEC: spec}),
        *(argument for port in published for argument in ("--publish", f"127.0.0.1:{ports[f'{host}:{port}']}:{port}")),
        *(argument for mount in mounts for argument in ("--volume", mount)),
        *(argument for value in environment for argument in ("--env", value)),
        images.host_image(),
    ]


def _moto(layout: Layout, ports: dict[str, int], spec: str) -> list[str]:
    return [
        *("--hostname", "moto", "--network", layout.name, "--network-alias", SECRETS_DNS, "--stop-timeout", "2"),
        *containers.labels({**labels(layout), _SPEC: spec}),
        *("--publish", f"127.0.0.1:{ports[f'moto:{MOTO}']}:{MOTO}"),
        images.moto_image(),
    ]


def wait_for_moto(port: int) -> None:
    """Wait until Secrets Manager's stand-in answers on the machine's port."""
    url = f"http://127.0.0.1:{port}/moto-api/data.json"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers() -> bool:
        try:
            with opener.open(url, timeout=2) as answer:
                return int(answer.status) == 200
        except (OSError, urllib.error.URLError):
            return False

    wait_until(answers, what=f"moto to answer on {url}", seconds=60)


def wait_for_boot(layout: Layout, host: str) -> None:
    """Wait until a host has gone through its start-up and serves SSH."""
    name = layout.host(host)

    def booted() -> bool:
        if not containers.is_running(name):
            raise LabError(f"{name} ended while it started; it said:\n{docker('logs', '--tail', '20', name)}")
        try:
            containers.exec_in(name, "bash", "-c", "test -e /run/lab/booted && : </dev/tcp/127.0.0.1/22")
        except DockerError:
            return False
        return True

    wait_until(booted, what=f"{name} to boot", seconds=_BOOT_SECONDS)


def reboot(layout: Layout, host: str) -> None:
    """What a reboot of that machine does: everything on it stops; init.sh runs; then the servers start."""
    servers = containers.list_ids("container", f"label={COMPOSE_LABEL}={layout.name}") if host == "database" else []
    if servers:
        docker("stop", "--time", _SERVERS_STOP_SECONDS, *servers, timeout=120)
    docker("stop", layout.host(host))
    docker("start", layout.host(host))
    wait_for_boot(layout, host)
    if servers:
        docker("start", *servers)


def remove_everything(layout: Layout) -> list[str]:
    """Remove every container, network and volume of the lab, the servers' included. Returns what was removed."""
    removed: list[str] = []
    wanted = [f"label={LABEL_LAB}={layout.name}", f"label={COMPOSE_LABEL}={layout.name}"]
    # Containers first, as they hold the others; again until nothing is left, as an interrupted `docker run` may still
    # be making one.
    while found := [(kind, one) for kind in _KINDS for one in _labelled(kind, wanted)]:
        for kind in _KINDS:
            containers.remove(kind, [one for its_kind, one in found if its_kind == kind])
        removed += [f"{kind} {one}" for kind, one in found]
        if len(removed) > _MOST_THINGS:
            raise LabError(f"something makes new containers of {layout.name} while it is removed: end that first")
    return removed


def _labelled(kind: str, filters: list[str]) -> list[str]:
    """Each identifier once: a thing may match several filters."""
    return sorted({one for label in filters for one in containers.list_ids(kind, label)})


def remove_folder(folder: Path) -> None:
    """Remove a folder in which containers wrote as root, for a user who is not."""
    mount = f"{folder.parent}:/lab"
    docker("run", "--rm", "--volume", mount, "--entrypoint", "rm", images.host_image(), "-rf", f"/lab/{folder.name}")


def wait_until(condition: Callable[[], bool], *, what: str, seconds: float) -> None:
    """Wait for a condition. Raises LabError that names it when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:.0f} s for {what}, in vain")
        time.sleep(0.1)
