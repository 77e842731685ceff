"""`secrets`: where private keys may be, and what the three secrets are.

A private key passes through the engine in one place only: the SSH key of a connection, which the command provider's
SDK makes a secret whatever the program does. The keys of certificates travel sealed (`pki.sealing`), because the engine
prints every input at `-v=9`, secret or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from policy.certificate_rules import decoded
from policy.inputs import (
    AUTHORITY,
    DYNAMIC_PROVIDER,
    SEALED_VERSION,
    SECRET,
    SECRET_VERSION,
    SERVER_CERTIFICATE,
    UNKNOWN,
    Resource,
    texts,
)
from policy.key_material import has_private_key
from policy.seen import Seen
from rollout.render import CA_SECRET, CERTIFICATE_SECRET, KEY_SECRET

VARIABLES = (CA_SECRET, CERTIFICATE_SECRET, KEY_SECRET)

_SSH_KEYS = ("connection.privateKey", "connection.proxy.privateKey")
_DEFAULT_DAYS = 30
"""Secrets Manager's own recovery window where none is given."""


def secrets(resource: Resource, seen: Seen, *, minimum_recovery_days: int = 7, protected_ca: bool = False) -> list[str]:
    """Why a resource would show a private key, or why a secret is not kept as it must be."""
    found = [*_key_material(resource)]
    if resource.kind in (AUTHORITY, SERVER_CERTIFICATE):
        found += _sealed_outputs(resource, protected_ca=protected_ca)
    elif resource.kind == SECRET:
        found += _secret(resource, seen, minimum_recovery_days)
    elif resource.kind == SECRET_VERSION:
        found += _version(resource, seen)
    elif resource.kind == SEALED_VERSION:
        found += _sealed(resource, seen)
    return found


def plain_config(config: Mapping[str, str], secret_keys: Collection[str]) -> list[str]:
    """Which config keys hold a private key in plaintext, in a file that is committed."""
    return [
        f"{key}: the stack's config holds a private key in plaintext; take that key out of use, then set a new one by "
        f"`pulumi config set --secret {key.partition(':')[2] or key}`"
        for key, value in config.items()
        if key not in secret_keys and has_private_key(value)
    ]


def _key_material(resource: Resource) -> Iterator[str]:
    if resource.kind == DYNAMIC_PROVIDER:
        return  # the engine hands it the stack's config as it is, secret values included: `plain_config` judges that
    for path, text in texts(resource.inputs):
        ssh_key = path in _SSH_KEYS and resource.kind.startswith("command:remote:")
        if not ssh_key and has_private_key(text):
            yield (
                f"{resource.name}: {path} holds a private key, and the engine logs every input at -v=9; let it travel "
                "sealed (components.delivery), or by a file on the host"
            )


def _sealed_outputs(resource: Resource, *, protected_ca: bool) -> Iterator[str]:
    if "key_sealed" not in resource.secret_outputs:
        yield f"{resource.name}: its key_sealed is not marked secret; use components.certificates unchanged"
    if protected_ca and resource.kind == AUTHORITY and not resource.protect:
        yield f"{resource.name}: this policy is set to want the CA protected; pass protect=True to Certificates"


def _secret(resource: Resource, seen: Seen, minimum_recovery_days: int) -> Iterator[str]:
    inputs, label = resource.inputs, resource.name
    if seen.record is None:
        yield f"{label}: no accepted ledger was seen before it, so nothing tells what it must be; make it after one"
        return
    site = seen.record.attempted.site
    names = {f"{site.secrets_prefix}{variable}": variable for variable in VARIABLES}
    name = inputs.get("name")
    if not isinstance(name, str) or name not in names:
        yield f"{label}: it is none of {', '.join(names)}: one secret a variable, so that app hosts never read the key"
    elif seen.secret_names.setdefault(name, resource.urn) != resource.urn:
        yield f"{label}: {name} has a resource already; one secret a variable"
    if not seen.protected:
        return
    if not inputs.get("kmsKeyId"):
        yield f"{label}: the environment is protected, and the secret has no KMS key of its own; set secrets.kmsKeyId"
    days = inputs.get("recoveryWindowInDays", _DEFAULT_DAYS)
    if not isinstance(days, int | float) or days < minimum_recovery_days:
        yield (
            f"{label}: the environment is protected, and a deleted secret could be had back for "
            f"{_shown(days)} days only; set secrets.recoveryWindowDays to {minimum_recovery_days} or more"
        )


def _version(resource: Resource, seen: Seen) -> Iterator[str]:
    value = resource.inputs.get("secretString")
    if value is UNKNOWN and not seen.at_up and seen.issued:
        return  # what is issued is known at `up`, where this is asked again
    variables = [variable for variable in VARIABLES if variable in resource.name]
    one = len(variables) == 1 and variables != [KEY_SECRET] and not resource.inputs.get("secretBinary")
    if not one or decoded(value) is None:
        yield (
            f"{resource.name}: its value is not base64 of one certificate in PEM; keep one secret a variable, "
            "and write the private key by components.delivery alone"
        )


def _sealed(resource: Resource, seen: Seen) -> Iterator[str]:
    value = resource.inputs.get("sealed")
    if value is UNKNOWN and not seen.at_up and seen.issued:
        return
    if not isinstance(value, str) or not value.startswith("sealed."):
        yield f"{resource.name}: what it is given is not sealed; use components.delivery unchanged"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "no known number of"
