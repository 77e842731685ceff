"""update.sh's transaction on an app host, which needs no docker: record, journal, lock, deaths, a full disk."""

import fcntl
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.host.conftest import BUNDLE, Roots, Store
from tests.host.issuing import Generation, app_settings, settings_text

CERTIFICATE_POINTS = [
    "prepared",
    "preflight-passed",
    "intent-written",
    "certificate-begun",
    "certificate-flipped",
    "certificate-applied",
    "certificate-verified",
    "record-renamed",
    "settings-renamed",
    "journalled",
]


def asked(generation: Generation | None, **changed: str) -> str:
    return settings_text(app_settings(**(generation.settings() if generation else {}), **changed))


def update(host: Roots, text: str, *, fault: str = "") -> subprocess.CompletedProcess[str]:
    return host.run("update.sh", "--settings", "-", stdin=text, environment={"VOICEAI_FAULT": fault})


def fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture
def issued(host: Roots, store: Store, generations: dict[int, Generation]) -> Roots:
    """A host at generation 1."""
    store.put(generations[1].secrets())
    done = update(host, asked(generations[1]))
    assert done.returncode == 0, done.stderr
    return host


def test_the_receipt_is_the_last_line_and_the_record_is_what_was_asked(
    issued: Roots, generations: dict[int, Generation]
) -> None:
    done = update(issued, asked(generations[1], REVISION="41"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "41\n"
    assert fields(issued.record()) == fields(asked(generations[1], REVISION="41"))
    assert (issued.state / "settings").read_text() == issued.record()
    assert (issued.tls / "ca.crt").read_bytes() == generations[1].ca.pem


def test_the_same_settings_again_write_nothing(issued: Roots, generations: dict[int, Generation]) -> None:
    before = issued.listing()
    done = update(issued, asked(generations[1]))
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert issued.listing() == before


def test_the_journal_says_when_who_and_what(issued: Roots) -> None:
    line = issued.journal().splitlines()[-1]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ verified: revision 1 .*CERTIFICATE_GENERATION 0 → 1", line)


def test_bad_input_touches_nothing(issued: Roots, generations: dict[int, Generation]) -> None:
    before = issued.listing()
    done = update(issued, asked(generations[2], ROLES="ap"))
    assert done.returncode == 2
    assert "no role is called ap" in done.stderr
    assert issued.listing() == before


def test_a_second_update_at_the_same_time_is_refused(issued: Roots, generations: dict[int, Generation]) -> None:
    with (issued.state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = update(issued, asked(generations[1]))
    assert done.returncode == 5
    assert "another update" in done.stderr


def test_the_list_of_needs_is_shown_when_something_is_missing(
    issued: Roots, generations: dict[int, Generation]
) -> None:
    """The one thing that this host lacks is a way to read Secrets Manager."""
    bin_dir = issued.etc.parent / "bin"
    (bin_dir / "aws").unlink()
    (bin_dir / "python3").write_text("#!/bin/sh\nexit 1\n")
    (bin_dir / "python3").chmod(0o755)
    before = issued.listing()
    done = update(issued, asked(generations[1], REVISION="2"))
    assert done.returncode == 3
    assert "missing  a reader of Secrets Manager: install the AWS CLI" in done.stderr
    assert "ok       root" in done.stderr
    assert issued.listing() == before


@pytest.mark.parametrize("point", CERTIFICATE_POINTS)
def test_killed_at_any_point_and_run_again_it_ends_verified(
    issued: Roots, store: Store, generations: dict[int, Generation], point: str
) -> None:
    store.put(generations[2].secrets())
    dead = update(issued, asked(generations[2], REVISION="2"), fault=point)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    # Old or new, and each file whole.
    record = fields(issued.record())
    assert record["CERTIFICATE_GENERATION"] in ("1", "2")
    assert (issued.tls / "ca.crt").read_bytes() == generations[1].ca.pem
    # The way back needs nobody: Secrets Manager is down now. The old settings are asked for.
    store.remove_all()
    again = update(issued, asked(generations[1], REVISION="3"))
    assert (again.returncode, again.stdout) == (0, "3\n"), again.stderr
    assert fields(issued.record())["CERTIFICATE_GENERATION"] == "1"
    assert (issued.tls / "current").readlink().name.startswith("1-")
    assert not (issued.state / "intent").exists()
    assert not list(issued.state.glob("*.next"))
    if point not in ("prepared", "preflight-passed"):
        assert "interrupt" in again.stderr
        assert "put back and verified after an interruption" in issued.journal()


def test_killed_after_the_record_and_asked_the_same_again_it_is_done(
    issued: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    store.put(generations[2].secrets())
    for point in ("record-renamed", "recovered", "recovered"):
        update(issued, asked(generations[2], REVISION="2"), fault=point)
    again = update(issued, asked(generations[2], REVISION="2"))
    assert (again.returncode, again.stdout) == (0, "2\n"), again.stderr
    assert (issued.state / "settings").read_text() == issued.record()


_OF_STEPS = (
    "postgres",
    "pgbouncer",
    "client_leg",
    "force_ssl",
    "redis_tls",
    "force_redis",
    "app",
    "otel",
    "prepared-",
    "unprepared-",
)


def test_every_point_in_the_scripts_is_tried() -> None:
    """The steps' own points are tried on real servers."""
    text = "".join(path.read_text() for path in (BUNDLE / "lib").glob("*.sh"))
    named = set(re.findall(r'fault_point "?([a-z_-]+[a-z])"?(?!-)', text)) - {"name"}
    expanded = {point for point in named if not point.startswith(_OF_STEPS)}
    # "$step-begun" and the like become a point for each step.
    expanded |= {f"certificate-{suffix}" for suffix in re.findall(r'fault_point "\$step-(\w+)"', text)}
    assert expanded == {*CERTIFICATE_POINTS, "recovered"}


def test_a_failure_puts_the_previous_generation_back_and_says_why(
    issued: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    """The failure: the settings cannot be renamed into their place, because a directory is there."""
    store.put(generations[2].secrets())
    record = issued.record()
    (issued.state / "settings").unlink()
    (issued.state / "settings/in the way").mkdir(parents=True)
    done = update(issued, asked(generations[2], REVISION="2"))
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "the previous settings are back and verified" in done.stderr
    assert issued.record() == record
    assert (issued.tls / "current").readlink().name.startswith("1-")
    assert not (issued.state / "intent").exists()
    assert "failed and put back: CERTIFICATE_GENERATION: cannot rename the settings" in issued.journal()


@pytest.mark.parametrize("mode", ["--settings", "--set", "--restart-only", "--verify-only", "--status"])
def test_a_host_without_a_record_says_so_instead_of_guessing(host: Roots, mode: str) -> None:
    argv = {"--settings": ["/nowhere"], "--set": ["POSTGRES_TLS_ENABLED=on"]}.get(mode, [])
    done = host.run("update.sh", mode, *argv)
    assert done.returncode == (0 if mode == "--status" else 3 if mode == "--verify-only" else 2)
    assert "nothing was verified" in done.stdout + done.stderr or "/nowhere" in done.stderr


def test_a_generation_taken_back_by_hand_is_shown_and_declared_settings_end_it(
    issued: Roots, generations: dict[int, Generation]
) -> None:
    by_hand = issued.run("update.sh", "--set", "CERTIFICATE_GENERATION=0", environment={"SUDO_USER": "alice"})
    assert (by_hand.returncode, by_hand.stdout) == (0, "1\n"), by_hand.stderr
    assert "alice" in issued.journal()
    status = issued.run("update.sh", "--status").stdout
    assert re.search(r"hand change  CERTIFICATE_GENERATION=0, declared 1; by alice at ", status)
    assert (issued.tls / "ca.crt").exists()
    declared = update(issued, asked(generations[1], REVISION="2"))
    assert declared.returncode == 0, declared.stderr
    assert "hand change" not in issued.run("update.sh", "--status").stdout


def test_a_generation_cannot_be_raised_by_hand(issued: Roots) -> None:
    done = issued.run("update.sh", "--set", "CERTIFICATE_GENERATION=2")
    assert done.returncode == 2
    assert "issued by the program" in done.stderr


def test_an_edit_of_the_settings_file_is_applied_by_restart_only(
    issued: Roots, generations: dict[int, Generation]
) -> None:
    (issued.state / "settings").write_text(asked(None, REVISION="77"))
    assert "edited" in issued.run("update.sh", "--status").stdout
    done = issued.run("update.sh", "--restart-only")
    # The receipt stays the declared revision: an edit declares nothing.
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert fields(issued.record())["CERTIFICATE_GENERATION"] == "0"
    assert "hand change  CERTIFICATE_GENERATION=0, declared 1" in issued.run("update.sh", "--status").stdout


def test_an_edit_that_was_never_applied_gives_way_to_declared_settings_and_that_is_said(
    issued: Roots, generations: dict[int, Generation]
) -> None:
    (issued.state / "settings").write_text(asked(None))
    done = update(issued, asked(generations[1], REVISION="2"))
    assert done.returncode == 0, done.stderr
    assert "was edited and never applied" in done.stderr
    assert (issued.state / "settings").read_text() == issued.record()


def test_verify_only_proves_the_files_and_says_what_does_not_hold(issued: Roots) -> None:
    checks = ["ok      api does not run here; its env file is as declared", "1"]
    assert issued.run("update.sh", "--verify-only").stdout.splitlines() == checks
    target = issued.tls / "current" / "ca.crt"
    target.write_text("gone bad")
    done = issued.run("update.sh", "--verify-only")
    assert done.returncode == 4
    assert "ca.crt is corrupt" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "what should be done"),
        (["--sett", "-"], "what should be done"),
        (["--set"], "--set takes one value"),
        (["--set", "X"], "write KEY=VALUE"),
        (["--set", "POSTGRES_TLS_ENABLED=on"], "not a step variable of this host; those are CERTIFICATE_GENERATION"),
        (["--status", "now"], "takes no value"),
    ],
)
def test_a_mistyped_call_is_refused_with_a_sentence(issued: Roots, argv: list[str], words: str) -> None:
    before = issued.listing()
    done = issued.run("update.sh", *argv)
    assert done.returncode == 2
    assert words in done.stderr
    assert issued.listing() == before


def test_a_reader_that_goes_away_stops_nothing(issued: Roots, generations: dict[int, Generation]) -> None:
    """An SSH connection that is lost closes both pipes."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        running = subprocess.run(
            [BUNDLE / "update.sh", "--settings", "-"],
            input=asked(generations[1], REVISION="5").encode(),
            stdout=write_end,
            stderr=write_end,
            env=issued.environment,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write_end)
    assert running.returncode == 0
    assert fields(issued.record())["REVISION"] == "5"


def test_help_names_every_way_and_every_exit_status() -> None:
    done = subprocess.run([BUNDLE / "update.sh", "--help"], capture_output=True, text=True, check=True)
    for word in ("--settings", "--set ", "--restart-only", "--verify-only", "--status"):
        assert word in done.stdout
    assert Path(BUNDLE / "update.sh").stat().st_mode & 0o111
