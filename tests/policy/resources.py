"""Resources as the pack sees them, each good in every respect: a test spoils one thing."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pki.issue import KeyPair, create_authority, issue_server
from pki.request import CertificateRequest
from policy.command_rules import INSTALLER
from policy.inputs import COMMAND, LEDGER, SEALED_VERSION, SECRET, SECRET_VERSION, SERVER_CERTIFICATE, Resource
from policy.ledger_rules import remember
from policy.seen import Seen
from rollout.declared import Declared
from rollout.ledger import Record, advance, record_fields
from rollout.render import host_content, host_settings
from tests.unit.rollout.declarations import NAMES, declared

NOW = datetime(2027, 3, 1, 12, 0, 0, tzinfo=UTC)
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKp4cbBxcSvmx8Q0SNKDG9ZS3JzSJyV4sJZ7S7cQh1mN"
APPLY = "timeout --kill-after=15 300 /opt/voiceai/update.sh --settings -"
ARCHIVE = b"a bundle's tar.gz"
INSTALL = (
    f"timeout --kill-after=15 300 sh -c {shlex.quote(INSTALLER.read_text())} install "
    f"{hashlib.sha256(ARCHIVE).hexdigest()}"
)
CERTIFICATE_SHA256, CA_SHA256 = "ab" * 32, "cd" * 32


@cache
def authority() -> KeyPair:
    return create_authority("test CA", now=NOW)


@cache
def server(*, names: tuple[str, ...] = NAMES, days: int = 397) -> KeyPair:
    return issue_server(authority(), CertificateRequest(names=names, days=days), now=NOW)


def asking(state: Declared, request: CertificateRequest | None = None) -> Declared:
    """`state` with a request whose digest is right."""
    request = request or CertificateRequest(names=NAMES)
    spec = replace(
        state.certificate,
        names=request.names,
        key_type=request.key_type,
        days=request.days,
        request=request.digest(),
    )
    return replace(state, certificate=spec)


def record(*states: Mapping[str, str], **changes: Any) -> Record:
    """The ledger's record after these states (`{"prepared": "on"}`), each confirmed before the next."""
    found: Record | None = None
    receipts: dict[str, str] = {}
    for state in ({}, *states):
        wanted = asking(declared(**state))
        found = advance(found, replace(wanted, site=replace(wanted.site, **changes)), receipts)
        receipts = dict(found.revisions)
    assert found is not None
    return found


def ledger(of: Record, **changes: Any) -> Resource:
    return Resource(kind=LEDGER, name="ledger", urn="urn:ledger", inputs=record_fields(of) | changes)


def refused(of: Record | None, wanted: Declared, receipts: Mapping[str, str]) -> Resource:
    """What the ledger's `check` returns where it refuses."""
    fields = record_fields(of) if of else {}
    return Resource(
        kind=LEDGER,
        name="ledger",
        urn="urn:ledger",
        inputs={"declared": wanted.to_plain(), "receipts": dict(receipts), **fields},
    )


def seen(of: Record | None = None, *, at_up: bool = True) -> Seen:
    """The memory after the ledger's resource went by."""
    memory = Seen(at_up=at_up)
    if of is not None:
        remember(ledger(of), memory)
    return memory


def settings(of: Record, host: str) -> str:
    issued = of.attempted.settings["CERTIFICATE_GENERATION"] != "0"
    return host_settings(
        host_content(of.attempted, host),
        revision=of.revisions[host],
        certificate_sha256=CERTIFICATE_SHA256 if issued else "",
        ca_sha256=CA_SHA256 if issued else "",
    )


def command(name: str, **changes: Any) -> Resource:
    """A good remote command, its settings aside."""
    inputs: dict[str, Any] = {
        "connection": {"host": "10.0.0.1", "user": "root", "hostKey": HOST_KEY, "privateKey": "(an SSH key)"},
        "create": APPLY,
        "update": APPLY,
        "addPreviousOutputInEnv": False,
        "logging": "stderr",
    }
    return Resource(kind=COMMAND, name=name, urn=f"urn:{name}", inputs=inputs | changes)


def bundle(**changes: Any) -> Resource:
    given = {"create": INSTALL, "update": INSTALL, "stdin": base64.b64encode(ARCHIVE).decode()}
    return command("hosts.web.bundle", **given | changes)


def certificate(of: Record, **changes: Any) -> Resource:
    spec = of.attempted.certificate
    inputs = {
        "names": list(spec.names),
        "key_type": spec.key_type,
        "days": float(spec.days),
        "generation": of.attempted.settings["CERTIFICATE_GENERATION"],
        "ca_pem": authority().certificate_pem,
        "reason": "first issue",
    }
    return Resource(
        kind=SERVER_CERTIFICATE,
        name="certificates.server",
        inputs=inputs | changes,
        secret_outputs=("key_sealed",),
    )


def encoded(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def version(variable: str, value: Any) -> Resource:
    return Resource(
        kind=SECRET_VERSION,
        name=f"secrets.{variable}.value",
        urn=f"urn:{variable}.value",
        inputs={"secretId": "arn:aws:…", "secretString": value},
    )


def sealed(value: Any) -> Resource:
    return Resource(kind=SEALED_VERSION, name="secrets.INTERNAL_TLS_KEY_B64.value", inputs={"sealed": value})


def secret(variable: str, **changes: Any) -> Resource:
    inputs = {"name": f"voiceai/test/{variable}", "kmsKeyId": "alias/x", "recoveryWindowInDays": 30.0}
    merged = {key: value for key, value in (inputs | changes).items() if value is not None}
    return Resource(kind=SECRET, name=f"secrets.{variable}", urn=f"urn:secrets.{variable}", inputs=merged)
