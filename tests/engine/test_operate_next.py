"""`operate next` and `back` on the real engine: what is set, what is applied, and what stands when something is wrong.

The ledger, the rules and the hosts' component are the real ones; the hosts' commands run locally, and an `ssh` that is
played answers what a host would say beforehand and afterwards.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.engine.stacks import ROOT, Stack
from tests.waiting import wait_until

PROGRAM = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}]
import pulumi
from pulumi_command import local
import components.hosts
from components.ledger import Ledger, announce, own_receipts
from components.stack_config import read_configuration

def told_locally(name, *, command, stdin, connection, opts):
    host = name.removeprefix("hosts.")
    script = "true" if host.endswith(".bundle") else f"./host.sh {{host}}"
    return local.Command(name, create=script, update=script, stdin=stdin, add_previous_output_in_env=False, opts=opts)

components.hosts._command = told_locally
config = read_configuration()
receipts = own_receipts()
ledger = Ledger("ledger", declared=config.declared, receipts=receipts)
announce(ledger, receipts)
hosts = components.hosts.Hosts(
    "hosts",
    hosts=config.hosts,
    ssh=config.ssh,
    contents=ledger.contents,
    revisions=ledger.revisions,
    order=ledger.order,
    certificate_sha256="",
    ca_sha256="",
    after=[],
)
pulumi.export("receipts", hosts.receipts)
"""

HOST = """#!/bin/sh
# usage: host.sh NAME    takes settings; fails while fail-NAME exists; waits while hang-NAME exists
settings=$(cat)
revision=$(printf '%s\\n' "$settings" | sed -n 's/^REVISION=//p')
echo "$1 $revision" >>log
if [ -e "hang-$1" ]; then : >"reached-$1"; while [ -e "hang-$1" ]; do sleep 0.05; done; fi
if [ -e "fail-$1" ]; then echo "$1 is broken" >&2; exit 1; fi
echo "$revision" >"verified-$1"
echo "$revision"
"""

SSH = """#!/bin/sh
# Plays ssh: which host it is, and what is asked there, stands in the arguments.
for word; do
  case $word in HostKeyAlias=*) host=${word#*=} ;; UserKnownHostsFile=*) known=${word#*=} ;; esac
  command=$word
done
case $command in
  *--report*) echo '{"format": 1, "time": "", "underWay": false, "handChanges": []}' ;;
  *--verify-only) echo "ok      it does as it should"; cat "verified-$host" ;;
  *--preflight*)
    cat >"asked-$host"
    cat "$known" >"known-$host"
    while [ -e "hang-ssh" ]; do : >reached-ssh; sleep 0.05; done
    [ ! -e "busy-$host" ] || exit 5
    [ ! -e "refuse-$host" ] || { echo "voice is connected in plaintext" >&2; exit 3; }
    echo "would be taken" >&2
    ;;
esac
"""

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKp4cbBxcSvmx8Q0SNKDG9ZS3JzSJyV4sJZ7S7cQh1mN"
CONFIG = f"""
# The rollout
config:
  trial:PREPARED: off   # the mounts
  trial:CERTIFICATE_GENERATION: "0"
  trial:POSTGRES_TLS_ENABLED: 'off'
  trial:apps:
    api: {{DATABASE_SSL_MODE: disable, services: [api-1, api-2]}}
    web:
      services: [web-1, web-2]
  trial:environment: dev
  trial:databaseDns: db.dev.internal
  trial:secrets: {{region: eu-west-1}}
  trial:hosts:
    api1: {{address: api1, hostKey: {KEY}, roles: [api]}}
    api2: {{address: api2, hostKey: {KEY}, roles: [api]}}
    database: {{address: database, hostKey: {KEY}, roles: [postgres, pgbouncer, redis]}}
    web: {{address: web, hostKey: {KEY}, roles: [web]}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return " ".join((self.out + self.err).split())


@dataclass(slots=True, kw_only=True)
class Site:
    """A stack whose hosts are files in its project's folder."""

    stack: Stack
    bin: Path
    project: Path = field(init=False)

    def __post_init__(self) -> None:
        self.project = self.stack.project

    @property
    def config(self) -> Path:
        return self.project / "Pulumi.dev.yaml"

    def flag(self, name: str, *, on: bool = True) -> None:
        path = self.project / name
        path.touch() if on else path.unlink(missing_ok=True)

    def reached(self) -> list[str]:
        """Which hosts were reached since the last question, each with its revision."""
        log = self.project / "log"
        lines = log.read_text().splitlines()
        log.write_text("")
        return lines

    def begun(self, *arguments: str, project: Path | None = None) -> subprocess.Popen[str]:
        environment = self.stack.variables()
        environment["PATH"] = f"{self.bin}:{environment['PATH']}"
        return subprocess.Popen(
            [sys.executable, "-m", "operate", *arguments],
            cwd=project or self.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def operate(self, *arguments: str, project: Path | None = None) -> Ended:
        return ended(self.begun(*arguments, project=project))


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=240)
    assert "Traceback" not in out + err, err
    return Ended(code=process.returncode, out=out, err=err)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A stack that every test starts from a copy of: the first `up` is done."""
    folder = tmp_path_factory.mktemp("operate")
    stack = Stack(folder=folder / "stack", program=PROGRAM)
    for name, text in (("host.sh", HOST), ("log", "")):
        (stack.project / name).write_text(text)
    (stack.project / "host.sh").chmod(0o755)
    own = folder / "bin"
    own.mkdir()
    (own / "ssh").write_text(SSH)
    (own / "ssh").chmod(0o755)
    site = Site(stack=stack, bin=own)
    site.config.write_text(site.config.read_text().strip() + CONFIG)
    stack.up()
    site.reached()
    return site


@pytest.fixture
def site(first: Site, tmp_path: Path) -> Iterator[Site]:
    made = Site(stack=first.stack.copy(tmp_path / "copy"), bin=first.bin)
    yield made
    for name in ("hang-database", "hang-ssh"):
        made.flag(name, on=False)


def test_a_step_changes_one_line_reaches_its_host_and_is_verified(site: Site) -> None:
    before = site.config.read_text()
    done = site.operate("next", "--yes")
    assert done.code == 0, done.out + done.err
    assert site.config.read_text() == before.replace("PREPARED: off   #", "PREPARED: on   #")
    assert site.reached() == ["database 2"]
    for words in (
        "dev: allowed, a step forward",
        "step 0: PREPARED off → on",
        "+ trial:PREPARED: on",
        "asked now database passes",
        "preview: 2 resources change: ledger, hosts.database",
        "verified database holds revision 2",
        "Pulumi.dev.yaml is not committed",
    ):
        assert words in done.said
    assert "PREPARED=on" in (site.project / "asked-database").read_text()
    assert (site.project / "known-database").read_text() == f"database {KEY}\n"


def test_the_whole_way_forward_and_back_leaves_every_other_byte(site: Site) -> None:
    before = site.config.read_bytes()
    there = site.operate("next", "--to", "redis", "4", "--yes")
    assert there.code == 0, there.out + there.err
    assert site.stack.resources()["ledger"]["outputs"]["standing"]["redis"]["step"] == "4"
    # What was not written yet got a line of its own, or a place in one; the rest is untouched.
    assert "    web:\n      services: [web-1, web-2]\n      REDIS_TLS_ENABLED: true\n" in site.config.read_text()
    assert "services: [api-1, api-2], REDIS_TLS_ENABLED: true}" in site.config.read_text()
    assert site.operate("next", "--to", "redis", "4", "--yes").code == 0
    back = site.operate("back", "--to", "start", "--yes")
    assert back.code == 0, back.out + back.err
    assert site.stack.resources()["ledger"]["outputs"]["standing"]["redis"]["step"] == "0"
    added = [line for line in site.config.read_bytes().splitlines() if line not in before.splitlines()]
    assert [line.strip(b" }").rpartition(b": ")[2] for line in added] == [b"false"] * 4, added


def test_a_host_that_would_refuse_stops_it_before_anything_is_set(site: Site) -> None:
    before = site.config.read_bytes()
    site.flag("refuse-database")
    done = site.operate("next", "--yes")
    assert done.code == 1
    assert "database REFUSED: voice is connected in plaintext" in done.said
    assert (site.config.read_bytes(), site.reached()) == (before, [])
    site.flag("refuse-database", on=False)
    site.flag("busy-database")
    assert site.operate("next", "--yes").code == 4
    assert (site.config.read_bytes(), site.reached()) == (before, [])


def test_rules_refuse_before_any_host_is_asked(site: Site) -> None:
    done = site.operate("next", "--to", "PGBOUNCER_SERVER_TLS_SSLMODE=verify-full", "--yes")
    assert done.code == 1
    assert "POSTGRES_TLS_ENABLED is off" in done.said
    assert not (site.project / "asked-database").exists()
    assert site.operate("next", "--to", "postgres", "9").code == 2


def test_without_a_terminal_and_without_yes_it_shows_all_and_applies_nothing(site: Site) -> None:
    before = site.config.read_bytes()
    done = site.operate("next")
    assert done.code == 1
    assert "preview: 2 resources change" in done.said
    assert "there is no terminal to ask on, and --yes was not given" in done.said
    assert (site.config.read_bytes(), site.reached()) == (before, [])


def test_a_host_that_fails_leaves_file_and_stack_agreed_and_both_ways_open(site: Site) -> None:
    before = site.config.read_text()
    site.flag("fail-database")
    done = site.operate("next", "--to", "end", "--yes")
    assert done.code == 3
    assert "database is broken" in done.said
    assert "agree on the step; database did not confirm it" in done.said
    assert "PREPARED: on" in site.config.read_text()
    site.flag("fail-database", on=False)
    back = site.operate("back", "--yes")
    assert back.code == 0, back.out + back.err
    assert site.config.read_text() == before
    site.flag("fail-database")
    assert site.operate("next", "--yes").code == 3
    site.flag("fail-database", on=False)
    again = site.operate("next", "--yes")
    assert again.code == 0, again.out + again.err
    assert "the last move again: step 0: PREPARED off → on" in again.said


def test_a_file_that_was_changed_and_never_applied_is_told(site: Site) -> None:
    site.config.write_text(site.config.read_text().replace('GENERATION: "0"', 'GENERATION: "1"'))
    done = site.operate("next", "--yes")
    assert done.code == 1
    assert "CERTIFICATE_GENERATION is 1 there and 0 in the stack" in done.said


def test_the_selected_stack_is_taken_and_none_selected_is_told(site: Site) -> None:
    site.stack.environment |= {"PULUMI_STACK": "", "PULUMI_HOME": str(site.stack.folder / "home")}
    none = site.operate("next")
    assert none.code == 2
    assert "no stack is selected here: name one by --stack" in none.said
    assert "step 0: PREPARED off → on" in site.operate("next", "--stack", "dev").said
    assert site.operate("next", "--stack", "nowhere").code == 2


def test_a_second_operator_gets_a_clear_answer_and_changes_nothing(site: Site, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(site.project, clone)
    before = site.config.read_bytes()
    site.flag("hang-database")
    running = site.begun("next", "--yes")
    wait_until("the first is in the middle of a host", (site.project / "reached-database").exists, seconds=60.0)
    here = site.operate("next", "--yes")
    assert here.code == 4
    assert "another `operate` works on Pulumi.dev.yaml" in here.said
    # From another clone of the project: it sees the stack moved and its file behind, or the lock of the stack.
    there = site.operate("next", "--yes", project=clone)
    assert there.code in (1, 4)
    assert (clone / "Pulumi.dev.yaml").read_bytes() == before
    assert "PREPARED" in there.said
    site.flag("hang-database", on=False)
    assert ended(running).code == 0
    assert site.reached() == ["database 2"]


def test_the_lock_of_the_stack_is_told_and_the_file_put_back(site: Site) -> None:
    before = site.config.read_bytes()
    locks = site.stack.folder / "state/.pulumi/locks/organization/trial/dev"
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "other.json").write_text('{"pid": 1, "username": "somebody", "hostname": "elsewhere"}')
    done = site.operate("next", "--yes")
    assert done.code == 4, done.said
    assert "another `pulumi up` of this stack is under way" in done.said
    assert (site.config.read_bytes(), site.reached()) == (before, [])


def test_ctrl_c_before_anything_is_applied_leaves_the_file(site: Site) -> None:
    before = site.config.read_bytes()
    site.flag("hang-ssh")
    running = site.begun("next", "--yes")
    wait_until("the host is asked", (site.project / "reached-ssh").exists, seconds=60.0)
    running.send_signal(signal.SIGINT)
    done = ended(running)
    assert done.code == 130
    assert (site.config.read_bytes(), site.reached()) == (before, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_in_the_middle_of_a_host_leaves_file_and_stack_agreed(site: Site, number: signal.Signals) -> None:
    site.flag("hang-database")
    running = site.begun("next", "--yes")
    wait_until("a host is in its change", (site.project / "reached-database").exists, seconds=60.0)
    running.send_signal(number)
    done = ended(running)
    assert done.code == 130, done.said
    assert "agree on the step; database did not confirm it" in done.said
    assert "PREPARED: on" in site.config.read_text()
    site.flag("hang-database", on=False)
    again = site.operate("next", "--yes")
    assert again.code == 0, again.out + again.err


def test_a_host_whose_record_is_lost_is_told_again_by_the_command_that_drift_names(site: Site) -> None:
    done = site.operate("drift", "--json", "--host", "database")
    assert done.code == 1, done.err
    (lost,) = json.loads(done.out)["differences"]
    assert (lost["host"], lost["key"], lost["declared"]) == ("database", "record", "revision 1")
    assert lost["reconcile"]["on"] == ""
    command = f"{lost['reconcile']['command']} --yes --skip-preview --non-interactive"
    ran = subprocess.run(
        command, shell=True, cwd=site.project, env=site.stack.variables(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # No other host.
    assert site.reached() == ["database 1"]
    assert site.operate("next", "--yes").code == 0
