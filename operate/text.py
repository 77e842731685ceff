"""A report for a terminal: one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from operate.report import Advice, Finding, Refusal, Report, Touched

_WIDTH = 120
_LABEL = 9


def as_text(report: Report) -> str:
    """The report in words, ending with its verdict."""
    blocks = ["\n".join(_finding(finding)) for finding in report.findings]
    if report.refusals:
        blocks.append("\n".join(["this pull request: REFUSED", *_reasons(report.refusals)]))
    return "\n\n".join([*blocks, f"{report.base} → {report.head}: {summary(report)}"]) + "\n"


def finding_text(finding: Finding) -> str:
    """One environment's part of a report."""
    return "\n".join(_finding(finding)) + "\n"


def summary(report: Report) -> str:
    """The verdict in a few words."""
    match report.verdict:
        case "refused":
            return "refused"
        case "allowed":
            return "allowed"
        case _:
            return "nothing changes in any environment"


def host_words(hosts: Iterable[Touched]) -> str:
    """The hosts in the order in which they are reached."""
    return ", ".join(
        f"{one.host} ({', '.join(one.runs)}{'; after ' + ', '.join(one.after) if one.after else ''})" for one in hosts
    )


def _finding(finding: Finding) -> Iterator[str]:
    verdict = {"allowed": "allowed", "refused": "REFUSED", "unchanged": "nothing to apply"}[finding.verdict]
    direction = f", a step {finding.direction}" if finding.direction != "-" else ""
    yield f"{finding.environment}: {verdict}{direction}"
    yield from _line("step", finding.step)
    yield from _reasons(finding.refusals)
    for advice in finding.now:
        yield from _advice("allowed" if advice == finding.now[0] else "", advice)
    if finding.hosts:
        yield from _line("hosts", host_words(finding.hosts))
    for label, sentences in (("traffic", finding.traffic), ("hosts ask", finding.unseen)):
        for number, sentence in enumerate(sentences):
            yield from _line(label if number == 0 else "", sentence)
    for advice in finding.undo:
        yield from _advice("undo", advice)
    if finding.page:
        yield from _line("runbook", ", ".join(finding.page))
    for note in finding.notes:
        yield from _line("note", note)


def _reasons(refusals: Iterable[Refusal]) -> Iterator[str]:
    for refusal in refusals:
        yield from _line("why", refusal.why)
        if refusal.todo:
            yield from _line("do", refusal.todo)


def _advice(label: str, advice: Advice) -> Iterator[str]:
    if advice.what:
        yield from _line(label, advice.what)
    if advice.command:
        yield f"  {'':{_LABEL}}   {advice.command}"


def _line(label: str, text: str) -> Iterator[str]:
    lead = f"  {label:{_LABEL}} "
    yield from _wrapped(text, lead, " " * len(lead))


def _wrapped(text: str, lead: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=lead, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
