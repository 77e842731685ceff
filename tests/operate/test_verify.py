"""`operate verify`: hosts are asked over real SSH (ssh_hosts.py), and what they say is what it ends with."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from operate.cli import main
from operate.palette import Palette
from operate.stacks import Stacks
from operate.verify import Verification, as_text
from tests.operate.conftest import Ended, Repository
from tests.operate.pull_requests import PROJECT, Walked, declared, edited, failing, stacks, walked
from tests.operate.ssh_hosts import BUSY, DOES_NOT, HOLDS, Host, Start, client_key, inventory, starting

ASKED = "timeout --kill-after=15 300 /opt/voiceai/update.sh --verify-only"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return client_key(tmp_path)


@pytest.fixture
def start(key: Path) -> Iterator[Start]:
    with starting(key.with_suffix(".pub").read_text()) as of:
        yield of


Verify = Callable[..., Ended]


@pytest.fixture
def verify(
    repository: Repository, key: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Verify:
    """`operate verify` of these hosts."""
    for name in ("PULUMI_STACK", "PULUMI_OPTION_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(hosts: dict[str, Host], *arguments: str, **pins: str) -> Ended:
        repository.write("Pulumi.staging.yaml", inventory(hosts, key_file=key, **pins))
        return ran(repository, capsys, *arguments)

    return run


def ran(repository: Repository, capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    repository.write("Pulumi.yaml", PROJECT)
    capsys.readouterr()
    code = main(["verify", "--project", str(repository.folder), "--stack", "staging", *arguments])
    printed = capsys.readouterr()
    return Ended(code=code, out=printed.out, err=printed.err)


def test_every_host_is_asked_to_verify_and_nothing_else(start: Start, verify: Verify) -> None:
    hosts = start(database=HOLDS, api=HOLDS)
    done = verify(hosts)
    assert done.code == 0, done.err
    assert hosts["database"].told == [ASKED]
    assert hosts["api"].told == [f"sudo -n {ASKED}"]
    assert done.out.splitlines() == [
        "staging: 2 of 2 hosts hold",
        "  api       holds revision 1, 1 checks",
        "  database  holds revision 1, 1 checks",
    ]


def test_a_host_that_does_not_hold_fails_it_and_the_others_are_still_asked(start: Start, verify: Verify) -> None:
    hosts = start(database=HOLDS, api=DOES_NOT, web=HOLDS)
    done = verify(hosts)
    assert done.code == 1
    assert all(host.told for host in hosts.values())
    assert "staging: 2 of 3 hosts hold\n" in done.out
    assert "\n  api       does NOT hold\n" in done.out
    assert "FAILED  Postgres serves the certificate" in done.out
    assert "log" not in done.out
    assert "see docs/runbook/00-when-something-fails.md" in done.out


def test_the_same_as_json(start: Start, verify: Verify) -> None:
    done = verify(start(database=HOLDS, api=DOES_NOT), "--json")
    told: dict[str, Any] = json.loads(done.out)
    head = {name: told[name] for name in ("format", "command", "environment", "code", "holds")}
    assert head == {"format": 1, "command": "verify", "environment": "staging", "code": 1, "holds": False}
    assert told["hosts"][1] == {
        "host": "database",
        "good": True,
        "verdict": "holds revision 1",
        "code": 0,
        "revision": "1",
        "lines": ["ok      plaintext is refused"],
        "todo": "",
    }
    assert (told["hosts"][0]["good"], told["hosts"][0]["code"]) == (False, 4)


def test_the_same_as_markdown(start: Start, verify: Verify) -> None:
    done = verify(start(database=HOLDS, api=DOES_NOT, web=BUSY), "--markdown")
    assert done.code == 1
    assert done.out.startswith("## ⛔ Verification of staging: 1 of 3 hosts hold\n")
    assert "\n| database | ✅ | holds revision 1, 1 checks |\n" in done.out
    assert "\n| api | ⛔ | does NOT hold: revision 5 does not hold: another certificate |\n" in done.out
    assert "\n| web | ▫️ | is busy: an update is under way" in done.out
    assert "\n### api\n\n```\nFAILED  Postgres serves the certificate\n  a server's log\n" in done.out


def test_a_host_with_another_key_than_the_pinned_one_is_told_nothing(start: Start, verify: Verify) -> None:
    hosts = start(database=HOLDS, api=HOLDS)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    done = verify(hosts, api=other)
    assert done.code == 1
    assert (hosts["api"].told, len(hosts["database"].told)) == ([], 1)
    assert "api       can't be asked" in done.out
    assert "Host key verification failed" in done.out


def test_a_host_in_the_middle_of_an_update_is_told_of_and_fails_nothing(start: Start, verify: Verify) -> None:
    done = verify(start(database=BUSY, api=HOLDS))
    assert done.code == 0, done.out
    assert "staging: 1 of 2 hosts hold" in done.out
    assert "database  is busy: an update is under way" in done.out


def test_a_host_that_cannot_be_reached_fails_it(start: Start, verify: Verify) -> None:
    hosts = start(database=HOLDS, api=HOLDS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        hosts["api"].port = free.getsockname()[1]
        done = verify(hosts)
    assert done.code == 1
    assert "Connection refused" in done.out
    assert "do: see that ssh reaches it" in done.out


def test_a_host_that_never_answers_is_not_waited_for_forever(
    start: Start, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operate.remote._CONNECT_SECONDS", 1)
    hosts = start(database=HOLDS, api=HOLDS)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hosts["api"].port = silent.getsockname()[1]
        done = verify(hosts)
    assert done.code == 1
    assert "api       can't be asked" in done.out
    assert "timed out" in done.out


def test_only_the_hosts_that_are_named_are_asked(start: Start, verify: Verify) -> None:
    hosts = start(database=HOLDS, api=DOES_NOT)
    assert verify(hosts, "--host", "database").code == 0
    assert hosts["api"].told == []
    done = verify(hosts, "--host", "database", "nowhere")
    assert done.code == 2
    assert "--host nowhere: the config has no such host; it has api, database" in done.err


# Compared with what the stack confirmed. PREPARED touches the database host alone.


def known(start: Start, revision: str) -> tuple[dict[str, Host], Walked]:
    """Hosts of which the database host verifies this revision, and their stack after the first `up`, which gave 1."""
    hosts = start(database=(0, f"ok      it does\n{revision}\n"), api=HOLDS)
    return hosts, walked(declared("staging", inventory(hosts)))


@pytest.mark.parametrize(("revision", "code"), [("1", 0), ("2", 1)])
def test_a_host_must_hold_what_its_stack_confirmed(
    revision: str, code: int, start: Start, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, walk = known(start, revision)
    monkeypatch.setattr("operate.stacks.from_pulumi", lambda *_: stacks(staging=walk))
    done = verify(hosts, "--read-stack")
    assert done.code == code, done.out
    assert ("holds something else" in done.out) == bool(code)
    assert ("it verified revision 2, and 1 was applied" in done.out) == bool(code)


@pytest.mark.parametrize(("revision", "code"), [("1", 0), ("2", 0), ("3", 1)])
def test_while_a_move_is_not_confirmed_a_host_may_hold_it_or_what_was_before(
    revision: str, code: int, start: Start, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, walk = known(start, revision)
    following = declared("staging", edited(inventory(hosts), {"PREPARED": "on"}))
    monkeypatch.setattr("operate.stacks.from_pulumi", lambda *_: stacks(staging=failing(walk, following)))
    done = verify(hosts, "--read-stack")
    assert done.code == code, done.out
    assert "is not confirmed by database" in done.out


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Stacks(unread={"staging": "pulumi is not on PATH"}), "can't be read: pulumi is not on PATH"),
        (stacks(staging=None), "nothing was ever applied"),
    ],
)
def test_a_stack_that_cannot_be_compared_with_asks_nobody(
    found: Stacks, says: str, start: Start, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operate.stacks.from_pulumi", lambda *_: found)
    hosts = start(database=HOLDS)
    done = verify(hosts, "--read-stack")
    assert done.code == 2
    assert says in done.err
    assert hosts["database"].told == []


def test_bad_input_is_a_sentence_in_every_form_and_asks_nobody(
    repository: Repository, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = start(database=HOLDS)
    repository.write("Pulumi.staging.yaml", inventory(hosts).replace("databaseDns", "databaseDsn"))
    done = ran(repository, capsys, "--json")
    assert done.code == 2
    assert "did you mean databaseDns?" in done.err
    assert "did you mean databaseDns?" in json.loads(done.out)["error"]
    assert ran(repository, capsys, "--markdown").out.startswith("## ⛔ Verification of staging: not done\n")
    assert "there is no such file" in ran(repository, capsys, "--ssh-config", "/nowhere").err
    assert "Pulumi.none.yaml: there is no such file" in ran(repository, capsys, "--stack", "none").err
    assert hosts["database"].told == []


def test_colours_change_no_word() -> None:
    found = Verification(environment="staging", said=())
    assert "".join(as_text(found, Palette(on=True))) == "\x1b[1mstaging\x1b[0m: \x1b[32m0 of 0 hosts hold\x1b[0m"
