"""What the hosts of a step say before and after it: `update.sh --preflight` and `update.sh --verify-only`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from operate.remote import NOT_REACHED, TIMED_OUT, Answer, Remote, remedy
from rollout.config import Configuration
from rollout.declared import Declared
from rollout.ledger import Record
from rollout.render import host_content, host_settings

PASSES, REFUSED, BUSY = 0, 3, 5
"""update.sh's exit codes."""
_VERIFY_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One host's answer in words: `verdict` of it, `lines` behind it, and what to do where it is no answer."""

    host: str
    code: int
    verdict: str
    lines: tuple[str, ...]
    todo: str = ""

    @property
    def good(self) -> bool:
        """Whether it passes, or holds."""
        return self.code == PASSES


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


def verify(remote: Remote, configuration: Configuration, revisions: Mapping[str, str]) -> list[Said]:
    """Whether each host holds, on the wire, the revision that it was given."""
    hosts = [host for host in configuration.hosts if host.name in revisions]
    answers = remote.ask(hosts, "--verify-only", {}, seconds=_VERIFY_SECONDS)
    return [_after(answer, revisions[answer.host]) for answer in answers]


def _before(answer: Answer) -> Said:
    lines = (*answer.out, *answer.err)
    if answer.code == PASSES:
        return Said(host=answer.host, code=PASSES, verdict="passes", lines=lines)
    if answer.code == REFUSED:
        return Said(host=answer.host, code=REFUSED, verdict="REFUSED", lines=lines)
    if answer.code == BUSY:
        return Said(host=answer.host, code=BUSY, verdict="is busy", lines=lines, todo="wait for its update to end")
    return _no_answer(answer)


def _after(answer: Answer, revision: str) -> Said:
    if answer.code != PASSES:
        if answer.code == BUSY:
            return _before(answer)
        if answer.code in (NOT_REACHED, TIMED_OUT):
            return _no_answer(answer)
        return Said(host=answer.host, code=answer.code, verdict="does NOT hold", lines=(*answer.out, *answer.err))
    *checks, receipt = answer.out or ("none",)
    if receipt != revision:
        why = f"it verified revision {receipt}, and {revision} was applied"
        return Said(host=answer.host, code=REFUSED, verdict="holds something else", lines=(why,))
    return Said(host=answer.host, code=PASSES, verdict=f"holds revision {receipt}", lines=tuple(checks))


def _no_answer(answer: Answer) -> Said:
    return Said(
        host=answer.host,
        code=answer.code or NOT_REACHED,
        verdict="can't be asked",
        lines=(*answer.out, *answer.err)[-4:],
        todo=remedy(answer),
    )
