"""A report as Markdown, for a comment or a job summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from operate.report import Advice, Finding, Refusal, Report
from operate.text import host_words, summary

_SIGN = {"allowed": "✅", "refused": "⛔", "unchanged": "▫️"}


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
    return f"## ⛔ Rollout: not checked\n\n{_inline(sentence)}\n"


def _finding(finding: Finding) -> Iterator[str]:
    direction = f" · {finding.direction}" if finding.direction != "-" else ""
    yield f"### {_SIGN[finding.verdict]} `{finding.environment}` · {finding.verdict}{direction}"
    yield ""
    yield f"**{_inline(finding.step)}**"
    yield ""
    yield from _reasons(finding.refusals)
    if finding.now:
        yield "* **Allowed now:**"
        yield from (f"  {line}" for advice in finding.now for line in _advice(advice))
    if finding.hosts:
        yield f"* **Hosts, in this order:** {_inline(host_words(finding.hosts))}"
    yield from (f"* **Live traffic:** {_inline(sentence)}" for sentence in finding.traffic)
    yield from (f"* **Hosts ask before anything is changed:** {_inline(sentence)}" for sentence in finding.unseen)
    if finding.undo:
        yield "* **Undo:**"
        yield from (f"  {line}" for advice in finding.undo for line in _advice(advice))
    if finding.page:
        yield f"* **Runbook:** {', '.join(finding.page)}"
    yield from (f"* _{_inline(note)}_" for note in finding.notes)


def _reasons(refusals: Iterable[Refusal]) -> Iterator[str]:
    for refusal in refusals:
        yield f"* **Why:** {_inline(refusal.why)}"
        if refusal.todo:
            yield f"  **Do:** {_inline(refusal.todo)}"


def _advice(advice: Advice) -> Iterator[str]:
    command = f": `{advice.command}`" if advice.command else ""
    yield f"* {_inline(advice.what)}{command}"


def _inline(text: str) -> str:
    """Nothing in it becomes markup but what stands between backticks already."""
    parts = re.split(r"(`[^`\n]+`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_\[\]<>|#`@])", r"\\\1", part) for part in parts)
