"""The lab's containers: the hosts, what sends the load, and the stand-in for Secrets Manager.

A host's own directories are mounted from the lab's folder; `/opt/voiceai` and `/var/lib/voiceai` live in the container
and so survive its reboot, as a disk does, and end with the lab.
"""

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import TypeVar

from lab import containers, images, network
from lab.containers import DockerError, docker
from lab.errors import LabError
from lab.files import free_ports, write
from lab.layout import (
    APP_HOSTS,
    APP_OF,
    COMPOSE_LABEL,
    HOSTS,
    LABEL_CHECKOUT,
    LABEL_ID,
    LABEL_LAB,
    LOAD_DNS,
    MOTO,
    SECRETS_DNS,
    SERVER_PORTS,
    SSH,
    Layout,
    checkout_digest,
    dns,
)

_SPEC = "internal-tls.spec"
# One that every inventory of the lab has, the proof's with one app too.
_LOADS_HOST = "worker"
# Of a container's 1024 cpu-shares: the eight that have machines of their own elsewhere weigh an eighth of one.
_ELSEWHERE = "16"
_BOOT_SECONDS = 120.0
_PORT_ATTEMPTS = 3
_KINDS = ("container", "network", "volume")
_MOST_THINGS = 100
# What dockerd gives its containers when the machine goes down (--shutdown-timeout).
_STOP_SECONDS = "15"
# Docker makes several containers at once; more than a few only wait for each other.
_AT_ONCE = 6

Thing = TypeVar("Thing")

# How a container is run: given the digest of how, which becomes one of its labels.
Recipe = Callable[[str], list[str]]


def labels(layout: Layout) -> dict[str, str]:
    """The labels by which everything of this lab is found again."""
    return {LABEL_LAB: layout.name, LABEL_ID: layout.lab_id, LABEL_CHECKOUT: checkout_digest(layout.project)}


def leave_cores_to_servers(layout: Layout) -> None:
    """What has machines of its own elsewhere, app hosts' sessions and Secrets Manager, weighs little here.

    The database host's updates go on competing with its servers, as they do there.
    """
    docker("update", "--cpu-shares", _ELSEWHERE, *map(layout.host, APP_HOSTS), layout.moto)


def side_by_side(do: Callable[[Thing], object], things: Iterable[Thing]) -> None:
    """Do it for each, several at once. Raises what the first that failed raised, when all have ended."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(do, thing) for thing in things]:
            done.result()


def machine_ports(layout: Layout) -> dict[str, int]:
    """`<container>:<port>` → the machine's port, chosen once for the lab."""
    if layout.ports.exists():
        chosen: dict[str, int] = json.loads(layout.ports.read_text())
        return chosen
    wanted = [*(f"{host}:{SSH}" for host in HOSTS), *(f"database:{port}" for port in SERVER_PORTS), f"moto:{MOTO}"]
    chosen = dict(zip(wanted, free_ports(len(wanted)), strict=True))
    write(layout.ports, json.dumps(chosen, indent=2) + "\n")
    return chosen


def ensure_containers(layout: Layout, subnet: IPv4Network) -> None:
    """Create and start what is missing, then wait until everything answers. Raises LabError or DockerError."""
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        wanted = _recipes(layout, subnet)
        try:
            side_by_side(lambda item: _ensure(*item), wanted.items())
            break
        except DockerError as error:
            if not _port_taken(error) or attempt == _PORT_ATTEMPTS:
                raise
            # Somebody else took a port since it was chosen: choose all anew, before anything depends on them.
            containers.remove("container", list(wanted))
            layout.ports.unlink()
    wait_for_moto(machine_ports(layout)[f"moto:{MOTO}"])
    network.lead_to_servers(layout.load_container, subnet)
    side_by_side(partial(_make_ready, layout, subnet), HOSTS)


def _recipes(layout: Layout, subnet: IPv4Network) -> dict[str, Recipe]:
    """Each container's name and how it is run, the slowest first."""
    ports = machine_ports(layout)
    return {
        layout.moto: partial(_moto, layout, subnet, ports),
        **{layout.host(host): partial(_host, layout, subnet, host, ports) for host in HOSTS},
        layout.load_container: partial(_load, layout, subnet),
    }


def _make_ready(layout: Layout, subnet: IPv4Network, host: str) -> None:
    """What a host needs beyond its start: a way to the servers, and files that are root's."""
    name = layout.host(host)
    if host in APP_HOSTS:
        network.lead_to_servers(name, subnet)
    wait_for_boot(layout, host)
    # The site's files belong to root on a real host, and init.sh insists on it.
    places = ["/etc/voiceai", *([f"/opt/{APP_OF[host]}"] if host in APP_HOSTS else [])]
    private = containers.exec_in(name, "find", *places, "-maxdepth", "1", "-perm", "600")
    containers.exec_in(name, "chown", "0:0", *private.split())


def _port_taken(error: DockerError) -> bool:
    text = str(error).lower()
    return "already allocated" in text or ("already in use" in text and "address" in text)


def _ensure(name: str, recipe: Recipe) -> None:
    """Have a running container made by that recipe; what a former run left half-made is made anew."""
    wanted = recipe("")
    spec = hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:16]
    found = containers.inspect(name)
    if found is not None and found["State"]["Status"] == "created":
        containers.remove("container", [name])
        found = None
    if found is None:
        docker("run", "--detach", "--name", name, *recipe(spec))
    elif found["Config"]["Labels"].get(_SPEC) != spec:
        raise LabError(f"{name} was made by another version of the lab: take it down first (`make lab-down`)")
    elif not found["State"]["Running"]:
        docker("start", name)


def _host(layout: Layout, subnet: IPv4Network, host: str, ports: dict[str, int], spec: str) -> list[str]:
    etc, tls = layout.etc(host), layout.tls(host)
    mounts = [
        *(f"{etc}:/etc/voiceai", f"{tls}:/etc/ssl/internal"),
        # Also under the machine's own names: compose.env uses those, as the machine's daemon resolves them.
        *(f"{etc}:{etc}", f"{tls}:{tls}"),
        f"{layout.ssh(host)}:/lab/ssh:ro",
        "/var/run/docker.sock:/var/run/docker.sock",
    ]
    published = [SSH]
    if host == "database":
        published += SERVER_PORTS
        forwards = " ".join(f"{port}:{server}:{inside}" for port, (server, inside) in network.PUBLISHED.items())
        special = ["--env", f"LAB_FORWARDS={forwards}"]
    else:
        mounts.append(f"{layout.opt(host)}:/opt/{APP_OF[host]}")
        special = ["--cap-add", "NET_ADMIN"]
    return [
        *("--hostname", host, "--stop-timeout", "5"),
        *network.attachment(layout, subnet, host, dns(host)),
        *containers.labels({**labels(layout), _SPEC: spec}),
        *(argument for port in published for argument in ("--publish", f"127.0.0.1:{ports[f'{host}:{port}']}:{port}")),
        *(argument for mount in mounts for argument in ("--volume", mount)),
        *special,
        images.host_image(),
    ]


def _load(layout: Layout, subnet: IPv4Network, spec: str) -> list[str]:
    return [
        *("--hostname", "load", "--init", "--stop-timeout", "2", "--cap-add", "NET_ADMIN"),
        *network.attachment(layout, subnet, "load", LOAD_DNS),
        *containers.labels({**labels(layout), _SPEC: spec}),
        *("--volume", f"{layout.load}:/lab/load"),
        # The CA as a client beside the apps has it: from one of their hosts.
        *("--volume", f"{layout.tls(_LOADS_HOST)}:/etc/ssl/internal:ro"),
        images.load_image(),
    ]


def _moto(layout: Layout, subnet: IPv4Network, ports: dict[str, int], spec: str) -> list[str]:
    return [
        *("--hostname", "moto", "--stop-timeout", "2"),
        *network.attachment(layout, subnet, "moto", SECRETS_DNS),
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
    """What a reboot of that machine does: everything on it stops; init.sh runs; then its containers start."""
    name = layout.host(host)
    # The host first: what is under way there ends with it, and makes no new container meanwhile.
    docker("stop", name)
    running = containers.list_running(f"label={COMPOSE_LABEL}={layout.project_of(host)}")
    if running:
        docker("stop", "--time", _STOP_SECONDS, *running, timeout=120)
    docker("start", name)
    if host in APP_HOSTS:
        network.lead_to_servers(name, network.subnet_of(layout))
    wait_for_boot(layout, host)
    # After their host: they share its network namespace, which is another one now.
    if running:
        docker("start", *running)


def remove_everything(layout: Layout) -> list[str]:
    """Remove every container, network and volume of the lab, servers and apps included. Returns what was removed."""
    removed: list[str] = []
    projects = (f"label={COMPOSE_LABEL}={layout.project_of(host)}" for host in HOSTS)
    wanted = [f"label={LABEL_LAB}={layout.name}", *projects]
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
