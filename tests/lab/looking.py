"""`operate status` and `operate drift` on the lab: looked at, one difference planted, and its own command run."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from lab.layout import HOSTS
from lab.walk import Walker


def looked(walker: Walker, *arguments: str, code: int = 0, config: Path | None = None) -> str:
    """A command's standard output; how long it took is printed."""
    environment = {**os.environ, **walker.lab.environment()}
    if config:
        environment["PULUMI_OPTION_CONFIG_FILE"] = str(config)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "operate", *arguments],
        cwd=walker.lab.layout.project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    print(f"operate {' '.join(arguments)}: {time.monotonic() - begun:.2f} s")
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def told(walker: Walker, *arguments: str, code: int = 0, config: Path | None = None) -> dict[str, Any]:
    """Its JSON."""
    return dict(json.loads(looked(walker, *arguments, "--json", code=code, config=config)))


def with_unreachable(walker: Walker, host: str, folder: Path) -> Path:
    """The stack's config with a wrong port for the host."""
    document = yaml.safe_load(walker.lab.layout.stack_config.read_text())
    document["config"]["internal-tls:hosts"][host]["port"] = 1
    file = folder / walker.lab.layout.stack_config.name
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def look_and_reconcile(walker: Walker, folder: Path, *, postgres: int) -> None:
    """Where the lab stands at this step of Postgres's track; an edited file is found, and mended as drift says."""
    print(looked(walker, "status"))
    seen = told(walker, "status")
    assert {one["track"]: (one["least"], one["most"]) for one in seen["positions"]}["postgres"] == (postgres, postgres)
    assert seen["differences"] == seen["unanswered"] == []
    assert {one["host"] for one in seen["hops"]} == {*HOSTS}
    assert any(one["sessions"]["plaintext"] for one in seen["clients"])

    walker.lab.run("database", "sh", "-c", "echo '# by hand' >>/etc/voiceai/redis/tls.conf")
    unreachable = with_unreachable(walker, "worker", folder)
    found = told(walker, "drift", code=1, config=unreachable)
    (edited,) = found["differences"]
    assert (edited["host"], edited["key"]) == ("database", "/etc/voiceai/redis/tls.conf")
    assert [one["host"] for one in found["unanswered"]] == ["worker"]
    walker.lab.run(edited["reconcile"]["on"], "sh", "-c", edited["reconcile"]["command"])
    assert looked(walker, "drift").startswith("lab: nothing differs")
