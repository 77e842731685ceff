"""The lab's images: their tags, and building those that are missing.

A tag carries a hash of everything that its image is built from, so a changed Dockerfile is another image and an
unchanged one is never built again. `servers_image()` and the others only compute; `ensure()` builds.

The bases are Debian's published slim images where a registry can be reached. Where none can, the same releases are
bootstrapped from Debian's packages (`lab.bases`).
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab import bases
from lab.containers import image_exists
from toolchain import collector
from toolchain.locking import held
from toolchain.paths import LOGS, TOOLS
from toolchain.process import run_logged
from toolchain.progress import Progress, say

_CONTEXTS = Path(__file__).resolve().parent / "images"
_BUILD = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What an image is built from: a context, a release of Debian, and files that are put into the context."""

    context: str
    release: str = bases.RELEASE
    files: Mapping[str, Path] = field(default_factory=dict)
    digest: str = ""
    """Stands for `files` in the tag, which is known before they are there."""


_IMAGES = {
    "servers": Image(context="servers"),
    "host": Image(context="host"),
    "moto": Image(context="moto"),
    "app": Image(context="app"),
    "kamailio": Image(context="kamailio"),
    # Kamailio 5.6, whose ndb_redis has no TLS: to be refused.
    "kamailio-plain": Image(context="kamailio", release="bookworm"),
    "load": Image(context="load"),
    "otel": Image(context="otel", files={"otelcol": collector.BINARY}, digest=collector.source_digest()),
}


def servers_image() -> str:
    """The tag of the image with PostgreSQL, PgBouncer and Redis."""
    return tag("servers")


def host_image() -> str:
    """The tag of the image of a host: SSH server, Docker client, what the shipped scripts use."""
    return tag("host")


def moto_image() -> str:
    """The tag of the image with the stand-in for Secrets Manager."""
    return tag("moto")


def app_image() -> str:
    """The tag of the image of a sample app and its proxy."""
    return tag("app")


def kamailio_image() -> str:
    """The tag of telpro's image with TLS for Redis."""
    return tag("kamailio")


def kamailio_plain_image() -> str:
    """The tag of telpro's image without TLS for Redis, to be refused."""
    return tag("kamailio-plain")


def load_image() -> str:
    """The tag of the image that sends the load."""
    return tag("load")


def otel_image() -> str:
    """The tag of the collector's image. It is there only where the collector could be built: see `has_collector`."""
    return tag("otel")


def has_collector() -> bool:
    """Whether the collector's image is there."""
    return image_exists(otel_image())


def ensure(progress: Progress) -> None:
    """Build whatever is missing. Raises SetupError, or CommandFailed with the end of the build's log."""
    missing = [name for name in _IMAGES if not image_exists(tag(name))]
    if "otel" in missing and not collector.is_current():
        missing.remove("otel")
        say("  the OpenTelemetry collector is left out of the lab: `make setup` says why")
    if not missing:
        return
    with held(TOOLS / "images.lock", what="the lab's images"):
        for release in dict.fromkeys(_IMAGES[name].release for name in missing):
            bases.ensure(release, progress)
        for name in missing:
            if not image_exists(tag(name)):
                _build(name, progress)


def content_hash(context: Path) -> str:
    """Twelve hex digits over a build context: each file's path, whether it is executable, and its bytes."""
    digest = hashlib.sha256()
    for path in sorted(p for p in context.rglob("*") if p.is_file()):
        executable = "x" if os.access(path, os.X_OK) else "-"
        content = path.read_bytes()
        digest.update(f"{path.relative_to(context).as_posix()}\0{executable}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def tag(name: str) -> str:
    """The tag of an image by its name."""
    image = _IMAGES[name]
    content = content_hash(_CONTEXTS / image.context)
    if image.digest:
        content = hashlib.sha256(f"{content} {image.digest}".encode()).hexdigest()[:12]
    return f"{bases.PREFIX}-{name}:{content}"


def _build(name: str, progress: Progress) -> None:
    image, wanted = _IMAGES[name], tag(name)
    # The builder that every daemon since 2013 has: BuildKit needs a plugin that a plain `docker.io` lacks.
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    with tempfile.TemporaryDirectory(dir=TOOLS, prefix=f"image-{name}-") as folder:
        context = Path(folder) / "context"
        shutil.copytree(_CONTEXTS / image.context, context)
        for file, source in image.files.items():
            shutil.copy(source, context / file)
        with progress(f"building the lab's image {wanted}"):
            run_logged(
                [
                    *("docker", "build", "--network", "host", "--build-arg", f"BASE={bases.tag(image.release)}"),
                    *("--tag", wanted, "--tag", f"{bases.PREFIX}-{name}:dev", str(context)),
                ],
                log=LOGS / f"image-{name}.log",
                what=f"the image {wanted}",
                env=environment,
                timeout=_BUILD,
            )
