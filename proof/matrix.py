"""Every combination of settings that differs for a server, with the rules' verdict. Pure; `servers.py` tries each one.

A hop's axes are the settings that meet at one server; the others stand where they say nothing of it. The verdict is
`state_violations` for settings and `pki.checks.problems` for certificates: nothing is judged here.

Every client of a combination connects anew: what a session that is open already may go on doing is no usability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product

from proof.certificates import Material
from rollout.rules import state_violations
from rollout.steps import GENERATION, PREPARED, initial_settings, variable_of

APP = "api"
SSLMODE = f"apps.{APP}.DATABASE_SSL_MODE"
APP_REDIS = f"apps.{APP}.REDIS_TLS_ENABLED"

HOPS = {
    "PgBouncer → Postgres": ("POSTGRES_TLS_ENABLED", "POSTGRES_FORCE_SSL", "PGBOUNCER_SERVER_TLS_SSLMODE"),
    "app → PgBouncer": ("PGBOUNCER_CLIENT_TLS_SSLMODE", SSLMODE),
    "app → Redis": ("REDIS_TLS_ENABLED", "REDIS_FORCE_TLS", APP_REDIS),
}
"""Each hop's axes. The collector and telpro meet Redis as an app does."""

CERTIFICATES = ("good", "absent", "wrong SAN", "wrong CA", "expired")
"""What a server may have on disk when it is told to serve TLS; clients trust the good one's CA."""

SERVING = {
    "direct client → Postgres": {"POSTGRES_TLS_ENABLED": "on"},
    "app → PgBouncer": {"PGBOUNCER_CLIENT_TLS_SSLMODE": "allow", SSLMODE: "verify-full"},
    "app → Redis": {"REDIS_TLS_ENABLED": "true", APP_REDIS: "true"},
}
"""Each server that serves the certificate, with the settings by which a client verifies chain and name there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """`settings` are all of them, `tried` those that it is about; `refusal` is the first sentence against it, or ""."""

    hop: str
    settings: Mapping[str, str]
    tried: Mapping[str, str]
    refusal: str
    certificate: str = "good"

    @property
    def title(self) -> str:
        """`app → Redis: REDIS_TLS_ENABLED=true, …`"""
        return f"{self.hop}: " + ", ".join(f"{key}={value}" for key, value in self.tried.items())


def settings_of(**changed: str) -> dict[str, str]:
    """One app that uses both servers; certificates issued, and no further step taken but `changed`."""
    base = initial_settings({APP: ("postgres", "redis")})
    return {**base, PREPARED: "on", GENERATION: "1", **changed}


def combinations(material: Material, now: datetime) -> Iterator[Combination]:
    """All of every hop, the first axis turning slowest; then each server with each certificate."""
    for hop, axes in HOPS.items():
        for values in product(*(variable_of(axis).values for axis in axes)):
            tried = dict(zip(axes, values, strict=True))
            settings = settings_of(**tried)
            yield Combination(hop=hop, settings=settings, tried=tried, refusal=_refusal(settings))
    for hop, serving in SERVING.items():
        for kind in CERTIFICATES:
            settings = settings_of(**serving, **({GENERATION: "0"} if kind == "absent" else {}))
            refusal = _refusal(settings) if kind == "absent" else material.refusal(kind, now)
            tried = {**serving, "certificate": kind}
            yield Combination(hop=hop, settings=settings, tried=tried, refusal=refusal, certificate=kind)


def _refusal(settings: Mapping[str, str]) -> str:
    found = state_violations(settings)
    return str(found[0]) if found else ""
