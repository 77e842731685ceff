"""`rollout/` and `pki/` are pure: held here, so that no later change brings I/O or a clock into the rules."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {"pulumi", "pulumi_aws", "pulumi_command", "os", "subprocess", "time", "socket", "pathlib", "random"}
PURE = sorted(path for folder in ("rollout", "pki") for path in (ROOT / folder).glob("*.py"))


def imported(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def clock_reads(source: str) -> list[str]:
    clocks = {"now", "utcnow", "today", "time"}
    return [
        node.func.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in clocks
    ]


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_pure_module_imports_no_engine_no_system_and_reads_no_clock(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert imported(source) & FORBIDDEN == set()
    assert clock_reads(source) == []


def test_the_check_itself_sees_a_clock_and_an_import() -> None:
    assert imported("from os import path\nimport pulumi.dynamic") == {"os", "pulumi"}
    assert clock_reads("import datetime\ndatetime.datetime.now()") == ["now"]


def test_the_two_packages_are_really_looked_at() -> None:
    assert {path.parent.name for path in PURE} == {"rollout", "pki"}
