"""The lab's images: their tags, and building those that are missing.

A tag carries a hash of everything that its image is built from, so a changed Dockerfile is another image and an
unchanged one is never built again. `servers_image()` and the others only compute; `ensure()` builds.

The base is Debian's published slim image where a registry can be reached. Where none can, the same release is
bootstrapped from Debian's packages, which needs root and the package `debootstrap`.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.containers import docker, image_exists
from toolchain import apt
from toolchain.errors import SetupError
from toolchain.locking import held
from toolchain.paths import LOGS, TOOLS
from toolchain.process import run_logged
from toolchain.progress import Progress

_CONTEXTS = Path(__file__).resolve().parent / "images"
_PREFIX = "internal-tls-lab"
_RELEASE = "trixie"
_PUBLISHED_BASE = f"debian:{_RELEASE}-slim"

# How long a registry may stay silent before it counts as out of reach, and how long a whole download may take, seconds.
_REGISTRY_SILENCE = 20.0
_PULL = 600.0
_BUILD = 1200.0


def base_image() -> str:
    """The tag that the other images are built from, wherever it came from."""
    return f"{_PREFIX}-base:{_RELEASE}"


def servers_image() -> str:
    """The tag of the image with PostgreSQL, PgBouncer and Redis."""
    return _tag("servers")


def host_image() -> str:
    """The tag of the image of a host: SSH server, Docker client, the load's libraries."""
    return _tag("host")


def moto_image() -> str:
    """The tag of the image with the stand-in for Secrets Manager."""
    return _tag("moto")


def ensure(progress: Progress) -> None:
    """Build whatever is missing. Raises SetupError, or CommandFailed with the end of the build's log."""
    missing = [name for name in ("servers", "host", "moto") if not image_exists(_tag(name))]
    if not missing:
        return
    with held(TOOLS / "images.lock", what="the lab's images"):
        _ensure_base(progress)
        for name in missing:
            if not image_exists(_tag(name)):
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


def _tag(name: str) -> str:
    return f"{_PREFIX}-{name}:{content_hash(_CONTEXTS / name)}"


def _build(name: str, progress: Progress) -> None:
    tag = _tag(name)
    # The builder that every daemon since 2013 has: BuildKit needs a plugin that a plain `docker.io` lacks.
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    with progress(f"building the lab's image {tag}"):
        run_logged(
            [
                *("docker", "build", "--network", "host", "--build-arg", f"BASE={base_image()}"),
                *("--tag", tag, "--tag", f"{_PREFIX}-{name}:dev", str(_CONTEXTS / name)),
            ],
            log=LOGS / f"image-{name}.log",
            what=f"the image {tag}",
            env=environment,
            timeout=_BUILD,
        )


def _ensure_base(progress: Progress) -> None:
    if image_exists(base_image()):
        return
    if not image_exists(_PUBLISHED_BASE):
        with progress(f"asking for {_PUBLISHED_BASE}"):
            found = _pull(_PUBLISHED_BASE)
        if not found:
            _bootstrap_base(progress)
            return
    docker("tag", _PUBLISHED_BASE, base_image())


def _pull(tag: str) -> bool:
    """Whether the image could be pulled. A registry that says nothing for a while counts as out of reach."""
    log = LOGS / "image-base.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        child = subprocess.Popen(
            ["docker", "pull", tag], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )
        try:
            try:
                return child.wait(_REGISTRY_SILENCE) == 0
            except subprocess.TimeoutExpired:
                # `docker pull` writes its first line when the registry has answered.
                return log.stat().st_size > 0 and child.wait(_PULL) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def _bootstrap_base(progress: Progress) -> None:
    """The same release from Debian's packages, without a registry."""
    wanted = f"{_PUBLISHED_BASE} can't be pulled (no registry can be reached)"
    if os.geteuid() != 0:
        raise SetupError(
            f"{wanted}, and making it from Debian's packages needs root: "
            f"run `docker pull {_PUBLISHED_BASE}` where a registry can be reached, or this as root"
        )
    apt.ensure_commands(
        {"debootstrap": "debootstrap"},
        why=f"{wanted}; the lab's base is made from Debian's packages",
        progress=progress,
    )
    work = Path(tempfile.mkdtemp(dir=TOOLS, prefix="base-"))
    try:
        with progress("making the lab's base image from Debian's packages"):
            _import_base(work / "tree", work / "base.tar")
    finally:
        _unmount_below(work)
        shutil.rmtree(work)


def _import_base(tree: Path, packed: Path) -> None:
    run_logged(
        ["debootstrap", "--variant=minbase", _RELEASE, str(tree)],
        log=LOGS / "debootstrap.log",
        what="the lab's base image",
        timeout=_BUILD,
    )
    _forget_downloads(tree)
    run_logged(
        ["tar", "--numeric-owner", "-C", str(tree), "-cf", str(packed), "."],
        log=LOGS / "image-base-tar.log",
        what="packing the lab's base image",
        timeout=_BUILD,
    )
    docker("import", str(packed), base_image(), timeout=_BUILD)


def _unmount_below(folder: Path) -> None:
    """debootstrap mounts /proc in the tree and, killed, leaves it: nothing of that may be removed as files."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((m for m in mounted if Path(m).is_relative_to(folder)), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=True)


def _forget_downloads(tree: Path) -> None:
    """What apt keeps to save a later download only makes the image larger."""
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(tree / folder, ignore_errors=True)
