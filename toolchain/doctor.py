"""`make doctor`: what was found. Each tool, its version, its place, and whether it is official or a stand-in."""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolchain import collector, dockerd, engine, env, python_env, versions
from toolchain.paths import ENGINE, PULUMI_HOME, REQUIREMENTS, ROOT, STAND_INS, VENV
from toolchain.process import capture

Kind = Literal["official", "stand-in", "—"]

_LINTERS = ("ruff", "mypy", "shellcheck", "shfmt")
_PLUGINS = (
    ("language host", "pulumi-language-python", ""),
    ("command provider", "pulumi-resource-command", "pulumi-command"),
    ("aws provider", "pulumi-resource-aws", "pulumi-aws"),
)
_SET_UP = "run `make setup`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One tool. `advice` is empty when all is well; else it says what to do."""

    tool: str
    version: str = "—"
    where: str = "—"
    kind: Kind = "—"
    advice: str = ""


def report() -> int:
    """Print the table; 1 when anything is missing, else 0."""
    found = rows()
    print(table(found))
    missing = [row for row in found if row.advice]
    if missing:
        print(f"\n{len(missing)} of {len(found)} missing.")
    return 1 if missing else 0


def rows() -> list[Row]:
    """What was found, a row a tool."""
    return [*_python(), *_engine(), *_docker(), *_lab(), *_linters()]


def table(rows: Iterable[Row]) -> str:
    """The rows as aligned columns, with a heading."""
    heading = ("tool", "version", "where", "kind", "state")
    cells = [
        heading,
        *((r.tool, r.version, r.where, r.kind, f"missing: {r.advice}" if r.advice else "ok") for r in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)


def _python() -> list[Row]:
    own = Row(tool="Python", version=sys.version.split()[0], where=sys.executable, kind="official")
    if not python_env.is_current():
        return [own, Row(tool="pinned packages", where=_short(VENV), advice=_SET_UP)]
    count = sum("==" in line for line in REQUIREMENTS.read_text().splitlines())
    return [own, Row(tool="pinned packages", version=f"{count} packages", where=_short(VENV), kind="official")]


def _engine() -> list[Row]:
    found = engine.recorded()
    if found is None:
        return [Row(tool=name, advice=_SET_UP) for name in ("Pulumi engine", *(plugin[0] for plugin in _PLUGINS))]
    version = versions.parse_version(capture([found.bin / "pulumi", "version"], env=engine.quiet_environment()) or "")
    cli = Row(
        tool="Pulumi engine",
        version=versions.show(version) if version else "—",
        where=f"{_short(found.bin / 'pulumi')} ({found.origin})",
        kind="official",
        advice="" if version else f"{found.bin / 'pulumi'} does not run: delete {ENGINE} and {_SET_UP}",
    )
    plugins = _stand_ins() if found.variant == "built" else _official_plugins(found)
    return [cli, *plugins]


def _stand_ins() -> list[Row]:
    rows: list[Row] = []
    for name, program, _package in _PLUGINS:
        path = STAND_INS / program
        advice = "" if path.exists() else f"{_short(path)} belongs to this project: check it out again"
        rows.append(Row(tool=name, version="this project's", where=_short(path), kind="stand-in", advice=advice))
    return rows


def _official_plugins(found: engine.Engine) -> list[Row]:
    rows: list[Row] = []
    path = env.variables(found, path="")["PATH"]
    pins = REQUIREMENTS.read_text()
    for name, program, package in _PLUGINS:
        if not package:
            where = shutil.which(program, path=path) or shutil.which(program)
            version = found.version
        else:
            version = versions.show(versions.pinned(pins, package))
            folder = PULUMI_HOME / "plugins" / f"{program.removeprefix('pulumi-')}-v{version}"
            where = str(folder) if folder.is_dir() else None
        rows.append(
            Row(
                tool=name,
                version=version,
                where=_short(Path(where)) if where else "—",
                kind="official",
                advice="" if where else _SET_UP,
            )
        )
    return rows


def _docker() -> list[Row]:
    client = shutil.which("docker")
    version = dockerd.server_version()
    ours = dockerd.our_daemon()
    started = f" (started by this project, process {ours})" if ours else ""
    docker = Row(
        tool="Docker",
        version=version or "—",
        where=f"{client or '—'}{started}",
        kind="official",
        advice="" if version else "start Docker, or run `make setup` as root on Debian or Ubuntu",
    )
    compose = Row(
        tool="Compose v2", version="Debian's", where="in the lab's hosts; none is needed here", kind="official"
    )
    return [docker, compose]


def _lab() -> list[Row]:
    return [
        Row(tool="PostgreSQL, PgBouncer, Redis", version="17, 1.24, 8.0", where="the lab's image", kind="official"),
        Row(tool="Kamailio, HAProxy, SIPp", version="6.0, 3.0, 3.7", where="the lab's images", kind="official"),
        _collector(),
        Row(tool="Secrets Manager", version="moto", where="a container of the lab", kind="stand-in"),
        Row(tool="published ports", version="iptables, socat", where="in the lab's hosts", kind="stand-in"),
    ]


def _collector() -> Row:
    """Built here from the vendor's own sources; the lab works without it."""
    if not collector.is_current():
        return Row(tool="OpenTelemetry collector", advice=f"the lab goes without it; {_SET_UP} where Go can be had")
    return Row(
        tool="OpenTelemetry collector",
        version=collector.version(),
        where=f"{_short(collector.BINARY)} (built from its Go modules)",
        kind="official",
    )


def _linters() -> list[Row]:
    rows: list[Row] = []
    for name in _LINTERS:
        path = VENV / "bin" / name
        version = versions.parse_version(_version_line(capture([path, "--version"])))
        rows.append(
            Row(
                tool=name,
                version=versions.show(version) if version else "—",
                where=_short(path),
                kind="official",
                advice="" if version else _SET_UP,
            )
        )
    return rows


def _version_line(text: str | None) -> str:
    """shellcheck names itself on the first line and its version on the second."""
    return " ".join((text or "").splitlines()[:2])


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
