"""A forecast for a terminal: a line a container, what stands against a start, the certificates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from operate.expiry import Expiry
from operate.findings import SOON_DAYS, command_line, section, unanswered_lines
from operate.forecasting import Forecast
from operate.hops import Hop
from operate.outlook import Finding, Outlook, Verdict
from operate.palette import PLAIN, Palette
from operate.survey import Unanswered
from operate.table import Cell, Paint, plain, table, wrapped

_WORDS: dict[Verdict, str] = {"serves": "serves", "otherwise": "OTHERWISE", "fails": "FAILS", "unknown": "not known"}


def as_text(
    found: Forecast, environment: str, unanswered: Sequence[Unanswered] = (), palette: Palette = PLAIN
) -> Iterator[str]:
    """The lines of the screen."""
    paint = palette.good if found.holds else palette.bad
    yield f"{palette.strong(environment)}: {paint(_summary(found))}"
    yield from section("a start now", table(_rows(found.outlooks, palette), cut=3), palette)
    yield from section("against it", _against(found, palette), palette)
    yield from section("hosts without a start to judge", _silent(found, palette), palette)
    yield from section("hosts that did not answer", unanswered_lines(unanswered, palette), palette)
    yield from section("notes", _findings(found, ("note",), palette), palette)
    yield from section("certificates", _certificates(found, palette), palette)


def _summary(found: Forecast) -> str:
    against = sum(one.verdict in ("otherwise", "fails") for one in found.outlooks)
    count = len(found.outlooks)
    if found.holds:
        return f"nothing was found against a restart of any of {count} containers"
    if against:
        return f"{against} of {count} containers would not serve as verified after a restart"
    return "a certificate that is verified has ended"


def _rows(outlooks: Sequence[Outlook], palette: Palette) -> list[list[Cell]]:
    heads = ("host", "container", "start", "would serve", "proved by")
    rows: list[list[Cell]] = [[(head, palette.faint) for head in heads]]
    last = ""
    for one in outlooks:
        host = "" if one.host == last else one.host
        verdict = (_WORDS[one.verdict], _paint(one.verdict, palette))
        rows.append([plain(host), plain(one.container), verdict, plain(one.serves), (one.proof, palette.faint)])
        last = one.host
    return rows if outlooks else []


def _paint(verdict: Verdict, palette: Palette) -> Paint:
    return {"serves": palette.good, "unknown": palette.doubtful}.get(verdict, palette.bad)


def _against(found: Forecast, palette: Palette) -> Iterator[str]:
    yield from _findings(found, ("fails", "otherwise"), palette)
    yield from _findings(found, ("unknown",), palette)


def _findings(found: Forecast, weights: Sequence[str], palette: Palette) -> Iterator[str]:
    """Each once, with every container of a host that it is about."""
    about: dict[tuple[str, Finding], list[str]] = {}
    for one in found.outlooks:
        for finding in one.findings:
            if finding.weight in weights:
                about.setdefault((one.host, finding), []).append(one.container)
    for (host, finding), containers in about.items():
        sign, paint = {"unknown": ("?", palette.doubtful), "note": ("·", palette.faint)}.get(
            finding.weight, ("✗", palette.bad)
        )
        text = f"{host}  {', '.join(containers)}: {finding.would}"
        yield from wrapped(text, paint, first=f"  {sign} ", further="      ")
        if finding.hops:
            yield from wrapped(f"then without an answer: {hop_words(finding.hops)}", first="      ", further="      ")
        yield from wrapped(f"tried: {finding.tried}", palette.faint, first="      ", further="      ")
        yield command_line("" if finding.here else host, finding.mend, palette)


def hop_words(every: Iterable[Hop]) -> str:
    """Hops in a sentence."""
    return ", ".join(map(str, every))


def _silent(found: Forecast, palette: Palette) -> Iterator[str]:
    for host, why in found.silent.items():
        yield from wrapped(f"{host}  {why}", palette.doubtful, first="  ? ", further="      ")


def _certificates(found: Forecast, palette: Palette) -> Iterator[str]:
    rows: list[list[Cell]] = [[(head, palette.faint) for head in ("", "sha256", "ends", "days", "where")]]
    for one in found.expiries:
        ends = one.certificate.not_after
        rows.append(
            [
                plain("CA" if one.kind == "CA" else "server certificate"),
                plain(one.certificate.sha256[:12]),
                plain(f"{ends:%Y-%m-%d}" if ends else ""),
                (str(one.days), _age(one.days, palette)),
                plain(_where(one)),
            ]
        )
    if not found.expiries:
        return
    yield from table(rows, cut=4)
    yield from _first(found, palette)


def _age(days: int, palette: Palette) -> Paint | None:
    return palette.bad if days < 0 else palette.doubtful if days < SOON_DAYS else None


def _where(one: Expiry) -> str:
    parts = []
    for host in dict.fromkeys(host for _, host in one.served):
        gone = "" if host in one.on_disk else ", no longer on disk"
        parts.append(f"{', '.join(role for role, at in one.served if at == host)} of {host}{gone}")
    further = [host for host in one.on_disk if host not in {at for _, at in one.served}]
    if further:
        where = ", ".join(further) if len(further) <= 2 else f"{len(further)} hosts"
        parts.append(f"on disk of {where}{', nothing serves it' if one.kind == 'server' else ''}")
    return "; ".join(parts)


def _first(found: Forecast, palette: Palette) -> Iterator[str]:
    """The first to end of those that count, and what breaks then."""
    first = next((one for one in found.expiries if one.kind == "CA" or one.served), None)
    if first is None:
        return
    name = "the CA" if first.kind == "CA" else "the server certificate"
    when = f"in {first.days} days" if first.days >= 0 else f"ended {-first.days} days ago"
    age = _age(first.days, palette) or str
    yield from (age(line) for line in _indented(f"first to end: {name} {first.certificate.sha256[:12]}, {when}"))
    if first.breaks:
        yield from _indented(f"then without an answer, from the next login on: {hop_words(first.breaks)}")
    else:
        yield from _indented("nothing breaks then: no hop verifies it yet")
    if first.unaware:
        yield from _indented(f"then go on, they verify nothing: {hop_words(first.unaware)}")
    if first.kind == "CA":
        yield from _indented("a reissue keeps the CA: another one has to be planned before that day")
    else:
        yield command_line("", found.reissue, palette)


def _indented(text: str) -> list[str]:
    return wrapped(text, first="  ", further="      ")
