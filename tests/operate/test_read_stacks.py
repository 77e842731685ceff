"""A stack is read from what the engine exports: a real ledger, on the real engine, in the middle of a rollout."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from operate.stacks import from_files, from_pulumi, parse_export
from rollout.ledger import last_confirmed, unconfirmed_hosts
from tests.engine.stacks import ROOT, Stack
from tests.unit.rollout.declarations import CERTIFICATES, POSTGRES_OFFERS, PREPARED, declared

PROGRAM = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}]
import pulumi
from components.ledger import Ledger, own_receipts
from tests.unit.rollout.declarations import declared

state = dict(word.split("=") for word in os.environ["STATE"].split(",") if word)
ledger = Ledger("ledger", declared=declared(**state), receipts=own_receipts())
pulumi.export("hidden", pulumi.Output.secret("canary-4711"))
if os.environ.get("FAIL"):
    ledger.revisions.apply(lambda known: sys.exit("a host failed"))
else:
    pulumi.export("receipts", ledger.revisions)
"""


def words(state: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in state.items())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack that issued certificates and confirmed it, and whose next `up` failed after the ledger."""
    made = Stack(folder=tmp_path_factory.mktemp("stack"), program=PROGRAM)
    for state in (PREPARED, CERTIFICATES):
        made.environment["STATE"] = words(state)
        made.up()
    made.environment |= {"STATE": words(POSTGRES_OFFERS), "FAIL": "yes"}
    made.refused("up", "--yes", "--skip-preview")
    return made


@pytest.fixture
def in_its_environment(stack: Stack) -> Iterator[None]:
    """As a job has it that may only read: the backend, and no passphrase."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.variables().items():
            patch.setenv(name, value)
        patch.delenv("PULUMI_CONFIG_PASSPHRASE")
        yield


def test_the_engines_export_holds_the_record_and_the_receipts(stack: Stack) -> None:
    name, read = parse_export(stack.ok("stack", "export").stdout, "the export")
    assert name == "dev"
    assert read.record is not None
    assert read.record.attempted == declared(**POSTGRES_OFFERS)
    assert unconfirmed_hosts(read.record, read.receipts) == ("database",)
    assert last_confirmed(read.record, read.receipts) == declared(**CERTIFICATES)
    assert "canary" not in repr(read)


@pytest.mark.usefixtures("in_its_environment")
def test_stacks_are_read_through_pulumi_and_one_that_is_not_there_is_told_of(stack: Stack) -> None:
    known = from_pulumi(("dev", "elsewhere"), stack.project)
    assert set(known.read) == {"dev"}
    assert known.read["dev"].record is not None
    assert "no stack named 'elsewhere' found" in known.why_unread("elsewhere")


@pytest.mark.usefixtures("in_its_environment")
def test_reading_changes_nothing_in_the_backend(stack: Stack) -> None:
    before = {path: path.read_bytes() for path in sorted((stack.folder / "state").rglob("*")) if path.is_file()}
    from_pulumi(("dev",), stack.project)
    after = {path: path.read_bytes() for path in sorted((stack.folder / "state").rglob("*")) if path.is_file()}
    assert after == before


def test_without_pulumi_it_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert from_pulumi(("dev",), tmp_path).why_unread("dev") == "pulumi is not on PATH"


def test_nothing_that_pulumi_prints_beside_its_error_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plays a `pulumi` that fails after it has printed state."""
    fake = tmp_path / "pulumi"
    fake.write_text("#!/bin/sh\necho canary-4711\necho 'warning: old' >&2\necho 'error: no access' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert from_pulumi(("dev",), tmp_path).why_unread("dev") == "pulumi says: no access"


def test_a_stack_is_named_where_its_export_is_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({"version": 3, "deployment": {}}))
    known = from_files((f"staging={empty}",))
    assert known.read["staging"].record is None
