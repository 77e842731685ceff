"""Versions: reading them from what tools print and from the project's own files. Pure."""

import re

Version = tuple[int, int, int]

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_COMPARISON = re.compile(r"(>=|<=|>|<|==?)?\s*v?(\d+\.\d+(?:\.\d+)?)")


def parse_version(text: str) -> Version | None:
    """The first dotted number in `text` (`v3.250.0`, `go version go1.26.6 linux/amd64`), or None.

    What follows the number (`-dev.1`, `+dirty`) is ignored: a development build of 3.250.0 counts as 3.250.0.
    """
    found = _VERSION.search(text)
    if found is None:
        return None
    return int(found[1]), int(found[2]), int(found[3] or 0)


def show(version: Version) -> str:
    """`3.250.0`."""
    return ".".join(map(str, version))


def satisfies(version: Version, requirement: str) -> bool:
    """Whether `version` meets every comparison in `requirement` (`>=3.250.0`, `>=3.250.0 <4.0.0`).

    Raises ValueError when the requirement holds no comparison.
    """
    comparisons = _COMPARISON.findall(requirement)
    if not comparisons:
        raise ValueError(f"{requirement!r} is no version requirement")
    return all(_compare(version, operator or "=", _known(number)) for operator, number in comparisons)


def _compare(version: Version, operator: str, wanted: Version) -> bool:
    return {
        ">=": version >= wanted,
        "<=": version <= wanted,
        ">": version > wanted,
        "<": version < wanted,
    }.get(operator, version == wanted)


def _known(text: str) -> Version:
    version = parse_version(text)
    assert version is not None, text
    return version


def required_engine(project_file: str) -> str | None:
    """`requiredPulumiVersion` in the text of a Pulumi.yaml, or None. A regular expression, as there is no YAML yet."""
    found = re.search(r"^requiredPulumiVersion:\s*[\"']?([^\"'#\n]+?)[\"']?\s*(?:#.*)?$", project_file, re.MULTILINE)
    return found[1].strip() if found else None


def pinned(requirements: str, package: str) -> Version:
    """The version that a requirements file pins `package` to (`-` and `_` alike). Raises ValueError for none."""
    wanted = package.lower().replace("_", "-")
    for line in requirements.splitlines():
        name, separator, version = line.split("#", 1)[0].strip().partition("==")
        if separator and name.strip().lower().replace("_", "-") == wanted:
            return _known(version)
    raise ValueError(f"the requirements pin no {package}")


def go_directive(go_mod: str) -> Version:
    """The oldest Go that a go.mod accepts. Raises ValueError when it says none."""
    found = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError("go.mod has no go directive")
    return _known(found[1])


def module_version(go_mod: str, module: str) -> Version:
    """The version that a go.mod requires of `module`. Raises ValueError when it requires none."""
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError(f"go.mod does not require {module}")
    return _known(found[1])
