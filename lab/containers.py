"""The `docker` command, as functions. Argument lists only, every call bounded, failures as one typed error."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

_SHORT = 60.0


class DockerError(Exception):
    """A docker command failed. The text carries docker's own words; secrets never reach its arguments."""


def docker(*argv: str, timeout: float = _SHORT, stdin: bytes | None = None) -> str:
    """Run one docker command and return its standard output, stripped.

    Raises DockerError with docker's own message, or when it takes over `timeout` seconds.
    """
    try:
        done = subprocess.run(
            ["docker", *argv],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise DockerError("docker is not installed: run `make setup`, or see `make doctor`") from None
    except subprocess.TimeoutExpired:
        raise DockerError(f"docker {argv[0]}: no answer after {timeout:.0f} s") from None
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise DockerError(f"docker {argv[0]}: {message}")
    return done.stdout.decode(errors="replace").strip()


def image_exists(tag: str) -> bool:
    """Whether the daemon has this image."""
    return bool(docker("image", "ls", "--quiet", tag))


def inspect(name: str) -> dict[str, Any] | None:
    """A container's inspection, or None when there is no such container."""
    try:
        found: list[dict[str, Any]] = json.loads(docker("container", "inspect", name))
    except DockerError as error:
        if "no such container" in str(error).lower():
            return None
        raise
    return found[0]


def is_running(name: str) -> bool:
    """Whether the container exists and runs."""
    found = inspect(name)
    return found is not None and bool(found["State"]["Running"])


def published_port(name: str, port: int) -> int:
    """The machine's port that a container's TCP `port` is published on. Raises DockerError when it is not."""
    found = inspect(name)
    bindings = (found or {}).get("NetworkSettings", {}).get("Ports", {}).get(f"{port}/tcp") or []
    if not bindings:
        raise DockerError(f"container {name} publishes no port {port}: is it running?")
    return int(bindings[0]["HostPort"])


def list_ids(kind: str, *filters: str) -> list[str]:
    """Identifiers of all containers, networks or volumes (`kind` in the singular) that match every filter."""
    wanted = [argument for one in filters for argument in ("--filter", one)]
    everything = ["--all"] if kind == "container" else []
    return docker(kind, "ls", *everything, "--quiet", *wanted).split()


def list_running(*filters: str) -> list[str]:
    """Identifiers of the running containers that match every filter."""
    return docker("container", "ls", "--quiet", *(a for one in filters for a in ("--filter", one))).split()


def remove(kind: str, names: Sequence[str]) -> None:
    """Remove containers (with their anonymous volumes), networks or volumes. What is gone already is no error."""
    if not names:
        return
    options = ["--force", "--volumes"] if kind == "container" else ["--force"] if kind == "volume" else []
    try:
        docker(kind, "rm", *options, *names)
    except DockerError as error:
        if "no such" not in str(error).lower() and "not found" not in str(error).lower():
            raise


def exec_in(name: str, *argv: str, timeout: float = _SHORT, stdin: bytes | None = None) -> str:
    """Run a command in a running container and return its standard output."""
    options = ["--interactive"] if stdin is not None else []
    return docker("exec", *options, name, *argv, timeout=timeout, stdin=stdin)


def labels(values: Mapping[str, str]) -> list[str]:
    """`--label` arguments."""
    return [argument for key, value in values.items() for argument in ("--label", f"{key}={value}")]
