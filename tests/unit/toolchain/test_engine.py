"""The engine is looked for in a fixed order, and the first source that provides everything wins."""

import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from toolchain import engine, versions
from toolchain.engine import Declined, Engine
from toolchain.errors import SetupError
from toolchain.paths import REQUIREMENTS
from toolchain.process import CommandFailed

FOUND = Engine(variant="official", version="3.250.0", bin=Path("/somewhere/bin"), origin="PATH")


def silent(_title: str) -> AbstractContextManager[None]:
    return nullcontext()


def declining(reason: str) -> engine.Source:
    def source() -> Engine:
        raise Declined(reason)

    return source


def never_asked() -> Engine:
    raise AssertionError("a later source was asked although an earlier one provided the engine")


def test_the_first_source_that_provides_wins_and_no_later_one_is_asked() -> None:
    sources = {"first": declining("not here"), "second": lambda: FOUND, "third": never_asked}
    assert engine.first_that_provides(sources) is FOUND


def test_a_source_that_fails_half_way_hands_on_to_the_next() -> None:
    def failing() -> Engine:
        raise CommandFailed("the vendor's installer: sh ended with status 1")

    assert engine.first_that_provides({"vendor": failing, "build": lambda: FOUND}) is FOUND


def test_when_no_source_provides_every_reason_is_shown() -> None:
    with pytest.raises(SetupError, match=r"(?s)on PATH: too old.*the installer: no network"):
        engine.first_that_provides({"on PATH": declining("too old"), "the installer": declining("no network")})


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own: nothing of the real one is read or written."""
    monkeypatch.setattr(engine, "ENGINE", tmp_path / "engine")
    monkeypatch.setattr(engine, "_RECORD", tmp_path / "engine" / "variant.json")
    monkeypatch.setattr(engine, "PULUMI_HOME", tmp_path / "home")
    monkeypatch.setattr(engine, "STAND_INS", tmp_path / "stand-ins")
    monkeypatch.setattr(engine, "PROJECT_FILE", tmp_path / "Pulumi.yaml")
    (tmp_path / "Pulumi.yaml").write_text('requiredPulumiVersion: ">=3.250.0"\n')
    return tmp_path


def program(path: Path, prints: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return path


def install_plugins(home: Path) -> None:
    for name in ("aws", "command"):
        version = versions.show(versions.pinned(REQUIREMENTS.read_text(), f"pulumi-{name}"))
        (home / "plugins" / f"resource-{name}-v{version}").mkdir(parents=True)


def test_an_engine_on_path_with_its_language_host_and_plugins_is_taken(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(places / "bin" / "pulumi", "v3.260.0")
    program(places / "bin" / "pulumi-language-python", "")
    install_plugins(places / "home")
    monkeypatch.setenv("PATH", f"{places / 'bin'}:/usr/bin:/bin")
    found = engine.from_path(silent)
    assert (found.variant, found.version, found.bin) == ("official", "3.260.0", places / "bin")


@pytest.mark.parametrize(
    ("version", "with_host", "reason"),
    [
        ("v3.249.0", True, "asks for >=3.250.0"),
        ("v3.250.0", False, "no pulumi-language-python"),
        ("?", True, "its version"),
    ],
)
def test_an_engine_on_path_that_lacks_something_is_declined_with_the_reason(
    places: Path, monkeypatch: pytest.MonkeyPatch, version: str, with_host: bool, reason: str
) -> None:
    program(places / "bin" / "pulumi", version)
    if with_host:
        program(places / "bin" / "pulumi-language-python", "")
    install_plugins(places / "home")
    monkeypatch.setenv("PATH", f"{places / 'bin'}:/usr/bin:/bin")
    with pytest.raises(Declined, match=reason):
        engine.from_path(silent)


def test_our_own_engine_and_stand_ins_on_path_are_not_taken_for_the_vendors(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(places / "engine" / "pulumi", "v3.250.0")
    program(places / "stand-ins" / "pulumi-language-python", "")
    monkeypatch.setenv("PATH", os.pathsep.join([str(places / "stand-ins"), str(places / "engine"), "/usr/bin", "/bin"]))
    with pytest.raises(Declined, match="no `pulumi` on PATH"):
        engine.from_path(silent)


def test_what_was_recorded_is_found_again_until_its_program_is_gone(places: Path) -> None:
    built = Engine(variant="built", version="3.250.0", bin=places / "engine", origin="its Go module")
    program(places / "engine" / "pulumi", "v3.250.0")
    engine.record(built)
    assert engine.recorded() == built
    assert engine.from_cache() == built
    (places / "engine" / "pulumi").unlink()
    assert engine.recorded() is None


def test_a_cached_engine_that_is_too_old_for_the_project_is_declined(places: Path) -> None:
    program(places / "engine" / "pulumi", "v3.250.0")
    engine.record(Engine(variant="built", version="3.250.0", bin=places / "engine", origin="its Go module"))
    (places / "Pulumi.yaml").write_text('requiredPulumiVersion: ">=3.300.0"\n')
    with pytest.raises(Declined, match=r">=3\.300\.0"):
        engine.from_cache()


def test_a_record_that_is_cut_short_counts_as_none(places: Path) -> None:
    (places / "engine").mkdir()
    (places / "engine" / "variant.json").write_text(json.dumps({"variant": "built"})[:-5])
    assert engine.recorded() is None
