"""A lab: up, down, reboot, and what a caller needs to work on it.

    lab = Lab()
    lab.up()
    subprocess.run(["pulumi", "up", "--yes"], cwd=lab.layout.project, env={**os.environ, **lab.environment()})
    lab.start_apps()
    lab.down()

The servers are started by the first `pulumi up`, so the apps come after it.

`up` is idempotent and goes on where an interrupted one ended; `down` removes whatever there is of the lab, however
little, and may be called twice.
"""

import json
import shutil
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from lab import agent, apps, containers, hosts, images, network, site, stack
from lab.containers import DockerError, docker
from lab.errors import LabError
from lab.layout import (
    APP_HOSTS,
    COMPOSE_LABEL,
    DEFAULT_ID,
    HOSTS,
    LABEL_CHECKOUT,
    LABEL_ID,
    LABEL_LAB,
    MOTO,
    SSH,
    Layout,
    checkout_digest,
)
from toolchain.locking import held
from toolchain.paths import ROOT
from toolchain.progress import Progress, part


class Lab:
    """One lab. Making the object touches nothing."""

    def __init__(self, lab_id: str = DEFAULT_ID, *, progress: Progress = part) -> None:
        self.layout = Layout(lab_id=lab_id, project=ROOT)
        self._progress = progress

    @property
    def name(self) -> str:
        """The lab's name in Docker; its network is called so."""
        return self.layout.name

    def up(self) -> None:
        """Have the lab running: images, network, moto, hosts, the stack's configuration. No `pulumi up`.

        Raises LabError, DockerError, or SetupError where the set-up is incomplete.
        """
        images.ensure(self._progress)
        with held(self.layout.lock, what=f"the lab {self.name}"), self._progress(f"starting the lab {self.name}"):
            self._refuse_forgetful_moto()
            labels = containers.labels(hosts.labels(self.layout))
            subnet = network.ensure(self.layout, labels)
            facts = self._facts(subnet)
            hosts.ensure_containers(self.layout, subnet)
            self._write_known_hosts(facts)
            agent.ensure(self.layout)
            stack.ensure_stack(self.layout, facts)

    def start_apps(self) -> None:
        """Have the apps running, each replica taking requests; what runs is left as it is.

        Raises LabError while the servers do not run; DockerError, with what the app said, when one stays unhealthy.
        """
        stopped = [name for name in map(self.layout.server, site.SERVERS) if not containers.is_running(name)]
        if stopped:
            raise LabError(f"the apps need the servers, and {', '.join(stopped)} does not run: `pulumi up` starts them")
        with held(self.layout.lock, what=f"the lab {self.name}"), self._progress("starting the apps"):
            hosts.side_by_side(partial(apps.start, self.layout), APP_HOSTS)

    def leave_cores_to_servers(self) -> None:
        """Before latencies are measured: what has machines of its own elsewhere weighs little on this one."""
        hosts.leave_cores_to_servers(self.layout)

    def down(self) -> list[str]:
        """Remove the lab's containers, the servers' included, its network, volumes and folder; return what was removed.

        Reports in `build/*.json` stay. Raises DockerError when Docker can't be asked and something is left.
        """
        if not _docker_answers():
            if self.layout.root.exists():
                docker("version")  # raises, in docker's own words
            return []
        with held(self.layout.lock, what=f"the lab {self.name}"):
            removed = hosts.remove_everything(self.layout)
            agent.stop(self.layout)
            if self.layout.root.exists():
                self._remove_root()
                removed.append(f"folder {self.layout.root}")
        return removed

    def reboot(self, host: str) -> None:
        """Reboot a host: its containers and the host stop; init.sh runs; then what ran starts again."""
        self._known(host)
        with held(self.layout.lock, what=f"the lab {self.name}"), self._progress(f"rebooting {host}"):
            hosts.reboot(self.layout, host)

    def environment(self) -> dict[str, str]:
        """The variables to add to a process's environment so that `pulumi` works on this lab's stack."""
        return stack.variables(self.layout)

    def write_stack_config(self) -> Path:
        """Write the stack's configuration with every step at its initial value. Returns its path."""
        stack.write_stack_config(self.layout, self._facts(network.subnet_of(self.layout)))
        return self.layout.stack_config

    @property
    def has_collector(self) -> bool:
        """Whether the OpenTelemetry collector is part of the lab: it is where it could be built."""
        return images.has_collector()

    def block(self, host: str, port: int) -> None:
        """Close one of the database host's ports for new connections from an app host: no answer, as a security
        group does it."""
        self._known(host)
        network.block(self.layout.host(host), network.subnet_of(self.layout), port)

    def unblock(self, host: str, port: int) -> None:
        """Open it again."""
        self._known(host)
        network.unblock(self.layout.host(host), network.subnet_of(self.layout), port)

    def port(self, container: str, port: int) -> int:
        """The machine's port behind a container's (`database`, `app`, `moto`)."""
        return hosts.machine_ports(self.layout)[f"{container}:{port}"]

    @property
    def secrets_endpoint(self) -> str:
        """Secrets Manager's stand-in, as the machine reaches it."""
        return f"http://127.0.0.1:{self.port('moto', MOTO)}"

    def run(self, host: str, *argv: str, timeout: float = 60.0, stdin: bytes | None = None) -> str:
        """Run a command on a host (not over SSH) and return its standard output. Raises DockerError when it fails."""
        self._known(host)
        return containers.exec_in(self.layout.host(host), *argv, timeout=timeout, stdin=stdin)

    def ssh_command(self, host: str) -> list[str]:
        """The ssh(1) command that reaches a host with its pinned key."""
        self._known(host)
        options = {
            "IdentityFile": self.layout.ssh_key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.layout.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": 10,
        }
        flags = [argument for key, value in options.items() for argument in ("-o", f"{key}={value}")]
        return ["ssh", "-F", "/dev/null", *flags, "-p", str(self.port(host, SSH)), "root@127.0.0.1"]

    def status(self) -> list[dict[str, Any]]:
        """What of the lab exists: one entry a container, with its state and the machine's ports."""
        projects = (f"label={COMPOSE_LABEL}={self.layout.project_of(host)}" for host in HOSTS)
        wanted = (f"label={LABEL_LAB}={self.name}", *projects)
        entries: list[dict[str, Any]] = []
        for label in wanted:
            listed = docker("container", "ls", "--all", "--filter", label, "--format", "{{json .}}")
            entries += [json.loads(line) for line in listed.splitlines()]
        chosen = ({"name": e["Names"], "state": e["State"], "ports": e["Ports"]} for e in entries)
        return sorted(chosen, key=lambda entry: str(entry["name"]))

    def _known(self, host: str) -> None:
        if host not in HOSTS:
            raise LabError(f"the lab has no host {host!r}; it has {', '.join(HOSTS)}")
        if not containers.is_running(self.layout.host(host)):
            raise LabError(f"{self.layout.host(host)} does not run: start the lab first (`python -m lab up`)")

    def _facts(self, subnet: IPv4Network) -> stack.Facts:
        """What the configuration says of the lab; the site's files are written on the way."""
        keys = site.prepare(self.layout, subnet, collector=self.has_collector)
        ports = hosts.machine_ports(self.layout)
        return stack.Facts(ports=ports, host_keys=keys, subnet=subnet, collector=self.has_collector)

    def _write_known_hosts(self, facts: stack.Facts) -> None:
        lines = (f"[127.0.0.1]:{facts.ports[f'{host}:{SSH}']} {facts.host_keys[host]}\n" for host in HOSTS)
        self.layout.known_hosts.write_text("".join(lines))

    def _refuse_forgetful_moto(self) -> None:
        """moto keeps secrets in memory. Once it was stopped, the stack's state speaks of secrets that are gone."""
        found = containers.inspect(self.layout.moto)
        stacks = list(self.layout.state.glob(".pulumi/stacks/**/*.json"))
        stopped = found is None or found["State"]["Status"] == "exited"
        if stopped and any("aws:secretsmanager/" in path.read_text() for path in stacks):
            raise LabError(
                f"the lab {self.name} was stopped, and its Secrets Manager (moto, in memory) has forgotten the "
                "certificates: take the lab down and start anew (`make lab-down`)"
            )

    def _remove_root(self) -> None:
        try:
            shutil.rmtree(self.layout.root)
        except PermissionError:
            hosts.remove_folder(self.layout.root)


def all_labs(progress: Progress = part) -> list[Lab]:
    """Every lab of this checkout that left anything: a container, a network, or a folder."""
    found = {path.parent.name for path in (ROOT / "build").glob("*/ssh")}
    if _docker_answers():
        for kind in ("container", "network"):
            for one in containers.list_ids(kind, f"label={LABEL_CHECKOUT}={checkout_digest(ROOT)}"):
                found.add(docker(kind, "inspect", "--format", _LABEL_OF[kind], one))
    return [Lab(lab_id, progress=progress) for lab_id in sorted(found)]


_LABEL_OF = {
    "container": f'{{{{ index .Config.Labels "{LABEL_ID}" }}}}',
    "network": f'{{{{ index .Labels "{LABEL_ID}" }}}}',
}


def _docker_answers() -> bool:
    try:
        docker("version", timeout=20)
    except DockerError:
        return False
    return True
