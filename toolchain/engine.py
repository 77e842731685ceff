"""The Pulumi engine and its plugins: which one is used, and how it is found.

In this order, the first that provides everything wins:

1. `pulumi` on PATH, new enough for Pulumi.yaml, with the vendor's Python language host and provider plugins;
2. what an earlier set-up left in `.tools/engine/`;
3. the vendor's installer, with its plugins;
4. the engine alone, built from its tagged Go module. The language host and the providers are not published that way:
   then, and only then, the stand-ins of `offline/` take their place.

What was found is written to `.tools/engine/variant.json`, which is all that the other commands read.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from toolchain import versions
from toolchain.errors import SetupError
from toolchain.paths import ENGINE, LOGS, PROJECT_FILE, PULUMI_HOME, REQUIREMENTS, STAND_INS
from toolchain.process import CommandFailed, capture, run_logged
from toolchain.progress import Progress

Variant = Literal["official", "built"]

_RECORD = ENGINE / "variant.json"
_LANGUAGE_HOST = "pulumi-language-python"
# The providers that the program uses: plugin → the Python package whose pinned version is the plugin's.
_PROVIDERS = {"aws": "pulumi-aws", "command": "pulumi-command"}
_PLUGIN_TIMEOUT = 600.0


class Declined(Exception):
    """A source can't provide the engine. The text says why, and is shown when no source can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that was found: its version, the directory that goes on PATH, and where it came from."""

    variant: Variant
    version: str
    bin: Path
    origin: str


Source = Callable[[], Engine]


def first_that_provides(sources: Mapping[str, Source]) -> Engine:
    """Ask each source in order. Raises SetupError with every source's reason when none can provide the engine."""
    reasons: list[str] = []
    for name, source in sources.items():
        try:
            return source()
        except (Declined, CommandFailed) as reason:
            reasons.append(f"  {name}: {reason}")
    raise SetupError("no Pulumi engine could be had:\n" + "\n".join(reasons))


def requirement() -> str:
    """What Pulumi.yaml asks of the engine; the pinned SDK's version or newer where it asks nothing."""
    text = PROJECT_FILE.read_text() if PROJECT_FILE.exists() else ""
    return versions.required_engine(text) or f">={versions.show(pinned_version())}"


def pinned_version() -> versions.Version:
    """The version to install or build: the pinned SDK's."""
    return versions.pinned(REQUIREMENTS.read_text(), "pulumi")


def recorded() -> Engine | None:
    """The engine that the last set-up found, or None when there was none or it is gone."""
    try:
        record = json.loads(_RECORD.read_text())
        engine = Engine(
            variant=record["variant"], version=record["version"], bin=Path(record["bin"]), origin=record["origin"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return engine if (engine.bin / "pulumi").exists() else None


def record(engine: Engine) -> None:
    """Write down what was found, whole or not at all."""
    ENGINE.mkdir(parents=True, exist_ok=True)
    fresh = _RECORD.with_suffix(".new")
    fresh.write_text(json.dumps({**asdict(engine), "bin": str(engine.bin)}, indent=2) + "\n")
    fresh.replace(_RECORD)


def from_path(progress: Progress) -> Engine:
    """`pulumi` on PATH with its official plugins."""
    path = user_path(os.environ.get("PATH", ""))
    found = shutil.which("pulumi", path=path)
    if found is None:
        raise Declined("there is no `pulumi` on PATH")
    return official(Path(found).parent, path=path, origin="PATH", progress=progress)


def from_cache() -> Engine:
    """What an earlier set-up installed or built, when it is still what is wanted."""
    engine = recorded()
    if engine is None:
        raise Declined("nothing is cached")
    if engine.origin == "PATH":
        raise Declined("the last set-up used PATH's")
    version = versions.parse_version(engine.version)
    if version is None or not versions.satisfies(version, requirement()):
        raise Declined(f"the cached {engine.version} does not meet {requirement()}")
    if engine.variant == "built" and version != pinned_version():
        raise Declined(f"the cached {engine.version} is not the pinned SDK's version")
    if engine.variant == "official":
        missing = [name for name in _PROVIDERS if not _plugin_folder(name).is_dir()]
        if missing:
            raise Declined(f"its plugins are gone: {', '.join(missing)}")
    return engine


def official(bin_directory: Path, *, path: str, origin: str, progress: Progress) -> Engine:
    """The vendor's engine in `bin_directory`, once its version and its plugins are seen. Raises Declined."""
    program = bin_directory / "pulumi"
    version = versions.parse_version(capture([program, "version"], env=quiet_environment()) or "")
    if version is None:
        raise Declined(f"{program} does not tell its version")
    if not versions.satisfies(version, requirement()):
        raise Declined(f"{program} is {versions.show(version)}; Pulumi.yaml asks for {requirement()}")
    if shutil.which(_LANGUAGE_HOST, path=f"{bin_directory}{os.pathsep}{path}") is None:
        raise Declined(f"{program} has no {_LANGUAGE_HOST} beside it or on PATH")
    _install_plugins(program, progress)
    return Engine(variant="official", version=versions.show(version), bin=bin_directory, origin=origin)


def user_path(path: str) -> str:
    """PATH without this project's own directories, which `toolchain env` may have put there."""
    ours = {ENGINE.resolve(), STAND_INS.resolve()}
    kept = [entry for entry in path.split(os.pathsep) if entry and not _is_ours(Path(entry), ours)]
    return os.pathsep.join(kept)


def _is_ours(entry: Path, ours: set[Path]) -> bool:
    resolved = entry.resolve()
    return resolved in ours or ENGINE.resolve() in resolved.parents


def _install_plugins(program: Path, progress: Progress) -> None:
    pins = REQUIREMENTS.read_text()
    for name, package in _PROVIDERS.items():
        if _plugin_folder(name).is_dir():
            continue
        version = f"v{versions.show(versions.pinned(pins, package))}"
        with progress(f"installing Pulumi's {name} provider {version}"):
            run_logged(
                [program, "plugin", "install", "resource", name, version],
                log=LOGS / f"plugin-{name}.log",
                what=f"Pulumi's {name} provider",
                env=quiet_environment(),
                timeout=_PLUGIN_TIMEOUT,
            )
        if not _plugin_folder(name).is_dir():
            raise Declined(f"{program} installed its {name} provider, and {_plugin_folder(name)} is not there")


def _plugin_folder(name: str) -> Path:
    version = versions.show(versions.pinned(REQUIREMENTS.read_text(), _PROVIDERS[name]))
    return PULUMI_HOME / "plugins" / f"resource-{name}-v{version}"


def quiet_environment() -> dict[str, str]:
    """The environment for asking `pulumi` something: it writes nothing outside of the project and phones nobody."""
    return {**os.environ, "PULUMI_HOME": str(PULUMI_HOME), "PULUMI_SKIP_UPDATE_CHECK": "true"}
