"""A report for a terminal: one screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from operate import table
from operate.asking import BUSY, Said
from operate.palette import PLAIN, Palette
from operate.report import Advice, Finding, Refusal, Report, Touched, Verdict
from operate.table import Paint

_LABEL = 9


def as_text(report: Report, palette: Palette = PLAIN) -> str:
    """The report in words, ending with its verdict."""
    blocks = ["\n".join(_finding(finding, palette)) for finding in report.findings]
    if report.refusals:
        head = f"this pull request: {palette.bad('REFUSED')}"
        blocks.append("\n".join([head, *_reasons(report.refusals, palette)]))
    verdict = _painted(report.verdict, palette)(summary(report))
    return "\n\n".join([*blocks, f"{report.base} → {report.head}: {verdict}"]) + "\n"


def finding_text(finding: Finding, palette: Palette = PLAIN) -> str:
    """One environment's part of a report."""
    return "\n".join(_finding(finding, palette)) + "\n"


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


def wrapped(text: str, lead: str, paint: Paint = str) -> list[str]:
    """The text in lines of a screen's width: the first behind `lead`, further ones below where it began."""
    lines = table.wrapped(text, first=lead, further=" " * len(lead))
    return [line[: len(lead)] + paint(line[len(lead) :]) for line in lines]


def labelled(label: str, text: str, paint: Paint = str) -> list[str]:
    """The text behind a label."""
    return wrapped(text, f"  {label:{_LABEL}} ", paint)


def paint_of(answer: Said, palette: Palette) -> Paint:
    """How a host's verdict is painted; one that is busy may be good a little later."""
    return palette.good if answer.good else palette.doubtful if answer.code == BUSY else palette.bad


def _finding(finding: Finding, palette: Palette) -> Iterator[str]:
    verdict = {"allowed": "allowed", "refused": "REFUSED", "unchanged": "nothing to apply"}[finding.verdict]
    direction = f", a step {finding.direction}" if finding.direction != "-" else ""
    yield f"{palette.strong(finding.environment)}: {_painted(finding.verdict, palette)(verdict)}{direction}"
    yield from labelled("step", finding.step, palette.strong)
    yield from _reasons(finding.refusals, palette)
    for advice in finding.now:
        yield from _advice("allowed" if advice == finding.now[0] else "", advice, palette)
    if finding.hosts:
        yield from labelled("hosts", host_words(finding.hosts))
    for label, sentences in (("traffic", finding.traffic), ("hosts ask", finding.unseen)):
        for number, sentence in enumerate(sentences):
            yield from labelled(label if number == 0 else "", sentence)
    for advice in finding.undo:
        yield from _advice("undo", advice, palette)
    if finding.page:
        yield from labelled("runbook", ", ".join(finding.page))
    for note in finding.notes:
        yield from labelled("note", note, palette.faint)


def _reasons(refusals: Iterable[Refusal], palette: Palette) -> Iterator[str]:
    for refusal in refusals:
        yield from labelled("why", refusal.why, palette.bad)
        if refusal.todo:
            yield from labelled("do", refusal.todo)


def _advice(label: str, advice: Advice, palette: Palette) -> Iterator[str]:
    if advice.what:
        yield from labelled(label, advice.what)
    if advice.command:
        yield f"  {'':{_LABEL}}   {palette.strong(advice.command)}"


def _painted(verdict: Verdict, palette: Palette) -> Paint:
    return {"allowed": palette.good, "refused": palette.bad, "unchanged": palette.faint}[verdict]
