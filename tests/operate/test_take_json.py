"""`operate next --json`: one object on standard output that tells all; engine and hosts are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from operate.cli import main
from operate.remote import Answer, Remote
from tests.operate.conftest import Repository
from tests.operate.pull_requests import EXAMPLE, ISSUED, edited
from tests.operate.test_take import look_at

ON = {"POSTGRES_TLS_ENABLED": "on"}


@dataclass(kw_only=True)
class PlayedEngine:
    """Applies everything, at once."""

    stack: str
    folder: Path
    tell: Callable[[str, str], None]

    def preview(self) -> list[str]:
        return ["ledger", "hosts.database"]

    def up(self) -> list[str]:
        self.tell("database", "revision 4 is verified")
        return self.preview()


@dataclass(kw_only=True)
class Played:
    """A project whose stack has what its file says, and whose hosts answer `preflight`, and hold all unless told."""

    folder: Path
    preflight: int = 0
    holds: bool = True

    @property
    def file(self) -> Path:
        return self.folder / "Pulumi.staging.yaml"

    def ask(self, _remote: Remote, hosts: Any, arguments: str, *_: object, **__: object) -> list[Answer]:
        revisions = look_at(self.file.read_text()).record.revisions
        return [
            Answer(host=host.name, code=self.preflight, out=("its word",), err=())
            if arguments.startswith("--preflight")
            else Answer(host=host.name, code=0 if self.holds else 4, out=("ok      it", revisions[host.name]), err=())
            for host in hosts
        ]


@pytest.fixture
def played(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Played:
    for name in ("PULUMI_STACK", "PULUMI_OPTION_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    repository.commit(staging=edited(EXAMPLE, ISSUED))
    one = Played(folder=repository.folder)
    monkeypatch.setattr("operate.engine.Engine", PlayedEngine)
    monkeypatch.setattr("operate.step.look", lambda file, *_: look_at(file.read()))
    monkeypatch.setattr(Remote, "ask", lambda *given, **words: one.ask(*given, **words))
    return one


@dataclass(frozen=True, kw_only=True)
class Told:
    code: int
    story: dict[str, Any]
    text: str


@pytest.fixture
def run(played: Played, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def of(*arguments: str) -> Told:
        code = main([*arguments, "--project", str(played.folder), "--stack", "staging", "--json"])
        printed = capsys.readouterr()
        return Told(code=code, story=json.loads(printed.out), text=printed.err)

    return of


Run = Callable[..., Told]


def test_a_step_is_told_whole_and_the_text_goes_to_standard_error(run: Run, played: Played) -> None:
    told = run("next", "--yes")
    assert told.code == 0, told.text
    head = {name: told.story[name] for name in ("format", "command", "environment", "code", "stopped")}
    assert head == {"format": 1, "command": "next", "environment": "staging", "code": 0, "stopped": None}
    (step,) = told.story["steps"]
    assert step["step"] == "postgres 2/7: POSTGRES_TLS_ENABLED off → on"
    assert "\n+  internal-tls:POSTGRES_TLS_ENABLED: on" in step["diff"]
    assert [(one["host"], one["verdict"]) for one in step["asked"]] == [("database", "passes")]
    assert step["preview"] == ["ledger", "hosts.database"]
    assert step["told"] == [{"host": "database", "line": "revision 4 is verified"}]
    assert [one["good"] for one in step["verified"]] == [True]
    assert step["done"] is True
    assert any("is not committed" in note for note in told.story["notes"])
    assert "asked now database passes" in told.text
    assert played.file.read_text() == edited(EXAMPLE, {**ISSUED, **ON})


def test_every_step_of_a_walk_is_in_it(run: Run) -> None:
    told = run("next", "--to", "postgres", "4", "--yes")
    assert [one["done"] for one in told.story["steps"]] == [True, True, True]
    again = run("next", "--to", "postgres", "4", "--yes")
    assert (again.code, again.story["steps"]) == (0, [])
    assert any("nothing to do" in note for note in again.story["notes"])


def test_a_refusal_tells_why_and_that_nothing_was_done(run: Run, played: Played) -> None:
    played.preflight = 3
    told = run("next", "--yes")
    assert (told.code, told.story["code"]) == (1, 1)
    (step,) = told.story["steps"]
    assert (step["asked"][0]["verdict"], step["preview"], step["done"]) == ("REFUSED", None, False)
    assert told.story["stopped"]["why"] == ["database REFUSED: its word"]
    assert told.story["stopped"]["stands"] == "nothing was changed"
    assert played.file.read_text() == edited(EXAMPLE, ISSUED)


def test_a_step_that_does_not_verify_is_not_done(run: Run, played: Played) -> None:
    played.holds = False
    told = run("next", "--yes")
    assert told.code == 3
    (step,) = told.story["steps"]
    assert (step["verified"][0]["good"], step["done"]) == (False, False)
    assert "does NOT hold" in told.story["stopped"]["why"][0]


def test_in_a_protected_environment_the_diff_is_in_the_object(run: Run, played: Played, repository: Repository) -> None:
    text = edited(EXAMPLE, ISSUED) + "  internal-tls:protected: true\n"
    repository.commit(staging=text)
    told = run("next")
    assert told.code == 0, told.text
    (step,) = told.story["steps"]
    assert (step["preview"], step["done"]) == (None, False)
    assert played.file.read_text() == text
    repository.write("diff", step["diff"])
    repository.git("apply", "diff")
    assert played.file.read_text() == edited(text, ON)


def test_bad_input_is_an_object_too(run: Run) -> None:
    told = run("next", "--to", "nowhere")
    assert (told.code, told.story["code"], told.story["steps"]) == (2, 2, [])
    assert "nowhere" in told.story["stopped"]["why"][0]
    assert f"operate next: {told.story['stopped']['why'][0]}\n" in told.text
