"""What a start of one container now would come to, as values: what was tried, what would happen, whom it reaches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from operate.hops import Hop
from operate.running import done_here

Verdict = Literal["serves", "otherwise", "fails", "unknown"]
Weight = Literal["note", "unknown", "otherwise", "fails"]
"""How much a finding weighs, the least first. `note`: a start serves all the same. `otherwise`: it serves, and not what
was verified. `fails`: it would leave a hop without an answer, or not run."""

WEIGHTS: tuple[Weight, ...] = ("note", "unknown", "otherwise", "fails")

COMES_BACK = ("always", "unless-stopped")
"""Docker's restart policies that start a container after a reboot of its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something against a start. `tried` is how it was found, `would` what would happen, `hops` those that would then
    fail, `mend` the one command, or a sentence where there is none."""

    weight: Weight
    tried: str
    would: str
    mend: str
    hops: tuple[Hop, ...] = ()

    @property
    def here(self) -> bool:
        """Whether `mend` is done in the project's folder; else on the host."""
        return done_here(self.mend)

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {
            "weight": self.weight,
            "tried": self.tried,
            "would": self.would,
            "breaks": [str(hop) for hop in self.hops],
            "mend": self.mend,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One container's start. `runs` is a server's role, `otel` or an app; `proof` how the start was proved; `serves`
    what it would serve, in words."""

    host: str
    container: str
    runs: str
    proof: str
    serves: str
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """By the finding that weighs most."""
        worst: Weight = "note"
        for one in self.findings:
            worst = max(worst, one.weight, key=WEIGHTS.index)
        return "serves" if worst == "note" else worst

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {
            "host": self.host,
            "container": self.container,
            "runs": self.runs,
            "proof": self.proof,
            "verdict": self.verdict,
            "serves": self.serves,
            "findings": [one.to_plain() for one in self.findings],
        }


def after_a_reboot(container: str, policy: str) -> Iterable[Finding]:
    """What docker would do with the container when its host starts."""
    if policy not in COMES_BACK:
        yield Finding(
            weight="note",
            tried=f"the restart policy of {container} is {policy or 'not set'}",
            would="a reboot of the host would not start it again",
            mend=f"docker update --restart unless-stopped {container}    (and `restart:` in its compose file)",
        )
