"""What each host is told: the settings text of `host/update.sh`, one `KEY=VALUE` a line.

The text without its fingerprints and revision is the host's *content*: the ledger compares contents to know which
hosts a move touches. An app host is never told where the private key is.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollout.declared import Declared
from rollout.steps import GENERATION, SERVER_ROLES, offered_steps

# Names of variables, not values (hence the S105).
CA_SECRET = "INTERNAL_CA_CRT_B64"  # noqa: S105
CERTIFICATE_SECRET = "INTERNAL_TLS_CERT_B64"  # noqa: S105
KEY_SECRET = "INTERNAL_TLS_KEY_B64"  # noqa: S105


def host_content(declared: Declared, host: str) -> str:
    """The part of a host's settings that a move can change. `KeyError` where the inventory has no such host."""
    roles = frozenset(declared.hosts[host])
    issued = declared.settings[GENERATION] != "0"
    lines = {
        "ENVIRONMENT": declared.site.environment,
        "ROLES": ",".join(sorted(roles & set(SERVER_ROLES), key=SERVER_ROLES.index)) or "app",
        "CERTIFICATE_REQUEST": declared.certificate.request if issued else "",
        "DIALED_NAMES": ",".join(declared.site.dialed_names),
        "AWS_REGION": declared.site.region,
        "SECRET_CA": declared.site.secrets_prefix + CA_SECRET,
    }
    if roles & set(SERVER_ROLES):
        lines["SECRET_CERT"] = declared.site.secrets_prefix + CERTIFICATE_SECRET
        lines["SECRET_KEY"] = declared.site.secrets_prefix + KEY_SECRET
    for step in offered_steps():
        if not step.roles or step.roles & roles:
            lines[step.key] = declared.settings[step.key]
    return "".join(f"{key}={value}\n" for key, value in sorted(lines.items()))


def host_settings(content: str, *, revision: str, certificate_sha256: str, ca_sha256: str) -> str:
    """The whole settings text. The fingerprints are lower-case hex SHA-256 of the DER, "" at generation 0."""
    return f"REVISION={revision}\n{content}CERTIFICATE_SHA256={certificate_sha256}\nCA_SHA256={ca_sha256}\n"


def touched_hosts(previous: Declared, following: Declared) -> tuple[str, ...]:
    """The hosts of `following` whose content differs from `previous`, new ones included, in its order."""
    return tuple(
        host
        for host in following.hosts
        if host not in previous.hosts or host_content(previous, host) != host_content(following, host)
    )


def generation(settings: Mapping[str, str]) -> int:
    """`CERTIFICATE_GENERATION` as a number; 0 means that no certificate is issued."""
    return int(settings[GENERATION])
