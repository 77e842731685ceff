"""The ledger on the real engine: moves are judged at preview, hosts are reached only through it, receipts confirm.

Hosts are local commands here: each appends what it was told to a log and prints its revision, or fails while a file
says so. What counts is what reached a host, so the log is what is asserted.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.stacks import ROOT, Ran, Stack
from tests.waiting import wait_until

PROGRAM = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests/unit/rollout")!r}]
import pulumi
from pulumi_command import local
from components.hosts import receipt
from components.ledger import CertificatesInUse, Ledger, announce, own_receipts
from declarations import declared
from rollout.render import host_settings

state = os.environ["STATE"].split(",")
receipts = own_receipts()
ledger = Ledger("ledger", declared=declared(*state), receipts=receipts)
announce(ledger, receipts)
done = {{}}
for host in ("api", "database", "web"):
    text = pulumi.Output.all(ledger.contents, ledger.revisions).apply(
        lambda k, host=host: host_settings(k[0][host], revision=k[1][host], certificate_sha256="", ca_sha256="")
    )
    command = f"./host.sh {{host}}"
    done[host] = local.Command(f"hosts.{{host}}", create=command, update=command, stdin=text,
                               add_previous_output_in_env=False)
CertificatesInUse("certificates-in-use", generation=ledger.generation,
                  opts=pulumi.ResourceOptions(depends_on=[ledger, *done.values()]))
pulumi.export("receipts", {{host: ran.stdout.apply(receipt) for host, ran in done.items()}})
"""

HOST = """#!/bin/sh
# usage: host.sh NAME    takes settings on stdin; fails while fail-NAME exists; waits while hang-NAME exists
settings=$(cat)
revision=$(printf '%s\\n' "$settings" | sed -n 's/^REVISION=//p')
echo "$1 $revision" >>log
if [ -e "hang-$1" ]; then : >"reached-$1"; while [ -e "hang-$1" ]; do sleep 0.05; done; fi
if [ -e "fail-$1" ]; then echo "$1 is broken" >&2; exit 1; fi
echo "$revision"
"""


class Rollout:
    """A stack with three hosts, and the log of what reached them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        script = stack.project / "host.sh"
        script.write_text(HOST)
        script.chmod(0o755)
        self.log.touch()

    @property
    def log(self) -> Path:
        return self.stack.project / "log"

    def reached(self) -> list[str]:
        """What reached hosts since the last question."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return sorted(lines)

    def set(self, state: str) -> None:
        self.stack.environment["STATE"] = state

    def up(self, state: str, *arguments: str) -> Ran:
        self.set(state)
        return self.stack.up(*arguments)

    def refused_everywhere(self, state: str, why: str) -> None:
        """Refused by preview, and by an `up` that skips the preview; no host is reached."""
        self.set(state)
        assert why in self.stack.refused("preview").output
        assert why in self.stack.refused("up", "--yes", "--skip-preview").output
        assert self.reached() == []

    def flag(self, name: str, *, on: bool) -> Path:
        path = self.stack.project / name
        path.touch() if on else path.unlink(missing_ok=True)
        return path


@pytest.fixture(scope="module")
def at_generation_1(tmp_path_factory: pytest.TempPathFactory) -> Rollout:
    """A stack that every test starts from a copy of: the first step is confirmed."""
    rollout = Rollout(Stack(folder=tmp_path_factory.mktemp("rollout"), program=PROGRAM))
    assert "first deployment" in rollout.up("0,off,disable").output
    assert rollout.reached() == ["api 1", "database 1", "web 1"]
    assert "postgres 1/7: CERTIFICATE_GENERATION 0 → 1" in rollout.up("1,off,disable").output
    assert rollout.reached() == ["api 2", "database 2", "web 2"]
    return rollout


@pytest.fixture
def rollout(at_generation_1: Rollout, tmp_path: Path) -> Iterator[Rollout]:
    rollout = Rollout(at_generation_1.stack.copy(tmp_path / "copy"))
    rollout.set("1,off,disable")
    yield rollout
    for host in ("api", "database", "web"):
        rollout.flag(f"hang-{host}", on=False)


def test_a_step_reaches_its_hosts_once_and_a_second_up_none(rollout: Rollout) -> None:
    rollout.set("1,on,disable")
    preview = rollout.stack.ok("preview").output
    assert "postgres 2/7: POSTGRES_TLS_ENABLED off → on" in preview
    changed = [line for line in preview.splitlines() if line.startswith((" ~", " +", " -"))]
    assert {line.split()[2] for line in changed} == {"ledger", "hosts.database"}, preview
    rollout.stack.up()
    assert rollout.reached() == ["database 3"]
    again = rollout.stack.up("--expect-no-changes").output
    assert "POSTGRES_TLS_ENABLED" not in again
    assert rollout.reached() == []


def test_illegal_moves_are_refused_before_any_host_is_reached(rollout: Rollout) -> None:
    rollout.refused_everywhere("1,off,verify-ca", "PgBouncer would find no TLS at Postgres")
    rollout.refused_everywhere("1,on,verify-ca", "2 things change at once")


def test_a_failed_step_allows_only_itself_or_the_way_back(rollout: Rollout) -> None:
    rollout.flag("fail-database", on=True)
    rollout.set("1,on,disable")
    assert "database is broken" in rollout.stack.refused("up", "--yes", "--skip-preview").output
    assert rollout.reached() == ["database 3"]
    rollout.refused_everywhere("1,on,verify-ca", "is not confirmed by database")
    # The same step again runs the host again, and fails again; then the way back, which runs it too.
    rollout.set("1,on,disable")
    rollout.stack.refused("up", "--yes", "--skip-preview")
    assert rollout.reached() == ["database 3"]
    rollout.flag("fail-database", on=False)
    rollout.up("1,off,disable")
    assert rollout.reached() == ["database 4"]
    rollout.up("1,on,disable")
    assert rollout.reached() == ["database 5"]


def test_a_retry_reaches_only_the_host_that_failed(rollout: Rollout) -> None:
    rollout.flag("fail-web", on=True)
    rollout.set("2,off,disable")
    rollout.stack.refused("up", "--yes", "--skip-preview")
    assert "web 3" in rollout.reached()
    rollout.flag("fail-web", on=False)
    rollout.stack.up()
    assert "web 3" in rollout.reached()
    assert rollout.stack.outputs()["receipts"] == {"api": "3", "database": "3", "web": "3"}


def test_a_command_targeted_alone_is_told_nothing_new(rollout: Rollout) -> None:
    rollout.set("1,on,disable")
    database = "urn:pulumi:dev::trial::command:local:Command::hosts.database"
    rollout.stack.run("up", "--yes", "--skip-preview", "--target", database)
    assert rollout.reached() == []


def test_a_replaced_or_deleted_ledger_is_refused(rollout: Rollout) -> None:
    ledger = "urn:pulumi:dev::trial::pulumi-python:dynamic/tls:Ledger::ledger"
    rollout.set("1,on,disable")
    for arguments in (["--target-replace", ledger], ["--replace", ledger]):
        ran = rollout.stack.refused("up", "--yes", "--skip-preview", *arguments)
        assert "the ledger has no record" in ran.output, ran.output
    rollout.stack.ok("state", "delete", "--yes", "--force", "--target-dependents", ledger)
    ran = rollout.stack.refused("up", "--yes", "--skip-preview")
    assert "the ledger has no record" in ran.output
    assert rollout.reached() == []


def test_destroy_is_refused_while_a_certificate_is_issued_and_never_reaches_a_host(rollout: Rollout) -> None:
    before = rollout.stack.resources().keys()
    ran = rollout.stack.refused("destroy", "--yes", "--skip-preview")
    assert "destroy refused: CERTIFICATE_GENERATION is 1" in ran.output
    assert "pulumi config set CERTIFICATE_GENERATION 0" in ran.output
    assert rollout.stack.resources().keys() == before
    rollout.stack.up("--expect-no-changes")
    rollout.up("0,off,disable")
    rollout.reached()
    rollout.stack.ok("destroy", "--yes", "--skip-preview")
    assert rollout.reached() == []


def test_an_up_that_was_killed_in_the_middle_of_a_command_is_finished_by_the_next(rollout: Rollout) -> None:
    hang = rollout.flag("hang-database", on=True)
    rollout.set("1,on,disable")
    running = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive"],
        cwd=rollout.stack.project,
        env=rollout.stack.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until("the host is reached", (rollout.stack.project / "reached-database").exists, seconds=30.0)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    hang.unlink()
    rollout.reached()
    rollout.stack.run("cancel", "--yes")
    rollout.refused_everywhere("1,on,verify-ca", "is not confirmed by database")
    rollout.up("1,on,disable")
    assert rollout.reached() == ["database 3"]
    assert rollout.stack.outputs()["receipts"]["database"] == "3"
