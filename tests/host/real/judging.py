"""What `operate drift` makes of a real host's report, and its commands run on that host."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from operate.differences import Declaration, Difference, find
from operate.served import read_report
from tests.host.real.real_host import PASSWORD, RealHost
from tests.operate.pull_requests import EXAMPLE, declared
from tests.waiting import wait_until


def report(real: RealHost, *options: str) -> dict[str, Any]:
    """The host's own report."""
    done = real.run("/opt/voiceai/update.sh", "--report", *options)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def judged(told: Mapping[str, Any], here: Mapping[str, str]) -> tuple[Difference, ...]:
    """What differs where these settings are declared."""
    example = declared("staging", EXAMPLE)
    settings = {key: {"PREPARED": "on", **here}.get(key, value) for key, value in example.settings.items()}
    file = replace(example, settings=settings, site=replace(example.site, environment="lab")).as_kept()
    declaration = Declaration(stack="lab", file=file, known=None, why_unread="there is none")
    return find(declaration, {"database": read_report(json.dumps(told))}).differences


def reconciled(real: RealHost, found: tuple[Difference, ...], here: Mapping[str, str]) -> None:
    """Run the commands that were named, each once; nothing differs afterwards, at the next start neither."""
    for command in dict.fromkeys(one.reconcile for one in found):
        done = real.run("sh", "-c", command)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def nothing_differs() -> bool:
        left = judged(report(real, "--restart"), here)
        print("left:", [(one.key, one.declared, one.served, one.why) for one in left])
        return left == ()

    wait_until("nothing differs", nothing_differs, seconds=60)
