"""What hosts say before and after a step, and at any time: `update.sh --preflight` and `update.sh --verify-only`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operate.remote import NOT_REACHED, Answer, Remote, remedy
from rollout.config import Configuration
from rollout.declared import Declared
from rollout.ledger import Record
from rollout.render import host_content, host_settings

PASSES, REFUSED, DOES_NOT_HOLD, BUSY = 0, 3, 4, 5
"""update.sh's exit codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One host's answer in words: `verdict` of it, `lines` behind it, and what to do where it is no answer.

    `revision` is the one that it verified, "" for none.
    """

    host: str
    code: int
    verdict: str
    lines: tuple[str, ...]
    todo: str = ""
    revision: str = ""

    @property
    def good(self) -> bool:
        """Whether it passes, or holds."""
        return self.code == PASSES

    @property
    def last(self) -> str:
        """Its last word, which is the reason where it is not good."""
        return (self.lines or ("no word",))[-1]

    @property
    def sentence(self) -> str:
        """Which host, the verdict, and its last word."""
        return f"{self.host} {self.verdict}: {self.last}"

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {
            "host": self.host,
            "good": self.good,
            "verdict": self.verdict,
            "code": self.code,
            "revision": self.revision,
            "lines": list(self.lines),
            "todo": self.todo,
        }


def texts(record: Record, following: Declared, hosts: Sequence[str]) -> dict[str, str]:
    """What each host would be told, with its next revision. Fingerprints stay empty: the host has those of its
    certificate, and those of one that is not issued yet nobody has."""
    return {
        host: host_settings(
            host_content(following, host),
            revision=str(int(record.revisions.get(host, "0")) + 1),
            certificate_sha256="",
            ca_sha256="",
        )
        for host in hosts
    }


def preflight(remote: Remote, configuration: Configuration, told: Mapping[str, str]) -> list[Said]:
    """Each host's answer now."""
    hosts = [host for host in configuration.hosts if host.name in told]
    seconds = configuration.ssh.timeout_seconds
    return [_before(answer) for answer in remote.ask(hosts, "--preflight -", told, seconds=seconds)]


def verify(remote: Remote, configuration: Configuration, revisions: Mapping[str, Collection[str]]) -> list[Said]:
    """Whether each of these hosts holds, on the wire, what it runs, and that this is one of its revisions here; without
    one, whichever it is."""
    hosts = [host for host in configuration.hosts if host.name in revisions]
    answers = remote.ask(hosts, "--verify-only", {}, seconds=configuration.ssh.timeout_seconds)
    return [_after(answer, revisions[answer.host]) for answer in answers]


def _before(answer: Answer) -> Said:
    lines = (*answer.out, *answer.err)
    if answer.code == PASSES:
        return Said(host=answer.host, code=PASSES, verdict="passes", lines=lines)
    if answer.code == REFUSED:
        return Said(host=answer.host, code=REFUSED, verdict="REFUSED", lines=lines)
    if answer.code == BUSY:
        return _busy(answer)
    return _no_answer(answer)


def _after(answer: Answer, revisions: Collection[str]) -> Said:
    if answer.code == BUSY:
        return _busy(answer)
    if answer.code in (REFUSED, DOES_NOT_HOLD):
        return Said(host=answer.host, code=answer.code, verdict="does NOT hold", lines=(*answer.out, *answer.err))
    if answer.code != PASSES:
        return _no_answer(answer)
    *checks, receipt = answer.out or ("none",)
    if revisions and receipt not in revisions:
        why = f"it verified revision {receipt}, and {' or '.join(sorted(revisions))} was applied"
        return Said(host=answer.host, code=REFUSED, verdict="holds something else", lines=(why,), revision=receipt)
    verdict = f"holds revision {receipt}"
    return Said(host=answer.host, code=PASSES, verdict=verdict, lines=tuple(checks), revision=receipt)


def _busy(answer: Answer) -> Said:
    lines = (*answer.out, *answer.err)
    return Said(host=answer.host, code=BUSY, verdict="is busy", lines=lines, todo="wait for its update to end")


def _no_answer(answer: Answer) -> Said:
    return Said(
        host=answer.host,
        code=answer.code or NOT_REACHED,
        verdict="can't be asked",
        lines=(*answer.out, *answer.err)[-4:],
        todo=remedy(answer),
    )
