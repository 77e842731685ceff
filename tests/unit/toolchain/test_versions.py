"""Versions are read from what tools print and from the project's own files."""

import pytest

from toolchain import versions
from toolchain.paths import ENGINE_MODULE, REQUIREMENTS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v3.250.0\n", (3, 250, 0)),
        ("go version go1.26.6 linux/amd64", (1, 26, 6)),
        ("go1.27", (1, 27, 0)),
        ("v3.251.0-dev.1+dirty", (3, 251, 0)),
        ("ShellCheck - shell script analysis tool version: 0.11.0", (0, 11, 0)),
        ("", None),
        ("command not found", None),
    ],
)
def test_the_first_dotted_number_is_the_version(text: str, expected: versions.Version | None) -> None:
    assert versions.parse_version(text) == expected


@pytest.mark.parametrize(
    ("version", "requirement", "met"),
    [
        ((3, 250, 0), ">=3.250.0", True),
        ((3, 249, 9), ">=3.250.0", False),
        ((3, 1000, 0), ">=3.250.0", True),
        ((4, 0, 0), ">=3.250.0 <4.0.0", False),
        ((3, 251, 0), ">=3.250.0, <4.0.0", True),
        ((3, 250, 0), "3.250.0", True),
        ((3, 250, 1), "3.250.0", False),
        ((3, 250, 0), ">3.250.0", False),
    ],
)
def test_a_requirement_is_met_only_when_every_comparison_holds(
    version: versions.Version, requirement: str, met: bool
) -> None:
    assert versions.satisfies(version, requirement) is met


def test_a_requirement_without_a_comparison_is_an_error() -> None:
    with pytest.raises(ValueError, match="newest"):
        versions.satisfies((3, 250, 0), "newest")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('requiredPulumiVersion: ">=3.250.0"', ">=3.250.0"),
        ("requiredPulumiVersion: '>=3.250.0 <4.0.0'   # why", ">=3.250.0 <4.0.0"),
        ("requiredPulumiVersion: 3.250.0", "3.250.0"),
        ("# requiredPulumiVersion: 1.0.0", None),
    ],
)
def test_the_required_engine_is_read_from_the_project_file(line: str, expected: str | None) -> None:
    assert versions.required_engine(f"name: internal-tls\n{line}\nruntime:\n  name: python\n") == expected


def test_a_pin_is_found_whichever_way_its_name_is_written() -> None:
    text = "pulumi==3.250.0\npulumi_aws==7.51.1  # why\n"
    assert versions.pinned(text, "pulumi-aws") == (7, 51, 1)
    with pytest.raises(ValueError, match="pulumi-command"):
        versions.pinned(text, "pulumi-command")


def test_the_engine_that_is_built_has_the_version_of_the_pinned_sdk() -> None:
    go_mod = (ENGINE_MODULE / "go.mod").read_text()
    sdk = versions.pinned(REQUIREMENTS.read_text(), "pulumi")
    assert versions.module_version(go_mod, "github.com/pulumi/pulumi/pkg/v3") == sdk
    assert versions.module_version(go_mod, "github.com/pulumi/pulumi/sdk/v3") == sdk
    assert versions.go_directive(go_mod) >= (1, 25, 0)
