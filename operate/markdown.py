"""Markdown for a comment or a job summary: a check's report, and the parts that other commands use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from operate.report import Advice, Finding, Refusal, Report
from operate.text import host_words, summary

_SIGN = {"allowed": "✅", "refused": "⛔", "unchanged": "▫️"}
_CELL = 300


def as_markdown(report: Report) -> str:
    """The report, a heading for each environment."""
    lines = [f"## {_SIGN[report.verdict]} Rollout: {summary(report)}", ""]
    if report.refusals:
        lines += [*_reasons(report.refusals), ""]
    for finding in report.findings:
        lines += [*_finding(finding), ""]
    return "\n".join(lines)


def failure(sentence: str) -> str:
    """What is shown where there is no report."""
    return f"## ⛔ Rollout: not checked\n\n{inline(sentence)}\n"


def _finding(finding: Finding) -> Iterator[str]:
    direction = f" · {finding.direction}" if finding.direction != "-" else ""
    yield f"### {_SIGN[finding.verdict]} `{finding.environment}` · {finding.verdict}{direction}"
    yield ""
    yield f"**{inline(finding.step)}**"
    yield ""
    yield from _reasons(finding.refusals)
    if finding.now:
        yield "* **Allowed now:**"
        yield from (f"  {line}" for advice in finding.now for line in _advice(advice))
    if finding.hosts:
        yield f"* **Hosts, in this order:** {inline(host_words(finding.hosts))}"
    yield from (f"* **Live traffic:** {inline(sentence)}" for sentence in finding.traffic)
    yield from (f"* **Hosts ask before anything is changed:** {inline(sentence)}" for sentence in finding.unseen)
    if finding.undo:
        yield "* **Undo:**"
        yield from (f"  {line}" for advice in finding.undo for line in _advice(advice))
    if finding.page:
        yield f"* **Runbook:** {', '.join(finding.page)}"
    yield from (f"* _{inline(note)}_" for note in finding.notes)


def _reasons(refusals: Iterable[Refusal]) -> Iterator[str]:
    for refusal in refusals:
        yield f"* **Why:** {inline(refusal.why)}"
        if refusal.todo:
            yield f"  **Do:** {inline(refusal.todo)}"


def _advice(advice: Advice) -> Iterator[str]:
    command = f": `{advice.command}`" if advice.command else ""
    yield f"* {inline(advice.what)}{command}"


def heading(title: str, *, good: bool = False) -> Iterator[str]:
    """A title with its sign."""
    yield f"## {_SIGN['allowed' if good else 'refused']} {inline(title)}"
    yield ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table; a cell is one line, cut where it is long."""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(inline(cell.replace('`', '')[:_CELL]) for cell in row)} |"
    yield ""


def block(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines as they are, below their title."""
    yield f"### {inline(title)}"
    yield from ("", "```")
    # Three backticks in a line would end the block.
    yield from (line.replace("```", "'''") for line in lines)
    yield from ("```", "")


def inline(text: str) -> str:
    """Nothing in it becomes markup but what stands between backticks already."""
    parts = re.split(r"(`[^`\n]+`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_\[\]<>|#`@])", r"\\\1", part) for part in parts)
