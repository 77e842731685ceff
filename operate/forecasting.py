"""Would a restart of each container right now still serve every hop, and which certificate ends first? Pure.

Answered from `update.sh --report --restart` of every host. A host that did not answer is not judged: see `unasked`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from operate.app_start import app_outlooks, collector_outlook
from operate.differences import ways_of
from operate.evidence import NEVER
from operate.expiry import Expiry, expiries
from operate.hops import Hop, hops, in_force
from operate.outlook import Outlook
from operate.running import Ways
from operate.served import HostReport
from operate.server_start import server_outlook
from rollout.declared import Declared
from rollout.steps import GENERATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """`outlooks` are in the order of hosts; `expiries` the first to end first. `silent` maps a host without anything to
    judge to the reason. `reissue` is the command that issues a new server certificate."""

    outlooks: tuple[Outlook, ...]
    expiries: tuple[Expiry, ...]
    silent: Mapping[str, str]
    reissue: str

    @property
    def holds(self) -> bool:
        """Whether nothing was found against any start, and no certificate that is served has ended."""
        return not any(one.verdict in ("otherwise", "fails") for one in self.outlooks) and not any(
            one.days < 0 and one.breaks for one in self.expiries
        )

    @property
    def certain(self) -> bool:
        """Whether every container could be judged."""
        return not any(one.verdict == "unknown" for one in self.outlooks)

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {
            "holds": self.holds,
            "certain": self.certain,
            "containers": [one.to_plain() for one in self.outlooks],
            "certificates": [one.to_plain() for one in self.expiries],
            "reissue": self.reissue,
            "withoutContainers": dict(self.silent),
        }


def forecast(declared: Declared, reports: Mapping[str, HostReport], *, now: datetime, stack: str) -> Forecast:
    """The forecast of these hosts. `now` is in UTC; `stack` is for the command that reissues."""
    settings = in_force(declared, reports)
    every = hops(declared, settings)
    following = str(max(int(settings[GENERATION]), int(declared.settings[GENERATION])) + 1)
    return Forecast(
        outlooks=tuple(
            outlook
            for host, report in reports.items()
            for outlook in _of_host(
                host, report, declared, settings, every, ways_of(stack, declared.hosts.get(host), report.record)
            )
        ),
        expiries=expiries(reports, every, now),
        silent={host: why for host, report in reports.items() if (why := _silent(report))},
        reissue=ways_of(stack, None, None).take(GENERATION, following),
    )


def _silent(report: HostReport) -> str:
    if report.record is None:
        return f"{NEVER}: it has no step to lose"
    return report.problem


def _of_host(
    host: str,
    report: HostReport,
    declared: Declared,
    settings: Mapping[str, str],
    every: tuple[Hop, ...],
    ways: Ways,
) -> Iterator[Outlook]:
    for server in report.servers.values():
        yield server_outlook(host, report, server, every, ways)
    if report.collector is not None:
        yield collector_outlook(host, report.collector, every, ways)
    for app in report.apps:
        yield from app_outlooks(host, app, declared, settings, every, ways)
