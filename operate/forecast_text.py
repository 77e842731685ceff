"""A forecast for a terminal: a line a container, what stands against a start, the certificates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from operate.expiry import Expiry
from operate.forecasting import Forecast
from operate.hops import Hop
from operate.outlook import Finding, Outlook, Verdict, Weight
from operate.palette import PLAIN, Palette
from operate.survey import Unanswered
from operate.text import Paint, labelled, wrapped

SOON_DAYS = 30
"""A certificate that ends within so many days is coloured; the exit code does not count it."""

_WORDS: dict[Verdict, str] = {"serves": "serves", "otherwise": "OTHERWISE", "fails": "FAILS", "unknown": "not known"}
_TITLES: dict[Weight, str] = {
    "fails": "FAILS",
    "otherwise": "serves, OTHERWISE than verified",
    "unknown": "not known",
    "note": "note",
}


def as_text(
    found: Forecast, environment: str, unanswered: Sequence[Unanswered] = (), palette: Palette = PLAIN
) -> Iterator[str]:
    """The lines of the screen."""
    against = sum(one.verdict in ("otherwise", "fails") for one in found.outlooks)
    asked = f"{len(found.outlooks)} containers"
    if found.holds:
        summary = f"nothing is against a restart of any of {asked}"
    elif against:
        summary = f"{against} of {asked} would not serve as verified after a restart"
    else:
        summary = "a certificate has ended"
    paint = palette.good if found.holds else palette.bad
    yield f"{palette.strong(environment)}: {paint(summary)}"
    yield from _table(found.outlooks, palette)
    for host, why in found.silent.items():
        yield from labelled(host, why, palette.doubtful)
    for one in unanswered:
        yield from labelled(one.host, f"did not answer: {one.why}", palette.doubtful)
        yield from labelled("", f"do: {one.todo}")
    for weight in ("fails", "otherwise", "unknown", "note"):
        yield from _findings(found.outlooks, weight, palette)  # type: ignore[arg-type]
    if found.expiries:
        yield ""
        yield from _certificates(found, palette)


def _table(outlooks: Sequence[Outlook], palette: Palette) -> Iterator[str]:
    rows = [("host", "container", "a start", "would serve", "proved by")]
    last = ""
    for one in outlooks:
        rows.append(("" if one.host == last else one.host, one.container, _WORDS[one.verdict], one.serves, one.proof))
        last = one.host
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        if number == 0:
            yield palette.faint(f"  {'  '.join(cells)}".rstrip())
            continue
        cells[2] = _paint(outlooks[number - 1].verdict, palette)(cells[2])
        yield f"  {'  '.join(cells)}".rstrip()


def _paint(verdict: Verdict, palette: Palette) -> Paint:
    return {"serves": palette.good, "unknown": palette.doubtful}.get(verdict, palette.bad)


def _findings(outlooks: Iterable[Outlook], weight: Weight, palette: Palette) -> Iterator[str]:
    """Each once, with every container of a host that it is about."""
    about: dict[tuple[str, str, Finding], list[str]] = {}
    for one in outlooks:
        for finding in one.findings:
            if finding.weight == weight:
                about.setdefault((one.host, one.runs, finding), []).append(one.container)
    for (host, _, finding), containers in about.items():
        title = f"{', '.join(containers)} on {host}"
        if weight == "note":
            yield from labelled("note", f"{title}: {finding.tried}: {finding.would}", palette.faint)
            yield from labelled("", f"do: {finding.mend}", palette.faint)
            continue
        yield ""
        yield f"  {palette.doubtful(_TITLES[weight]) if weight == 'unknown' else palette.bad(_TITLES[weight])}  {title}"
        yield from labelled("tried", finding.tried)
        yield from labelled("would", finding.would, palette.strong)
        if finding.hops:
            yield from labelled("breaks", hop_words(finding.hops), palette.bad)
        yield from labelled("do", finding.mend, palette.strong)


def hop_words(every: Iterable[Hop]) -> str:
    """Hops in a sentence."""
    return ", ".join(map(str, every))


def _certificates(found: Forecast, palette: Palette) -> Iterator[str]:
    rows = [("certificate", "ends", "days", "where")]
    for one in found.expiries:
        ends = one.certificate.not_after
        rows.append(
            (
                f"{one.kind} {one.certificate.sha256[:12]}",
                f"{ends:%Y-%m-%d %H:%M} UTC" if ends else "",
                str(one.days),
                _where(one),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for number, (name, ends, days, where) in enumerate(rows):
        lead = f"  {name:{widths[0]}}  {ends:{widths[1]}}  {days:>{widths[2]}}  "
        paint: Paint = palette.faint if number == 0 else _age(found.expiries[number - 1].days, palette)
        lines = wrapped(where, " " * len(lead))
        yield paint(lead) + (lines[0].lstrip() if lines else "")
        yield from lines[1:]
    yield from _first(found, palette)


def _age(days: int, palette: Palette) -> Paint:
    return palette.bad if days < 0 else palette.doubtful if days < SOON_DAYS else str


def _where(one: Expiry) -> str:
    hosts = list(dict.fromkeys(host for _, host in one.served))
    parts = [f"served by {', '.join(role for role, at in one.served if at == host)} of {host}" for host in hosts]
    if one.on_disk:
        listed = ", ".join(one.on_disk)
        parts.append(f"on disk of {listed}" if len(listed) <= 60 else f"on disk of {len(one.on_disk)} hosts")
    if one.kind == "server" and not one.served:
        parts.append("nothing serves it")
    return "; ".join(parts)


def _first(found: Forecast, palette: Palette) -> Iterator[str]:
    """The first to end that anything serves, and what breaks then."""
    first = next((one for one in found.expiries if one.kind == "CA" or one.served), None)
    if first is None:
        return
    name = "the CA" if first.kind == "CA" else "the server certificate"
    when = f"in {first.days} days" if first.days >= 0 else f"{-first.days} days ago"
    yield from labelled("first", f"{name} {first.certificate.sha256[:12]}, {when}", _age(first.days, palette))
    if first.breaks:
        yield from labelled("breaks", f"{hop_words(first.breaks)}: each refuses it at its next login")
    else:
        yield from labelled("breaks", "nothing: no hop verifies it yet")
    if first.unaware:
        yield from labelled("unaware", f"{hop_words(first.unaware)}: encrypted, verifies nothing, goes on")
    if first.kind == "CA":
        yield from labelled("do", "a reissue keeps the CA: plan another one before that day")
    else:
        yield from labelled("do", found.reissue, palette.strong)
