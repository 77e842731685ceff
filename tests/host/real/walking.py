"""Walking a real host along the rollout, and what its places mean on the wire."""

from tests.host.issuing import Generation
from tests.host.real.real_host import DIRECT, THROUGH, RealHost

OFF = {
    "CERTIFICATE_GENERATION": "0",
    "POSTGRES_TLS_ENABLED": "off",
    "PGBOUNCER_SERVER_TLS_SSLMODE": "disable",
    "PGBOUNCER_CLIENT_TLS_SSLMODE": "disable",
    "POSTGRES_FORCE_SSL": "off",
    "REDIS_TLS_ENABLED": "false",
    "REDIS_FORCE_TLS": "false",
}


def at(generation: Generation | None, postgres: str = "off", pgbouncer: str = "disable") -> dict[str, str]:
    """The settings at a place of the rollout."""
    certificate = generation.settings() if generation else {}
    return {**OFF, **certificate, "POSTGRES_TLS_ENABLED": postgres, "PGBOUNCER_SERVER_TLS_SSLMODE": pgbouncer}


def place_of(real: RealHost, path: list[dict[str, str]]) -> int:
    record = real.record()
    return next(i for i, place in enumerate(path) if all(record.get(k) == v for k, v in place.items()))


def go(real: RealHost, path: list[dict[str, str]], target: int) -> None:
    """Walk to a place of the rollout, step by step."""
    here = place_of(real, path)
    while here != target:
        here += 1 if target > here else -1
        real.applied(path[here])


def assert_wire(real: RealHost, place: dict[str, str]) -> None:
    """What these settings mean, seen by clients of our own."""
    if place["POSTGRES_TLS_ENABLED"] == "on":
        verified = "verify-full sslrootcert=/etc/ssl/internal/ca.crt"
        wrong = "verify-ca sslrootcert=/etc/ssl/internal/wrong-ca.crt"
        accepted, refused, plain, through = real.dial(DIRECT + verified, DIRECT + wrong, DIRECT + "disable", THROUGH)
        assert accepted == "t"
        assert "certificate verify failed" in refused
    else:
        refused, plain, through = real.dial(DIRECT + "require", DIRECT + "disable", THROUGH)
        assert "does not support SSL" in refused
    assert plain == "f"
    assert through == ("t" if place["PGBOUNCER_SERVER_TLS_SSLMODE"] != "disable" else "f")
