"""The ledger on the real engine: moves are judged at preview, hosts are reached only through it, receipts confirm.

The hosts' component is the real one, its commands run locally: each appends to a log that it was reached and that it
ended, and prints its revision, or fails while a file says so. What counts is what reached a host, so the log is what
is asserted.
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
sys.path[:0] = [{str(ROOT)!r}]
import pulumi
from pulumi_command import local
import components.hosts
from components.ledger import CertificatesInUse, Ledger, announce, own_receipts
from rollout.config import Ssh
from rollout.inventory import Host
from tests.unit.rollout.declarations import declared, having

def told_locally(name, *, command, stdin, connection, opts):
    # The bundle is not what is tested here: its command does nothing.
    host = name.removeprefix("hosts.")
    script = "true" if host.endswith(".bundle") else f"./host.sh {{host}}"
    return local.Command(name, create=script, update=script, stdin=stdin, add_previous_output_in_env=False, opts=opts)

components.hosts._command = told_locally
state = dict(word.split("=") for word in os.environ["STATE"].split(",") if word)
free = {{name: state.pop(name) for name in list(state) if name.startswith("apps__")}}
wanted = having(declared(**state), **free)
receipts = own_receipts()
ledger = Ledger("ledger", declared=wanted, receipts=receipts)
announce(ledger, receipts)
hosts = components.hosts.Hosts(
    "hosts",
    hosts=tuple(
        Host(name=name, address="127.0.0.1", port=22, user="root", host_key="") for name in wanted.hosts
    ),
    ssh=Ssh(private_key_file="", private_key="", timeout_seconds=60),
    contents=ledger.contents,
    revisions=ledger.revisions,
    order=ledger.order,
    certificate_sha256="",
    ca_sha256="",
    after=[],
)
CertificatesInUse("certificates-in-use", generation=ledger.generation,
                  opts=pulumi.ResourceOptions(depends_on=[ledger, hosts]))
pulumi.export("receipts", hosts.receipts)
"""

HOST = """#!/bin/sh
# usage: host.sh NAME    takes settings on stdin; fails while fail-NAME exists; waits while hang-NAME exists
settings=$(cat)
revision=$(printf '%s\\n' "$settings" | sed -n 's/^REVISION=//p')
echo "$1 $revision" >>log
if [ -e "hang-$1" ]; then : >"reached-$1"; while [ -e "hang-$1" ]; do sleep 0.05; done; fi
if [ -e "fail-$1" ]; then echo "$1 is broken" >&2; exit 1; fi
echo "$1 $revision ended" >>log
echo "$revision"
"""


HOSTS = ("api1", "api2", "database", "web")
PREPARED = "prepared=on"
ISSUED = f"{PREPARED},gen=1"
OFFERS = f"{ISSUED},pg=on"
LEG_2 = f"{OFFERS},leg2=verify-ca"
REDIS_OFFERS = f"{ISSUED},redis=true"
API_FLIPPED = f"{REDIS_OFFERS},api_redis=true"


class Rollout:
    """A stack with four hosts, and the log of what reached them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        script = stack.project / "host.sh"
        script.write_text(HOST)
        script.chmod(0o755)
        self.log.touch()

    @property
    def log(self) -> Path:
        return self.stack.project / "log"

    def happened(self) -> list[str]:
        """What happened on hosts since the last question, in order: `api1 3`, then `api1 3 ended`."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return lines

    def reached(self) -> list[str]:
        """Which hosts were reached since the last question, sorted, each with its revision."""
        return sorted(line for line in self.happened() if not line.endswith(" ended"))

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
    assert "first deployment" in rollout.up("").output
    assert rollout.reached() == ["api1 1", "api2 1", "database 1", "web 1"]
    assert "step 0: PREPARED off → on" in rollout.up(PREPARED).output
    assert rollout.reached() == ["database 2"]
    assert "postgres 1/7: CERTIFICATE_GENERATION 0 → 1" in rollout.up(ISSUED).output
    assert rollout.reached() == ["api1 2", "api2 2", "database 3", "web 2"]
    return rollout


@pytest.fixture
def rollout(at_generation_1: Rollout, tmp_path: Path) -> Iterator[Rollout]:
    yield from _copied(at_generation_1, tmp_path, ISSUED)


@pytest.fixture(scope="module")
def with_redis(at_generation_1: Rollout, tmp_path_factory: pytest.TempPathFactory) -> Rollout:
    """Redis offers TLS: the apps may be flipped."""
    rollout = Rollout(at_generation_1.stack.copy(tmp_path_factory.mktemp("redis") / "copy"))
    rollout.up(REDIS_OFFERS)
    # Redis first, then the collector, which runs beside web.
    assert rollout.happened() == ["database 4", "database 4 ended", "web 3", "web 3 ended"]
    return rollout


@pytest.fixture
def rolling(with_redis: Rollout, tmp_path: Path) -> Iterator[Rollout]:
    yield from _copied(with_redis, tmp_path, REDIS_OFFERS)


def _copied(base: Rollout, folder: Path, state: str) -> Iterator[Rollout]:
    rollout = Rollout(base.stack.copy(folder / "copy"))
    rollout.set(state)
    yield rollout
    for host in HOSTS:
        rollout.flag(f"hang-{host}", on=False)


def changes(preview: str) -> set[str]:
    """The names of the resources that a preview shows as changed."""
    changed = [line for line in preview.splitlines() if line.startswith((" ~", " +", " -"))]
    return {line.split()[2] for line in changed}


def begun(rollout: Rollout) -> subprocess.Popen[bytes]:
    """An `up` that runs on its own, in a process group of its own."""
    return subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive"],
        cwd=rollout.stack.project,
        env=rollout.stack.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_a_step_reaches_its_hosts_once_and_a_second_up_none(rollout: Rollout) -> None:
    rollout.set(OFFERS)
    preview = rollout.stack.ok("preview").output
    assert "postgres 2/7: POSTGRES_TLS_ENABLED off → on" in preview
    assert changes(preview) == {"ledger", "hosts.database"}
    rollout.stack.up()
    assert rollout.reached() == ["database 4"]
    again = rollout.stack.up("--expect-no-changes").output
    assert "POSTGRES_TLS_ENABLED" not in again
    assert rollout.reached() == []


def test_illegal_moves_are_refused_before_any_host_is_reached(rollout: Rollout) -> None:
    rollout.refused_everywhere(f"{ISSUED},leg2=verify-ca", "PgBouncer would find no TLS at Postgres")
    rollout.refused_everywhere(LEG_2, "2 things change at once")


def test_a_failed_step_allows_only_itself_or_the_way_back(rollout: Rollout) -> None:
    rollout.flag("fail-database", on=True)
    rollout.set(OFFERS)
    assert "database is broken" in rollout.stack.refused("up", "--yes", "--skip-preview").output
    assert rollout.reached() == ["database 4"]
    rollout.refused_everywhere(LEG_2, "is not confirmed by database")
    # The same step again runs the host again, and fails again; then the way back, which runs it too.
    rollout.set(OFFERS)
    rollout.stack.refused("up", "--yes", "--skip-preview")
    assert rollout.reached() == ["database 4"]
    rollout.flag("fail-database", on=False)
    rollout.up(ISSUED)
    assert rollout.reached() == ["database 5"]
    rollout.up(OFFERS)
    assert rollout.reached() == ["database 6"]


def test_a_retry_reaches_only_the_host_that_failed(rollout: Rollout) -> None:
    rollout.flag("fail-web", on=True)
    rollout.set(f"{PREPARED},gen=2")
    rollout.stack.refused("up", "--yes", "--skip-preview")
    assert "web 3" in rollout.reached()
    rollout.flag("fail-web", on=False)
    rollout.stack.up()
    assert "web 3" in rollout.reached()
    assert rollout.stack.outputs()["receipts"] == {"api1": "3", "api2": "3", "database": "4", "web": "3"}


def test_the_hosts_of_an_app_are_reached_one_after_another_and_the_way_back_rolls_too(rolling: Rollout) -> None:
    rolling.set(API_FLIPPED)
    preview = rolling.stack.ok("preview").output
    assert "redis 3/4 (api, 1 of 2): apps.api.REDIS_TLS_ENABLED false → true" in preview
    assert changes(preview) == {"ledger", "hosts.api1", "hosts.api2"}
    rolling.stack.up()
    assert rolling.happened() == ["api1 3", "api1 3 ended", "api2 3", "api2 3 ended"]
    # The order stays in the record and shows as no change.
    rolling.stack.up("--expect-no-changes")
    assert rolling.happened() == []
    rolling.up(REDIS_OFFERS)
    assert rolling.happened() == ["api1 4", "api1 4 ended", "api2 4", "api2 4 ended"]
    # And it goes with the next move that has none: only the ledger and the moved host change.
    rolling.set(f"{REDIS_OFFERS},pg=on")
    assert changes(rolling.stack.ok("preview").output) == {"ledger", "hosts.database"}


def test_redis_is_taken_back_after_its_collector(rolling: Rollout) -> None:
    rolling.up(ISSUED)
    assert rolling.happened() == ["web 4", "web 4 ended", "database 5", "database 5 ended"]


def test_the_second_host_waits_until_the_canary_has_ended(rolling: Rollout) -> None:
    hang = rolling.flag("hang-api1", on=True)
    rolling.set(API_FLIPPED)
    running = begun(rolling)
    wait_until("the canary is reached", (rolling.stack.project / "reached-api1").exists, seconds=30.0)
    assert rolling.happened() == ["api1 3"]
    hang.unlink()
    assert running.wait(60) == 0
    assert rolling.happened() == ["api1 3 ended", "api2 3", "api2 3 ended"]


def test_a_failed_canary_stops_the_roll_and_a_retry_keeps_its_order(rolling: Rollout) -> None:
    rolling.flag("fail-api1", on=True)
    rolling.set(API_FLIPPED)
    assert "api1 is broken" in rolling.stack.refused("up", "--yes", "--skip-preview").output
    assert rolling.happened() == ["api1 3"]
    # What may change with a retry does not lose the order; the canary fails again.
    rolling.set(f"{API_FLIPPED},apps__api__acceptRestart=true")
    rolling.stack.refused("up", "--yes", "--skip-preview")
    assert rolling.happened() == ["api1 4"]
    rolling.flag("fail-api1", on=False)
    rolling.stack.up()
    assert rolling.happened() == ["api1 4", "api1 4 ended", "api2 4", "api2 4 ended"]


def test_after_a_failed_second_host_a_retry_reaches_it_alone_and_the_way_back_both(rolling: Rollout) -> None:
    rolling.flag("fail-api2", on=True)
    rolling.set(API_FLIPPED)
    for reached in (["api1 3", "api1 3 ended", "api2 3"], ["api2 3"]):
        rolling.stack.refused("up", "--yes", "--skip-preview")
        assert rolling.happened() == reached
    rolling.flag("fail-api2", on=False)
    rolling.up(REDIS_OFFERS)
    assert rolling.happened() == ["api1 4", "api1 4 ended", "api2 4", "api2 4 ended"]


def test_a_command_targeted_alone_is_told_nothing_new(rollout: Rollout) -> None:
    rollout.set(OFFERS)
    database = rollout.stack.resources()["hosts.database"]["urn"]
    rollout.stack.run("up", "--yes", "--skip-preview", "--target", database)
    assert rollout.reached() == []


def test_a_replaced_or_deleted_ledger_is_refused(rollout: Rollout) -> None:
    ledger = "urn:pulumi:dev::trial::pulumi-python:dynamic/tls:Ledger::ledger"
    rollout.set(OFFERS)
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
    rollout.up(PREPARED)
    rollout.reached()
    rollout.stack.ok("destroy", "--yes", "--skip-preview")
    assert rollout.reached() == []


def test_an_up_that_was_killed_in_the_middle_of_a_command_is_finished_by_the_next(rollout: Rollout) -> None:
    hang = rollout.flag("hang-database", on=True)
    rollout.set(OFFERS)
    running = begun(rollout)
    wait_until("the host is reached", (rollout.stack.project / "reached-database").exists, seconds=30.0)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    hang.unlink()
    rollout.reached()
    rollout.stack.run("cancel", "--yes")
    rollout.refused_everywhere(LEG_2, "is not confirmed by database")
    rollout.up(OFFERS)
    assert rollout.reached() == ["database 4"]
    assert rollout.stack.outputs()["receipts"]["database"] == "4"
