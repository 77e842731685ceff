"""PgBouncer's server leg flipped many times under load: our way, and by a plain RELOAD in the same run.

The plain way is what an operator would do: write the setting, `RELOAD`, with PgBouncer's own `server_login_retry` of
15 s. It has to be seen to hurt, or the load proves nothing about ours.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.lab import Lab
from lab.measure import Request, Window, overlapping, quiet_summary, summarize
from lab.traffic import Traffic

_KEY = "PGBOUNCER_SERVER_TLS_SSLMODE"
_FLIP_SECONDS = 120.0
OURS = "gated"

# The two states of the leg as a plain tls.ini; everything else of PgBouncer's configuration stays what it is.
_PLAIN = {
    "verify-ca": "server_tls_sslmode = verify-ca\nserver_tls_ca_file = /etc/ssl/internal/ca.crt",
    "disable": "server_tls_sslmode = disable",
}
_INI = "/etc/voiceai/pgbouncer/tls.ini"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """One series of flips: how it was done, its window, and when each began."""

    way: str
    window: Window
    starts: tuple[float, ...]


def gated(lab: Lab, count: int) -> Flips:
    """Our way: the host's own transaction, gate, proofs and all, by its hand-change command."""
    return _series(OURS, count, lambda mode: lab.run("database", *_update(mode), timeout=_FLIP_SECONDS))


def plain_reload(lab: Lab, count: int, pause: float) -> Flips:
    """The setting written and RELOAD sent, `pause` seconds apart; what stood before is restored at the end."""
    container = lab.layout.server("voiceai-pgbouncer")
    before = lab.run("database", "cat", _INI)
    reload = f"docker exec {container} psql -X -q -h /tmp -p 5432 -U pgbouncer -d pgbouncer -c RELOAD"

    def flip(mode: str) -> None:
        lab.run(
            "database", "sh", "-c", f"cat > {_INI}.new && mv {_INI}.new {_INI} && {reload}", stdin=_ini(_PLAIN[mode])
        )
        time.sleep(pause)

    try:
        return _series("plain RELOAD", count, flip)
    finally:
        lab.run("database", "sh", "-c", f"cat > {_INI}.new && mv {_INI}.new {_INI} && {reload}", stdin=before.encode())


def row(flips: Flips, requests: Sequence[Request], quiet: Window) -> dict[str, Any]:
    """What the series cost: failed requests, stalls of over a second, the worst latency."""
    during = summarize(requests, flips.window)
    stalled = [r for r in overlapping(requests, flips.window) if r.latency_ms > 1000]
    return {
        "way": flips.way,
        "flips": len(flips.starts),
        "seconds": round(flips.window.seconds, 1),
        "requests": during.requests,
        "failed": during.failed,
        "stalled_over_1s": len(stalled),
        "worst_ms": round(during.worst_ms, 1),
        "p99_ms": round(during.p99_ms, 1),
        "quiet_worst_ms": round(quiet_summary(requests, quiet).worst_ms, 1),
    }


def run(lab: Lab, count: int, plain_count: int) -> list[dict[str, Any]]:
    """Both ways, one after the other under one load. The stack has to stand at PGBOUNCER_SERVER_TLS_SSLMODE=disable."""
    with Traffic(lab, "flips") as traffic:
        traffic.wait_until_flowing()
        quiet = traffic.quiet(20)
        ours = gated(lab, count)
        between = traffic.quiet(20)
        plain = plain_reload(lab, plain_count, pause=max(0.2, ours.window.seconds / count - 0.5))
        # A stall that the last flip began is the plain way's too.
        plain = Flips(way=plain.way, starts=plain.starts, window=Window(start=plain.window.start, end=time.time() + 20))
        traffic.quiet(20)
    requests = traffic.requests()
    return [row(ours, requests, quiet), row(plain, requests, between)]


def _series(way: str, count: int, flip: Callable[[str], object]) -> Flips:
    starts = []
    begin = time.time()
    for number in range(count):
        starts.append(time.time())
        flip("verify-ca" if number % 2 == 0 else "disable")
    return Flips(way=way, window=Window(start=begin, end=time.time() + 1), starts=tuple(starts))


def _update(mode: str) -> tuple[str, ...]:
    return ("/opt/voiceai/update.sh", "--set", f"{_KEY}={mode}")


def _ini(text: str) -> bytes:
    return f"server_login_retry = 15\n{text}\n".encode()
