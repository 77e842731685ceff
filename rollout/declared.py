"""What one version of the stack's config declares: the value that the rules compare and the ledger remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.steps import initial_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSpec:
    """What is asked of the server certificate. `days` is its lifetime; `request` the digest of all three."""

    names: tuple[str, ...]
    key_type: str
    days: int
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What hosts need to know besides the variables: plain attributes, never part of a step."""

    environment: str
    dialed_names: tuple[str, ...]
    secrets_prefix: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Settings by config key (`POSTGRES_TLS_ENABLED` → `on`), and what they are declared for."""

    settings: Mapping[str, str]
    certificate: CertificateSpec
    site: Site
    hosts: Mapping[str, tuple[str, ...]]
    """Each host's roles, sorted: server roles and names of apps."""

    def to_plain(self) -> dict[str, Any]:
        """As JSON-like data, every leaf a string or a list of strings (the engine turns numbers into floats)."""
        return {
            "settings": dict(self.settings),
            "certificate": {
                "names": list(self.certificate.names),
                "keyType": self.certificate.key_type,
                "days": str(self.certificate.days),
                "request": self.certificate.request,
            },
            "site": {
                "environment": self.site.environment,
                "dialedNames": list(self.site.dialed_names),
                "secretsPrefix": self.site.secrets_prefix,
                "region": self.site.region,
            },
            "hosts": {name: list(roles) for name, roles in self.hosts.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Declared:
        """The inverse of `to_plain`. A variable that an older version did not know stands at its initial value."""
        certificate, site = plain["certificate"], plain["site"]
        return cls(
            settings=initial_settings() | dict(plain["settings"]),
            certificate=CertificateSpec(
                names=tuple(certificate["names"]),
                key_type=certificate["keyType"],
                days=int(certificate["days"]),
                request=certificate["request"],
            ),
            site=Site(
                environment=site["environment"],
                dialed_names=tuple(site["dialedNames"]),
                secrets_prefix=site["secretsPrefix"],
                region=site["region"],
            ),
            hosts={name: tuple(roles) for name, roles in plain["hosts"].items()},
        )
