"""`operate status` and `operate drift` as an operator runs them, with hosts and stack played."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from operate import stacks
from operate.cli import main
from operate.palette import Palette
from operate.remote import Answer, Remote
from operate.stacks import Stacks
from operate.table import WIDTH, plain, table
from rollout.inventory import Host
from tests.operate import planted, reports
from tests.operate.pull_requests import ALL_FLIPPED, EXAMPLE, PROJECT, REDIS, declared, edited, walked
from tests.operate.pull_requests import stacks as as_read
from tests.operate.reports import Plain

HERE = {**ALL_FLIPPED, **REDIS}
TEXT = edited(EXAMPLE, HERE)


class Played:
    """An environment: its hosts' reports, those that do not answer, whether the stack is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plains: dict[str, Plain] = reports.plains(declared("staging", TEXT))
        self.silent: dict[str, Answer] = {}
        self.read = as_read(staging=walked(declared("staging", TEXT)))
        self.asked: list[str] = []

    def ask(self, hosts: Sequence[Host], arguments: str, *_: object, **__: object) -> list[Answer]:
        self.asked = [arguments, *(host.name for host in hosts)]
        return [
            self.silent.get(host.name)
            or Answer(host=host.name, code=0, out=(json.dumps(self.plains[host.name]),), err=("a word",))
            for host in hosts
        ]

    def silence(self, host: str, code: int, *err: str) -> None:
        self.silent[host] = Answer(host=host, code=code, out=(), err=err)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    (tmp_path / "Pulumi.staging.yaml").write_text(TEXT)
    found = Played(tmp_path)
    monkeypatch.delenv("PULUMI_OPTION_CONFIG_FILE", raising=False)
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    monkeypatch.setattr(Remote, "ask", lambda _, *arguments, **named: found.ask(*arguments, **named))
    monkeypatch.setattr(stacks, "from_pulumi", lambda *_: found.read)
    return found


@pytest.fixture
def run(played: Played, capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main([*arguments, "--stack", "staging", "--project", str(played.folder)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return ran


def line(said: str, beginning: str) -> str:
    return next(line for line in said.splitlines() if line.strip().startswith(beginning))


def test_status_shows_every_hop_and_that_nothing_differs(run: Run, played: Played) -> None:
    code, said = run("status")
    assert code == 0
    assert said.splitlines()[0] == (
        "staging: postgres 5/7 on the wire, declared 5/7; redis 2/4 on the wire, declared 2/4"
    )
    assert played.asked[0] == "--report"
    assert "7 of 7 hosts answered" in said
    words = line(said, "clients → pgbouncer").split()
    assert words[3:] == ["database", "allow", "=", "allow", "accepted", "3", "0", "5B0C33D1…", words[-1]]
    assert line(said, "otel → redis").split()[3:7] == ["database", "true", "=", "true"]
    assert line(said, "telpro → redis").split()[3:7] == ["telpro", "false", "=", "false"]
    assert line(said, "web → pgbouncer").split()[3:] == ["web", "verify-full", "=", "verify-full", "2", "0"]
    assert "nothing differs from what was declared" in said
    assert max(map(len, said.splitlines())) <= WIDTH


def test_status_names_what_differs_and_who_cannot_be_told_apart(run: Run, played: Played) -> None:
    planted.old_certificate(played.plains)
    played.plains["database"]["servers"]["pgbouncer"]["clients"][0]["apps"] = ["api", "web"]
    code, said = run("status")
    assert code == 0
    assert "api or web (can't be told apart)" in said
    assert "1 difference" in said
    assert "on database: /opt/voiceai/update.sh --restart-only" in said
    played.silence("worker", 255, "ssh: connect to host 10.0.1.41 port 22: Connection refused")
    code, said = run("status")
    assert code == 0
    assert "postgres 4–5/7 on the wire" in said
    assert "not known" in line(said, "worker → pgbouncer")
    assert "worker  ssh: connect to host 10.0.1.41 port 22: Connection refused" in said


def test_a_host_that_never_took_a_step_says_so(run: Run, played: Played) -> None:
    played.read = as_read(staging=None)
    for host in played.plains:
        played.plains[host] = {key: played.plains[host][key] for key in ("format", "time", "underWay", "handChanges")}
    code, said = run("status")
    assert code == 0
    assert "web: nothing was verified on this host yet: it has not taken a step" in said
    assert "nothing was ever applied in staging" in said


@pytest.mark.parametrize(
    ("plant", "silent", "read", "code"),
    [
        (False, "", True, 0),
        (True, "", True, 1),
        (True, "worker", True, 1),
        (False, "worker", True, 3),
        (False, "", False, 3),
    ],
)
def test_drift_ends_with_a_code_for_cron(
    run: Run, played: Played, plant: bool, silent: str, read: bool, code: int
) -> None:
    if plant:
        planted.redis_tls_closed(played.plains)
    if silent:
        played.silence(silent, 124)
    if not read:
        played.read = Stacks(unread={"staging": "pulumi is not on PATH"})
    ended, said = run("drift")
    assert (ended, played.asked[0]) == (code, "--report --restart"), said
    assert ("pulumi is not on PATH" in said) is not read
    assert ("update.sh --status there" in said) is bool(silent)
    ended, said = run("drift", "--json")
    told = json.loads(said)
    assert (ended, told["format"], told["command"], told["environment"]) == (code, 1, "drift", "staging")
    assert [one["reconcile"]["on"] for one in told["differences"]] == (["database"] if plant else [])
    assert [one["host"] for one in told["unanswered"]] == ([silent] if silent else [])


def test_an_update_under_way_is_no_difference(run: Run, played: Played) -> None:
    planted.redis_tls_closed(played.plains)
    played.plains["database"]["underWay"] = True
    code, said = run("drift")
    assert code == 3
    assert "an update is under way there" in said


def test_the_json_of_status_has_every_hop(run: Run, played: Played) -> None:
    code, said = run("status", "--json", "--host", "database", "web")
    told = json.loads(said)
    assert (code, played.asked) == (0, ["--report", "database", "web"])
    (hop,) = (one for one in told["hops"] if one["hop"] == "clients → redis")
    assert hop["variables"][0] == {
        "key": "REDIS_TLS_ENABLED",
        "declared": "true",
        "confirmed": "true",
        "served": "true",
        "by": "wire",
        "why": "",
    }
    assert hop["handshake"]["serial"] == reports.CERTIFICATE["serial"]
    assert hop["handshake"]["notAfter"] == "2027-12-26T17:00:00+00:00"
    assert {one["host"] for one in told["hops"]} == {"database", "web"}
    assert any(one["apps"] == ["api"] and one["sessions"] == {"tls": 2, "plaintext": 0} for one in told["clients"])


@pytest.mark.parametrize(
    ("answer", "why", "todo"),
    [
        ((2, "what should be done? see update.sh --help"), "what should be done?", "ships this one"),
        ((0,), "no report", ""),
        ((1,), "ended with 1 and without a word", "--status there"),
    ],
)
def test_an_answer_that_is_none_is_a_row(
    run: Run, played: Played, answer: tuple[int, str], why: str, todo: str
) -> None:
    played.silence("web", *answer)
    code, said = run("status")
    assert code == 0
    assert why in said
    assert todo in said


def test_bad_input_is_a_sentence(run: Run, played: Played) -> None:
    code, said = run("status", "--host", "wbe")
    assert (code, said) == (
        2,
        f"operate status: --host wbe: the config has no such host; it has {', '.join(played.plains)}\n",
    )
    (played.folder / "Pulumi.staging.yaml").write_text(TEXT.replace("POSTGRES_TLS_ENABLED: on", "POSTGRES_TLS: on"))
    code, said = run("drift")
    assert code == 2
    assert "POSTGRES_TLS: there is no such variable; did you mean POSTGRES_TLS_ENABLED?" in said
    code, said = run("drift", "--json")
    assert "POSTGRES_TLS: there is no such variable" in json.loads(said.splitlines()[0])["error"]


def test_a_table_cuts_one_column_and_colours_change_no_width() -> None:
    on = Palette(True)
    rows = [[plain("hop"), plain("h" * 130), ("served", on.good)], [plain("a"), plain("b"), plain("c")]]
    first, second = table(rows, cut=1)
    assert first.endswith(f"…  {on.good('served')}")
    assert len(first.replace(on.good("served"), "served")) == WIDTH
    assert second.index("c") == first.index("\x1b")
