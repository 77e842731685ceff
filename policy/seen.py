"""What one run of the pack remembers from resource to resource.

The engine shows a resource after everything that its inputs come from. So the ledger is seen before any host is told
anything; a host command that comes without it is not rendered from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rollout.ledger import Record
from rollout.moves import describe
from rollout.steps import GENERATION


@dataclass(slots=True, kw_only=True)
class Seen:
    """`at_up` is False in a preview, where values may be unknown honestly.

    `record` is the accepted ledger's; it stays None where the ledger refused or can't be read. Fingerprints are
    lower-case hex SHA-256 of the DER, "" while none was seen. `notices` are told by the advisory policy, each once.
    """

    at_up: bool
    ledger_urn: str = ""
    record: Record | None = None
    secret_names: dict[str, str] = field(default_factory=dict)
    ca_pem: str = ""
    ca_sha256: str = ""
    certificate_sha256: str = ""
    told_sha256: str = ""
    notices: list[str] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    @property
    def issued(self) -> bool:
        """Whether the ledger's last attempt has a certificate."""
        return self.record is not None and self.record.attempted.settings[GENERATION] != "0"

    @property
    def protected(self) -> bool:
        """Whether the environment is marked `protected`."""
        return self.record is not None and self.record.attempted.site.protected

    @property
    def going_back(self) -> bool:
        """Whether the ledger's last move takes a step back, which nothing but an unusable state may block."""
        if self.record is None:
            return False
        before, after = self.record.confirmed, self.record.attempted
        return before == after or describe(before, after).direction == "back"

    @property
    def issuing(self) -> bool:
        """Whether the ledger's last move is one to another certificate."""
        if self.record is None:
            return False
        move = describe(self.record.confirmed, self.record.attempted)
        return bool(move.reissue) or (move.key == GENERATION and move.direction == "forward")

    def notice(self, text: str) -> None:
        """Remembers what is told and stops nothing."""
        if text not in self._told:
            self._told.add(text)
            self.notices.append(text)

    def take_notices(self) -> list[str]:
        """What was remembered since the last time."""
        taken, self.notices = self.notices, []
        return taken
