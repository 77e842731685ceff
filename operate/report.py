"""What a check found, as data: what is printed, and what `--json` gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rollout.reader import Problem
from rollout.rules import Violation

Verdict = Literal["allowed", "refused", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason: the config key to look at ("" for none), why, and what to do ("" where `why` says it)."""

    key: str
    why: str
    todo: str

    @classmethod
    def of_violation(cls, violation: Violation) -> Refusal:
        """A rule's."""
        return cls(key=violation.key, why=f"{violation.asked}: {violation.so}", todo=violation.todo)

    @classmethod
    def of_problem(cls, problem: Problem, file: str) -> Refusal:
        """The parser's, of this file."""
        return cls(key=problem.key, why=str(problem), todo=f"correct {problem.key} in {file}")

    @classmethod
    def of_sentence(cls, sentence: str) -> Refusal:
        """The ledger's: what to do stands behind its colon."""
        why, colon, todo = sentence.rpartition(": ")
        return cls(key="", why=why if colon else sentence, todo=todo if colon else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A host that the step reaches: what it runs, and the hosts that must confirm the step before it is reached."""

    host: str
    runs: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A command, and what it is for."""

    what: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One environment. `step` is the line of a preview; `direction` forward, back or `-`.

    `unseen` is what no config shows and hosts ask for; `undo` how to go back; `now` what is allowed instead, where it
    is refused. `moves` says whether it takes a place in the order of deploys.
    """

    environment: str
    file: str
    verdict: Verdict
    step: str
    direction: str = "-"
    moves: bool = False
    hosts: tuple[Touched, ...] = ()
    traffic: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    undo: tuple[Advice, ...] = ()
    page: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    now: tuple[Advice, ...] = ()
    notes: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {
            "environment": self.environment,
            "file": self.file,
            "verdict": self.verdict,
            "step": self.step,
            "direction": self.direction,
            "hosts": [{"host": one.host, "runs": list(one.runs), "after": list(one.after)} for one in self.hosts],
            "traffic": list(self.traffic),
            "hostsAskFor": list(self.unseen),
            "undo": [{"what": one.what, "command": one.command} for one in self.undo],
            "runbook": list(self.page),
            "refusals": _refusals(self.refusals),
            "allowedNow": [{"what": one.what, "command": one.command} for one in self.now],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole check. `refusals` are those of the pull request as a whole."""

    base: str
    head: str
    findings: tuple[Finding, ...]
    refusals: tuple[Refusal, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """`refused` where anything is, `unchanged` where no environment changes."""
        if self.refusals or any(finding.verdict == "refused" for finding in self.findings):
            return "refused"
        return "allowed" if any(finding.verdict == "allowed" for finding in self.findings) else "unchanged"

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data. `changed` lists the environments that a deploy has to apply."""
        return {
            "verdict": self.verdict,
            "base": self.base,
            "head": self.head,
            "changed": [one.environment for one in self.findings if one.verdict != "unchanged"],
            "refusals": _refusals(self.refusals),
            "environments": [finding.to_plain() for finding in self.findings],
        }


def _refusals(refusals: tuple[Refusal, ...]) -> list[dict[str, str]]:
    return [{"key": one.key, "why": one.why, "todo": one.todo} for one in refusals]
