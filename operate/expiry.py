"""Which certificate ends first, where it is, and what that breaks. Pure: the time is an argument.

Servers load and serve a certificate that has ended without complaint; only whoever verifies it fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from operate.hops import Hop, verifying
from operate.served import Certificate, HostReport
from rollout.steps import SERVER_ROLES

Kind = Literal["CA", "server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """One certificate, wherever it is: `served` by which servers (role, host), `on_disk` of which hosts.

    `days` left are whole ones, negative once it has ended. `breaks` are the hops that then fail; `unaware` those that
    use TLS, verify nothing and go on.
    """

    kind: Kind
    certificate: Certificate
    days: int
    served: tuple[tuple[str, str], ...]
    on_disk: tuple[str, ...]
    breaks: tuple[Hop, ...]
    unaware: tuple[Hop, ...]

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        ends = self.certificate.not_after
        return {
            "kind": self.kind,
            "serial": self.certificate.serial,
            "sha256": self.certificate.sha256,
            "notAfter": ends.isoformat() if ends else None,
            "daysLeft": self.days,
            "served": [{"server": role, "host": host} for role, host in self.served],
            "onDisk": list(self.on_disk),
            "breaks": [str(hop) for hop in self.breaks],
            "unaware": [str(hop) for hop in self.unaware],
        }


def expiries(reports: Mapping[str, HostReport], every: Iterable[Hop], now: datetime) -> tuple[Expiry, ...]:
    """Every certificate that was seen, the first to end first. Where the day is not known it is left out."""
    every = tuple(every)
    found: dict[tuple[Kind, str], list[tuple[Certificate, str, str]]] = {}
    for kind, certificate, role, host in _seen(reports):
        found.setdefault((kind, certificate.sha256), []).append((certificate, role, host))
    serving = {role for report in reports.values() for role, server in report.servers.items() if server.served}
    listed = []
    for (kind, _), places in found.items():
        certificate = places[0][0]
        days = certificate.days_left(now)
        if days is None:
            continue
        served = tuple((role, host) for _, role, host in places if role)
        # Whoever verifies asks for both: the chain ends with its CA.
        roles = {role for role, _ in served} if kind == "server" else serving
        breaks = verifying(every, roles)
        listed.append(
            Expiry(
                kind=kind,
                certificate=certificate,
                days=days,
                served=served,
                on_disk=tuple(host for _, role, host in places if not role),
                breaks=breaks,
                unaware=tuple(
                    hop
                    for hop in every
                    if hop.server in roles and hop.needs != "plaintext" and not hop.verifies and hop not in breaks
                ),
            )
        )
    return tuple(sorted(listed, key=lambda one: (one.certificate.not_after or now, one.kind)))


def _seen(reports: Mapping[str, HostReport]) -> Iterator[tuple[Kind, Certificate, str, str]]:
    for host, report in reports.items():
        for role in SERVER_ROLES:
            server = report.servers.get(role)
            if server and server.served:
                yield "server", server.served.certificate, role, host
        if report.files and report.files.server:
            yield "server", report.files.server, "", host
        if report.files and report.files.ca:
            yield "CA", report.files.ca, "", host
