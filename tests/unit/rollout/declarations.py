"""Declarations for the tests of the pure core: a database host and two app hosts, told apart by settings only."""

from dataclasses import replace
from typing import Any

from rollout.declared import CertificateSpec, Declared, Site
from rollout.steps import initial_settings

NAMES = ("db.internal", "voiceai-pgbouncer", "voiceai-postgres", "voiceai-redis")

START = Declared(
    settings=initial_settings(),
    certificate=CertificateSpec(names=NAMES, key_type="ecdsa-p256", days=397, request="0123456789abcdef"),
    site=Site(
        environment="test",
        dialed_names=("db.internal", "voiceai-postgres", "voiceai-pgbouncer", "voiceai-redis"),
        secrets_prefix="voiceai/test/",
        region="eu-west-1",
    ),
    hosts={"api": ("api",), "database": ("pgbouncer", "postgres", "redis"), "web": ("web",)},
)

SHORT = {"gen": "CERTIFICATE_GENERATION", "pg": "POSTGRES_TLS_ENABLED", "leg2": "PGBOUNCER_SERVER_TLS_SSLMODE"}


def declared(gen: str = "0", pg: str = "off", leg2: str = "disable", **changes: Any) -> Declared:
    """A declaration with these settings; `changes` replaces other fields."""
    settings = {SHORT["gen"]: gen, SHORT["pg"]: pg, SHORT["leg2"]: leg2}
    return replace(START, settings=settings, **changes)


def with_name(base: Declared, name: str) -> Declared:
    """`base` with one more SAN asked for."""
    certificate = replace(base.certificate, names=(*base.certificate.names, name), request="fedcba9876543210")
    return replace(base, certificate=certificate)
