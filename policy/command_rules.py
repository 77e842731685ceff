"""`settings-are-declared` and `commands-are-safe`: what reaches a host, and how.

A host is reached by two commands: its bundle (`hosts.<host>.bundle`, `host/install.sh` with a digest) and its settings
(`hosts.<host>`, `update.sh --settings -`). Anything else that could run there is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from policy.inputs import COMMAND, UNKNOWN, Resource
from policy.seen import Seen
from rollout.inventory import HOST_KEY
from rollout.ledger import Record
from rollout.render import host_content, host_settings

INSTALLER = Path(__file__).resolve().parent.parent / "host" / "install.sh"

_NAME = re.compile(r"hosts\.(?P<host>[a-z0-9-]+)(?P<bundle>\.bundle)?")
_BOUND = re.compile(r"(?:sudo -n )?timeout --kill-after=(?P<kill>\d{1,6}) (?P<seconds>\d{1,6}) (?P<rest>.+)", re.DOTALL)
_APPLY = "/opt/voiceai/update.sh --settings -"
_FINGERPRINT = re.compile(r"^(CERTIFICATE_SHA256|CA_SHA256)=([0-9a-f]{64}|)$", re.MULTILINE)
_UNCHANGED = "use components.hosts.Hosts unchanged"


def settings_are_declared(resource: Resource, seen: Seen, *, other: tuple[str, ...] = ()) -> list[str]:
    """Why a command does not carry exactly what the ledger declares for its host. `other` names what is let through."""
    if resource.name in other or not resource.kind.startswith("command:"):
        return []
    name = _NAME.fullmatch(resource.name)
    if resource.kind != COMMAND or not name:
        return [
            f"{resource.name}: it is a {resource.kind} of its own, and hosts are reached by the ledger's two commands "
            "only; remove it, or name it in this policy's `otherCommands` where it reaches none of these hosts"
        ]
    host, inputs = name["host"], resource.inputs
    found = [*_texts(resource.name, inputs, bundle=bool(name["bundle"]))]
    if inputs.get("environment"):
        found.append(f"{resource.name}: it sets an environment, and settings come on stdin alone; {_UNCHANGED}")
    if name["bundle"]:
        return [*found, *_bundle(resource.name, inputs)]
    return [*found, *_settings(resource.name, host, inputs.get("stdin"), seen)]


def commands_are_safe(resource: Resource, *, maximum_seconds: int = 3600) -> list[str]:
    """Why a remote command may not be run: who answers is not pinned, or it could hang, revert or leak."""
    if not resource.kind.startswith("command:"):
        return []
    name, inputs = resource.name, resource.inputs
    found: list[str] = []
    if resource.kind.startswith("command:remote:"):
        found += _pinned(name, "connection", inputs.get("connection"))
    if inputs.get("triggers"):
        found.append(f"{name}: it has `triggers`, which replace it and run what deleting runs; leave them out")
    if inputs.get("delete"):
        found.append(f"{name}: it has a `delete`, and removing it must not touch what a host runs; leave it out")
    if resource.kind != COMMAND:
        return found
    if inputs.get("addPreviousOutputInEnv") is not False:
        found.append(f"{name}: the last output would go to the host's environment; set addPreviousOutputInEnv to false")
    for key in ("create", "update"):
        bound = _BOUND.fullmatch(str(inputs.get(key) or ""))
        if not bound or not 1 <= int(bound["seconds"]) <= maximum_seconds:
            found.append(
                f"{name}: its `{key}` is not bounded by `timeout --kill-after=… SECONDS` with at most "
                f"{maximum_seconds} seconds, and the provider has no timeout of its own; set hostTimeoutSeconds"
            )
    return found


def _pinned(name: str, where: str, connection: Any) -> Iterator[str]:
    if not isinstance(connection, Mapping):
        yield f"{name}: its {where} is not known, so nothing shows that the host's key is pinned; give it plainly"
        return
    key = connection.get("hostKey")
    if not isinstance(key, str) or not key:
        yield f"{name}: its {where} has no hostKey, so whoever answers is obeyed; set hosts.<host>.hostKey"
    elif not HOST_KEY.fullmatch(key) or not _is_public_key(key):
        yield (
            f"{name}: its {where}.hostKey is no public key; set hosts.<host>.hostKey to what "
            "`ssh-keyscan -t ed25519 ADDRESS` prints after the address, compared with the host's own"
        )
    if connection.get("proxy"):
        yield from _pinned(name, f"{where}.proxy", connection["proxy"])


def _is_public_key(text: str) -> bool:
    """Whether the base64 begins with the key's own type (RFC 4253 §6.6)."""
    kind, blob = text.split()[:2]
    try:
        raw = base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True)
    except binascii.Error:
        return False
    return raw.startswith(len(kind).to_bytes(4, "big") + kind.encode() + b"\0")


def _texts(name: str, inputs: Mapping[str, Any], *, bundle: bool) -> Iterator[str]:
    for key in ("create", "update"):
        bound = _BOUND.fullmatch(str(inputs.get(key) or ""))
        rest = bound["rest"] if bound else str(inputs.get(key) or "").removeprefix("sudo -n ")
        good = _digest(rest) is not None if bundle else rest == _APPLY
        if not good:
            wanted = "host/install.sh of this revision with a digest" if bundle else f"`{_APPLY}`"
            yield f"{name}: its `{key}` is not {wanted}; {_UNCHANGED}"
    if bundle and inputs.get("create") != inputs.get("update"):
        yield f"{name}: `create` and `update` differ; {_UNCHANGED}"


def _digest(command: str) -> str | None:
    """The digest that an installer's command names; None where it is not exactly this project's installer."""
    if not command.startswith("sh -c ") or not re.fullmatch(r".* install [0-9a-f]{64}", command, re.DOTALL):
        return None
    digest = command[-64:]
    return digest if command == f"sh -c {_installer()} install {digest}" else None


@cache
def _installer() -> str:
    return shlex.quote(INSTALLER.read_text(encoding="utf-8"))


def _bundle(name: str, inputs: Mapping[str, Any]) -> Iterator[str]:
    stdin, command = inputs.get("stdin"), str(inputs.get("create") or "")
    try:
        archive = base64.b64decode(stdin or "", validate=True) if isinstance(stdin, str) else b""
    except binascii.Error:
        archive = b""
    if hashlib.sha256(archive).hexdigest() != command[-64:]:
        yield f"{name}: the archive on stdin is not the one whose digest its command names; {_UNCHANGED}"


def _settings(name: str, host: str, stdin: Any, seen: Seen) -> list[str]:
    if seen.record is None:
        return [
            f"{name}: no accepted ledger was seen before it, so what it tells the host follows from nothing; render it "
            "from components.ledger.Ledger's outputs (where the ledger was refused, see there)"
        ]
    if host not in seen.record.attempted.hosts:
        known = ", ".join(seen.record.attempted.hosts)
        return [f"{name}: {host} is no host of the ledger, which knows {known}; add it to hosts, or remove the command"]
    if stdin is UNKNOWN:
        if seen.at_up or not seen.issued:
            return [f"{name}: its stdin is not known, and nothing that is issued explains it; {_UNCHANGED}"]
        seen.notice(
            "what hosts are told has the fingerprint of a certificate that is issued at `up`: it is compared with the "
            "ledger there, before a host is reached, and the host's preflight checks the certificate itself"
        )
        return []
    if not isinstance(stdin, str):
        return [f"{name}: it has no settings on stdin; {_UNCHANGED}"]
    return [*_same(name, host, stdin, seen.record), *_fingerprints(name, stdin, seen)]


def _same(name: str, host: str, stdin: str, record: Record) -> Iterator[str]:
    """The text itself, but for the fingerprints, which no ledger holds."""
    told = dict(_FINGERPRINT.findall(stdin))
    declared = host_settings(
        host_content(record.attempted, host),
        revision=record.revisions.get(host, ""),
        certificate_sha256=told.get("CERTIFICATE_SHA256", ""),
        ca_sha256=told.get("CA_SHA256", ""),
    )
    if stdin == declared:
        return
    wanted, got = (_lines(text) for text in (declared, stdin))
    keys = [key for key in dict.fromkeys((*wanted, *got)) if wanted.get(key) != got.get(key)]
    # What is not a setting's name may be anything, a key's line too, and is not repeated.
    contents = (host_content(record.attempted, other) for other in record.attempted.hosts)
    names = {*wanted, *(key for content in contents for key in _lines(content))}
    shown = ", ".join(dict.fromkeys(key if key in names else "what is no setting" for key in keys)) or "their order"
    yield (
        f"{name}: what it tells {host} is not what the ledger declares for it (it differs in {shown}); change the "
        "stack's config instead, one step a deploy, and reach hosts without --target or --exclude"
    )


def _lines(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in text.splitlines())}


def _fingerprints(name: str, stdin: str, seen: Seen) -> Iterator[str]:
    """Both or neither, as issued; the same for every host; those of the certificates that were seen."""
    told = dict(_FINGERPRINT.findall(stdin))
    if bool(told.get("CERTIFICATE_SHA256")) != seen.issued or bool(told.get("CA_SHA256")) != seen.issued:
        yield f"{name}: its fingerprints do not go with CERTIFICATE_GENERATION in the ledger; {_UNCHANGED}"
        return
    known = {"CERTIFICATE_SHA256": seen.certificate_sha256 or seen.told_sha256, "CA_SHA256": seen.ca_sha256}
    for key, value in known.items():
        if value and told[key] != value:
            yield f"{name}: its {key} is not that of the certificate in this stack; {_UNCHANGED}"
    seen.told_sha256 = seen.told_sha256 or told["CERTIFICATE_SHA256"]
