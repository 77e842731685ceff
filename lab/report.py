"""What every report in `build/` says besides its figures: the machine, the versions, official or stand-in."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolchain import doctor


def machine() -> dict[str, Any]:
    """The machine, without its name."""
    with Path("/proc/meminfo").open() as lines:
        memory = next((int(line.split()[1]) for line in lines if line.startswith("MemTotal")), 0)
    return {
        "cores": os.cpu_count(),
        "memory_mib": memory // 1024,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def parts() -> list[dict[str, str]]:
    """Each tool with its version, and whether it is official or a stand-in."""
    return [{"tool": row.tool, "version": row.version, "kind": row.kind} for row in doctor.rows()]


def write(path: Path, figures: Mapping[str, Any]) -> None:
    """Write the report whole."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"when": when, "machine": machine(), "parts": parts(), **figures}, indent=2, ensure_ascii=False)
    fresh = path.with_suffix(".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(path)
