"""What `operate status` makes of a survey: as data, and as one screen. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from operate.differences import Found, find
from operate.evidence import FILES, Position, Seen, positions, seen
from operate.findings import (
    SOON_DAYS,
    difference_lines,
    found_plain,
    head,
    position_plain,
    position_words,
    section,
    stack_line,
    unanswered_lines,
    unknown_lines,
)
from operate.overview import Clients, Hop, clients, hops, notes
from operate.palette import Palette
from operate.running import short
from operate.survey import Survey
from operate.table import Cell, Paint, plain, table, wrapped
from rollout.steps import rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that is shown."""

    survey: Survey
    readings: tuple[Seen, ...]
    positions: tuple[Position, ...]
    hops: tuple[Hop, ...]
    clients: tuple[Clients, ...]
    found: Found
    notes: tuple[tuple[str, str], ...]

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data."""
        return {
            **head("status", self.survey.view.environment, self.survey.declaration),
            "positions": [position_plain(one) for one in self.positions],
            "hops": [one.to_plain() for one in self.hops],
            "clients": [one.to_plain() for one in self.clients],
            **found_plain(self.found, self.survey.unanswered),
            "notes": [{"host": host, "text": text} for host, text in self.notes],
        }


def status_of(survey: Survey, now: datetime) -> Status:
    """Judges what was found."""
    unasked = survey.unasked
    readings = tuple(one for host, report in survey.reports.items() for one in seen(host, report))
    asked = [host.name for host in survey.view.hosts]
    return Status(
        survey=survey,
        readings=readings,
        positions=positions(survey.declaration.file, readings, unasked),
        hops=hops(survey.declaration, survey.reports, readings, asked, unasked, now),
        clients=clients(survey.reports),
        found=find(survey.declaration, survey.reports),
        notes=notes(survey.reports),
    )


def as_text(status: Status, palette: Palette) -> Iterator[str]:
    """One screen."""
    look, declaration = status.survey, status.survey.declaration
    environment = look.view.environment
    named = environment if environment == declaration.stack else f"{environment} (stack {declaration.stack})"
    places = "; ".join(_place(one, palette) for one in status.positions)
    yield f"{palette.strong(named)}: {places}"
    yield from wrapped(stack_line(declaration), palette.doubtful, first="  ", further="  ")
    yield palette.faint(f"  {_files(status)}")
    yield ""
    yield from table([_HEADS, *(_row(hop, palette) for hop in status.hops)], cut=1)
    yield from (palette.faint(line) for line in _ciphers(status.hops))
    if any(hop.variables[0].seen.by == "word" for hop in status.hops):
        yield palette.faint("  * the program's own word: no session shows it just now")
    for host, text in status.notes:
        yield from wrapped(f"{host}: {text}", palette.doubtful, first="  ", further="    ")
    yield from section("clients", _client_lines(status.clients, palette), palette)
    count = len(status.found.differences)
    title = f"{count} difference{'' if count == 1 else 's'}"
    yield from section(title, difference_lines(status.found.differences, palette), palette)
    yield from section("not known", unknown_lines(status.found.unknown, palette), palette)
    yield from section("no answer", unanswered_lines(look.unanswered, palette), palette)
    if not (count or look.unanswered or status.found.unknown):
        yield ""
        yield palette.good("nothing differs from what was declared")


def _place(one: Position, palette: Palette) -> str:
    agrees = one.least == one.most == one.declared
    return (palette.good if agrees else palette.doubtful)(position_words(one))


def _files(status: Status) -> str:
    """What no wire shows: the deployment's places and the certificate's files."""
    settings = status.survey.declaration.file.settings
    parts = []
    for key in ("PREPARED", "CERTIFICATE_GENERATION"):
        found = [one for one in status.readings if one.key == key and one.hop == FILES]
        same = sum(one.value == settings[key] for one in found)
        parts.append(f"{key}={settings[key]} on {same} of {len(found)} hosts")
    asked, answered = len(status.survey.view.hosts), len(status.survey.reports)
    return f"{answered} of {asked} hosts answered · {' · '.join(parts)}"


_HEADS: tuple[Cell, ...] = tuple(
    plain(text)
    for text in (
        "hop",
        "host",
        "declared",
        "confirmed",
        "served",
        "plaintext",
        "in TLS",
        "in plain",
        "serial",
        "days",
    )
)


def _row(hop: Hop, palette: Palette) -> tuple[Cell, ...]:
    declared = _joined([one.declared for one in hop.variables], [one.key for one in hop.variables])
    confirmed = [one.confirmed for one in hop.variables]
    stands = _joined(confirmed, [one.key for one in hop.variables]) if all(confirmed) else "?"
    served, paint = _served(hop, palette)
    certificate = hop.served.certificate if hop.served else None
    days = hop.days_left
    return (
        plain(hop.hop),
        plain(hop.host),
        plain(declared),
        ("=", palette.faint) if stands == declared else (stands, palette.doubtful),
        (served, paint),
        _accepts(hop, palette),
        plain("" if hop.tls is None else str(hop.tls)),
        _in_plaintext(hop, palette),
        (short(certificate.serial), None if hop.served and hop.served.verified else palette.bad)
        if certificate
        else plain(""),
        ("" if days is None else str(days), palette.bad if days is not None and days < SOON_DAYS else None),
    )


def _joined(values: Sequence[str], keys: Sequence[str]) -> str:
    """A server's two variables in one cell: `on`, or `on, forced` where plaintext is refused."""
    first, *more = values
    forced = any(rank(key, value) > 0 for key, value in zip(keys[1:], more, strict=True))
    return f"{first}, forced" if forced else first


def _served(hop: Hop, palette: Palette) -> tuple[str, Paint]:
    first = hop.variables[0].seen
    if any(one.seen.by == "" for one in hop.variables):
        return "not known", palette.doubtful
    if not first.known:
        return "does not run", palette.doubtful
    values = [one.seen.value for one in hop.variables]
    text = _joined(values, [one.key for one in hop.variables])
    said = f"{text}*" if first.by == "word" else text
    return said, palette.good if values == [one.declared for one in hop.variables] else palette.bad


def _accepts(hop: Hop, palette: Palette) -> Cell:
    return {
        "accepted": plain("accepted"),
        "refused": ("refused", palette.good),
        "unknown": ("not known", palette.doubtful),
    }.get(hop.accepts, plain(""))


def _in_plaintext(hop: Hop, palette: Palette) -> Cell:
    return (
        "" if hop.plaintext is None else str(hop.plaintext)
    ), palette.doubtful if hop.plaintext and hop.tls else None


def _ciphers(hops: Sequence[Hop]) -> Iterator[str]:
    """A line a cipher: there is seldom more than one."""
    found: dict[str, list[str]] = {}
    for hop in hops:
        if hop.served:
            found.setdefault(f"{hop.served.protocol} {hop.served.cipher}", []).append(hop.hop)
    for cipher, where in found.items():
        yield f"  {cipher}{': ' + ', '.join(where) if len(found) > 1 else ''}"


def _client_lines(clients: Sequence[Clients], palette: Palette) -> Iterator[str]:
    if not clients:
        return
    heads = [plain(text) for text in ("of", "who", "user", "application", "from", "in TLS", "in plain")]
    yield from table([heads, *(_client_row(one, palette) for one in clients)], cut=3)


def _client_row(one: Clients, palette: Palette) -> tuple[Cell, ...]:
    return (
        plain(one.server),
        (one.who, None if len(one.apps) == 1 else palette.doubtful),
        plain(one.user),
        plain(one.application),
        plain(one.address),
        plain(str(one.tls) if one.tls else "-"),
        (str(one.plaintext), palette.doubtful) if one.plaintext else plain("-"),
    )
