"""The engine built from its tagged Go module, for where the vendor's downloads can't be reached.

`toolchain/engine/go.mod` and `go.sum` pin and verify every module.
"""

import shutil
from pathlib import Path

from toolchain import golang, versions
from toolchain.engine import Engine
from toolchain.paths import ENGINE, ENGINE_MODULE, GO_CACHE, LOGS
from toolchain.process import run_logged
from toolchain.progress import Progress

_CLI = "github.com/pulumi/pulumi/pkg/v3"
_SDK = "github.com/pulumi/pulumi/sdk/v3"
_BUILD_TIMEOUT = 3600.0
# What a language host starts, published in the SDK's module beside the Go sources.
_PYTHON_SIDE = ("cmd/pulumi-language-python-exec", "dist/pulumi-resource-pulumi-python")


def build(progress: Progress) -> Engine:
    """Build the engine into `.tools/engine/`. Raises CommandFailed."""
    go_mod = (ENGINE_MODULE / "go.mod").read_text()
    version = versions.show(versions.module_version(go_mod, _CLI))
    go = golang.program(versions.go_directive(go_mod), progress)
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
            env=golang.environment(),
            cwd=ENGINE_MODULE,
            timeout=_BUILD_TIMEOUT,
        )
    _copy_python_side(version)
    fresh.replace(ENGINE / "pulumi")
    return Engine(variant="built", version=version, bin=ENGINE, origin="built from its tagged Go module")


def _copy_python_side(version: str) -> None:
    source = GO_CACHE / "mod" / f"{_SDK}@v{version}" / "python"
    for name in _PYTHON_SIDE:
        target = ENGINE / Path(name).name
        fresh = target.with_name(f"{target.name}.new")
        shutil.copyfile(source / name, fresh)
        fresh.chmod(0o755)
        fresh.replace(target)
