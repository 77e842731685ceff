"""The OpenTelemetry collector with redisreceiver, built from its tagged Go modules for the lab's image.

`toolchain/collector/go.mod` and `go.sum` pin and verify every module. The binary lies in `.tools/collector/` beside a
digest of what it was built from. Where Go or its modules can't be had it is left out, and that is said: everything else
works without it.
"""

import hashlib
from pathlib import Path

from toolchain import golang, versions
from toolchain.errors import SetupError
from toolchain.paths import COLLECTOR, COLLECTOR_MODULE, LOGS
from toolchain.process import run_logged
from toolchain.progress import Progress, say

BINARY = COLLECTOR / "otelcol"
_DIGEST = COLLECTOR / "otelcol.sha256"
_RECEIVER = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/redisreceiver"
_BUILD_TIMEOUT = 1800.0


def ensure(progress: Progress) -> bool:
    """Have the collector's binary; False, after a line that says why, where it can't be built."""
    if is_current():
        return True
    try:
        _build(progress)
    except SetupError as reason:
        say(f"the OpenTelemetry collector can't be built, so the lab goes without it: {reason}")
        return False
    return True


def is_current() -> bool:
    """Whether the binary is there and was built from today's sources."""
    return BINARY.exists() and _DIGEST.exists() and _DIGEST.read_text() == source_digest()


def source_digest() -> str:
    """The digest of what it is built from."""
    digest = hashlib.sha256()
    for path in sorted(COLLECTOR_MODULE.iterdir()):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def version() -> str:
    """The version that is pinned."""
    return versions.show(versions.module_version(_go_mod(), _RECEIVER))


def _go_mod() -> str:
    return Path(COLLECTOR_MODULE / "go.mod").read_text()


def _build(progress: Progress) -> None:
    go = golang.program(versions.go_directive(_go_mod()), progress)
    COLLECTOR.mkdir(parents=True, exist_ok=True)
    _DIGEST.unlink(missing_ok=True)
    with progress(f"building the OpenTelemetry collector {version()} from its Go modules (about a minute)"):
        run_logged(
            [
                *(go, "build", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w -X main.version={version()}"),
                *("-o", BINARY, "."),
            ],
            log=LOGS / "collector-build.log",
            what="the collector's build",
            env=golang.environment(),
            cwd=COLLECTOR_MODULE,
            timeout=_BUILD_TIMEOUT,
        )
    _DIGEST.write_text(source_digest())
