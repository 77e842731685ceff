"""What a stack remembers: its ledger's record and its receipts, out of what `pulumi stack export` prints.

Nothing else of an export is kept, and nothing of it is ever printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from operate.errors import BadInput
from rollout.declared import Declared
from rollout.ledger import Record
from rollout.moves import changed_keys, describe

_LEDGER = "tls:Ledger"
_STACK = "pulumi:pulumi:Stack"
_EXPORT_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack that was read. `record` is None where it has no ledger: nothing was ever applied."""

    record: Record | None
    receipts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacks:
    """The stacks that were read, by environment; of the others, why not."""

    read: Mapping[str, Stack] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)

    def why_unread(self, environment: str) -> str:
        """A sentence for a stack that was not read."""
        return self.unread.get(environment, "nobody asked for it: --stack-record FILE or --read-stacks does")


def from_files(given: tuple[str, ...]) -> Stacks:
    """The stacks of these exports, each `FILE` or `ENVIRONMENT=FILE`, `-` for standard input; raises `BadInput`."""
    read = {}
    for one in given:
        named, equals, path = one.partition("=")
        if not equals:
            named, path = "", one
        environment, stack = parse_export(_text(path), path)
        if not (named or environment):
            raise BadInput(f"--stack-record {one}: the export is empty and names no stack; write ENVIRONMENT={one}")
        read[named or environment] = stack
    return Stacks(read=read)


def from_pulumi(environments: tuple[str, ...], folder: Path) -> Stacks:
    """The stacks as `pulumi stack export` has them now; one that can't be had is told of, not raised."""
    read, unread = {}, {}
    for environment in environments:
        try:
            read[environment] = _exported(environment, folder)
        except _Unreadable as error:
            unread[environment] = str(error)
    return Stacks(read=read, unread=unread)


def merged(one: Stacks, other: Stacks) -> Stacks:
    """Both; what was read in `one` wins."""
    return Stacks(read={**other.read, **one.read}, unread={**one.unread, **other.unread})


def parse_export(text: str, where: str) -> tuple[str, Stack]:
    """The stack's name ("" where the export holds nothing) and what it remembers; raises `BadInput`."""
    not_one = BadInput(f"{where}: it is not what `pulumi stack export` prints; export the stack again")
    try:
        deployment = json.loads(text)["deployment"]
        resources = deployment.get("resources") or []
        named = [resource for resource in resources if resource["urn"].startswith("urn:pulumi:")]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise not_one from None
    name = named[0]["urn"].removeprefix("urn:pulumi:").split("::")[0] if named else ""
    ledgers = [
        resource for resource in named if resource.get("type", "").endswith(_LEDGER) and not resource.get("delete")
    ]
    roots = [resource for resource in named if resource.get("type") == _STACK]
    receipts = ((roots[0].get("outputs") or {}) if roots else {}).get("receipts") or {}
    try:
        record = Record.from_plain(ledgers[0]["inputs"]) if ledgers else None
        return name, Stack(record=record, receipts={host: str(revision) for host, revision in receipts.items()})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise BadInput(
            f"{where}: the ledger of stack {name} is not one that this version knows; use the version that applied it"
        ) from None


def apart(stack: Declared, file: Declared) -> str:
    """In what a file says something else than its stack was last given; "" where only attributes may differ."""
    keys = changed_keys(stack.settings, file.settings)
    if keys:
        return ", ".join(f"{key} is {file.settings[key]} there and {stack.settings[key]} in the stack" for key in keys)
    return describe(stack, file).line


class _Unreadable(Exception):
    """Why a stack could not be exported."""


def _exported(environment: str, folder: Path) -> Stack:
    command = ["pulumi", "stack", "export", "--non-interactive", "--color", "never", "--stack", environment]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_EXPORT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise _Unreadable("pulumi is not on PATH") from None
    except (subprocess.TimeoutExpired, UnicodeDecodeError):
        raise _Unreadable(f"`pulumi stack export` did not end well within {_EXPORT_SECONDS:.0f} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("error:")] or done.stderr.splitlines()
        raise _Unreadable(f"pulumi says: {(said or ['nothing'])[0].removeprefix('error:').strip()}")
    try:
        return parse_export(done.stdout, f"stack {environment}")[1]
    except BadInput as error:
        raise _Unreadable(str(error)) from None


def _text(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--stack-record {path}: it can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"--stack-record {path}: it is no UTF-8 text") from None
