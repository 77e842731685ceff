"""The images that the lab's images are built from: Debian's published slim ones where a registry can be reached.

Where none can, the same release is bootstrapped from Debian's packages, which needs root and the package `debootstrap`.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.containers import docker, image_exists
from toolchain import apt
from toolchain.errors import SetupError
from toolchain.paths import LOGS, TOOLS
from toolchain.process import run_logged
from toolchain.progress import Progress

PREFIX = "internal-tls-lab"
RELEASE = "trixie"

# How long a registry may stay silent before it counts as out of reach, and how long a whole download may take, seconds.
_REGISTRY_SILENCE = 20.0
_PULL = 600.0
_BOOTSTRAP = 1200.0


def tag(release: str) -> str:
    """The tag that images are built from, wherever it came from."""
    return f"{PREFIX}-base:{release}"


def _published(release: str) -> str:
    return f"debian:{release}-slim"


def ensure(release: str, progress: Progress) -> None:
    """Have the base of that release. Raises SetupError that says what to do where it can't be had."""
    if image_exists(tag(release)):
        return
    published = _published(release)
    if not image_exists(published):
        with progress(f"asking for {published}"):
            found = _pull(published)
        if not found:
            _bootstrap(release, progress)
            return
    docker("tag", published, tag(release))


def _pull(image: str) -> bool:
    """Whether the image could be pulled. A registry that says nothing for a while counts as out of reach."""
    log = LOGS / "image-base.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        child = subprocess.Popen(
            ["docker", "pull", image], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
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


def _bootstrap(release: str, progress: Progress) -> None:
    """The same release from Debian's packages, without a registry."""
    wanted = f"{_published(release)} can't be pulled (no registry can be reached)"
    if os.geteuid() != 0:
        raise SetupError(
            f"{wanted}, and making it from Debian's packages needs root: "
            f"run `docker pull {_published(release)}` where a registry can be reached, or this as root"
        )
    apt.ensure_commands(
        {"debootstrap": "debootstrap"},
        why=f"{wanted}; the lab's base is made from Debian's packages",
        progress=progress,
    )
    work = Path(tempfile.mkdtemp(dir=TOOLS, prefix="base-"))
    try:
        with progress(f"making the lab's base image {release} from Debian's packages"):
            _import(release, work / "tree", work / "base.tar")
    finally:
        _unmount_below(work)
        shutil.rmtree(work)


def _import(release: str, tree: Path, packed: Path) -> None:
    run_logged(
        ["debootstrap", "--variant=minbase", release, str(tree)],
        log=LOGS / "debootstrap.log",
        what="the lab's base image",
        timeout=_BOOTSTRAP,
    )
    _forget_downloads(tree)
    run_logged(
        ["tar", "--numeric-owner", "-C", str(tree), "-cf", str(packed), "."],
        log=LOGS / "image-base-tar.log",
        what="packing the lab's base image",
        timeout=_BOOTSTRAP,
    )
    docker("import", str(packed), tag(release), timeout=_BOOTSTRAP)


def _unmount_below(folder: Path) -> None:
    """debootstrap mounts /proc in the tree and, killed, leaves it: nothing of that may be removed as files."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((m for m in mounted if Path(m).is_relative_to(folder)), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=True)


def _forget_downloads(tree: Path) -> None:
    """What apt keeps to save a later download only makes the image larger."""
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(tree / folder, ignore_errors=True)
