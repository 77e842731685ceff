"""The set-up's small parts: child processes, locks, apt, the table of `make doctor`, what counts as a shell script."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from toolchain import apt, dockerd, doctor, linting, lock
from toolchain.errors import SetupError
from toolchain.locking import held
from toolchain.paths import ROOT
from toolchain.process import CommandFailed, capture, run_logged


def test_a_failed_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)the part: sh ended with status 3.*line 40") as failure:
        run_logged(["sh", "-c", "seq -f 'line %g' 40; exit 3"], log=tmp_path / "log", what="the part")
    assert "line 1\n" not in str(failure.value)


def test_a_command_that_takes_too_long_is_ended_and_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="the part: no end after 0 s"):
        run_logged(["sleep", "60"], log=tmp_path / "log", what="the part", timeout=0.2)


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    # A shell without job control lets its background commands ignore interrupts: the grandchild needs force.
    script = f"sh -c 'echo $$ >{tmp_path}/grandchild; exec sleep 60' & wait"
    with pytest.raises(CommandFailed, match="no end after"):
        run_logged(["sh", "-c", script], log=tmp_path / "log", what="the part", timeout=0.5)
    grandchild = int((tmp_path / "grandchild").read_text())
    deadline = time.monotonic() + 5
    while dockerd._started_at(grandchild) is not None:
        assert time.monotonic() < deadline, "the grandchild lives on"
        time.sleep(0.01)


def test_a_command_that_is_not_there_is_an_error_and_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="can't be started"):
        run_logged(["/does/not/exist"], log=tmp_path / "log", what="the part")
    assert capture(["/does/not/exist"]) is None


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    order: list[str] = []
    holding = threading.Event()

    def first() -> None:
        with held(tmp_path / "lock", what="a test"):
            holding.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert holding.wait(5)
    with held(tmp_path / "lock", what="a test"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("os_release", "expected"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', True),
        ("ID=ubuntu\nID_LIKE=debian\n", True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ('ID=fedora\nPRETTY_NAME="not debian"\n', False),
        ("", False),
    ],
)
def test_debian_and_its_relatives_are_told_from_others(os_release: str, expected: bool) -> None:
    assert apt.is_debian_like(os_release) is expected


def test_where_nothing_can_be_installed_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "can_install", lambda: False)
    with pytest.raises(SetupError, match=r"the lab runs in Docker: install docker.io iptables"):
        apt.install(
            ["docker.io", "iptables"], why="the lab runs in Docker", progress=lambda _title: pytest.fail("installing")
        )


def test_a_process_number_that_belongs_to_another_process_now_is_not_our_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "started.json"
    monkeypatch.setattr(dockerd, "_STARTED", record)
    assert dockerd.our_daemon() is None
    record.write_text(f'{{"pid": {os.getpid()}, "since": "{dockerd._started_at(os.getpid())}"}}')
    assert dockerd.our_daemon() == os.getpid()
    record.write_text(f'{{"pid": {os.getpid()}, "since": "1"}}')
    assert dockerd.our_daemon() is None


def test_the_table_of_doctor_says_what_to_do_for_what_is_missing() -> None:
    text = doctor.table(
        [
            doctor.Row(tool="Docker", version="20.10", where="/usr/bin/docker", kind="official"),
            doctor.Row(tool="aws provider", kind="stand-in", advice="run `make setup`"),
        ]
    )
    lines = text.splitlines()
    assert lines[1].split() == ["Docker", "20.10", "/usr/bin/docker", "official", "ok"]
    assert lines[2].endswith("missing: run `make setup`")


@pytest.mark.parametrize(
    ("name", "first_line", "expected"),
    [
        ("common.sh", "# shellcheck shell=bash", True),
        ("run", "#!/usr/bin/env bash", True),
        ("run", "#!/bin/sh -eu", True),
        ("run", "#!/usr/bin/env python3", False),
        ("notes.md", "bash", False),
        ("empty", "", False),
    ],
)
def test_shell_scripts_are_known_by_name_or_first_line(name: str, first_line: str, expected: bool) -> None:
    assert linting.is_shell(name, first_line) is expected


def test_pins_are_sorted_without_regard_to_case() -> None:
    assert lock.lines({"werkzeug": "3", "Flask": "2", "attrs": "1"}) == "attrs==1\nFlask==2\nwerkzeug==3\n"


def test_the_command_imports_nothing_beyond_the_standard_library() -> None:
    """It runs before there is a virtual environment: `-S -I` leaves it nothing but Python itself."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import toolchain.cli"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_misspelled_command_is_refused_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", "setpu"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "setpu" in done.stderr
    assert "Traceback" not in done.stderr
