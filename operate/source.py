"""Where a version of the project is read from: a git revision, a folder, or one stack file.

A path that exists wins over a revision of the same name (`refs/heads/NAME` is always a branch). Only Pulumi.yaml,
`Pulumi.<environment>.yaml` and ladder.yaml are read. Errors: `BadInput`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from operate.errors import BadInput

PROJECT = "Pulumi.yaml"
LADDER = "ladder.yaml"
_STACK_FILE = re.compile(r"Pulumi\.(?P<environment>.+)\.yaml")
_GIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Texts of one version. `name` is as the user gave it; `stacks` maps each environment to its file's text.

    `project` and `ladder` are "" where there is no such file. `one` says that it is a single stack file; `commit` is a
    revision's, "" for files.
    """

    name: str
    project: str
    ladder: str
    stacks: Mapping[str, str]
    one: bool = False
    commit: str = ""


def stack_file(environment: str) -> str:
    """The name of an environment's file."""
    return f"Pulumi.{environment}.yaml"


def read_pair(base: str, head: str, folder: Path) -> tuple[Version, Version]:
    """Both versions, of the same environments where one is a single file; raises `BadInput`.

    Two single files are two versions of one environment, whatever they are called.
    """
    old, new = read_version(base, folder), read_version(head, folder)
    if old.one and new.one:
        named = [name for version in (new, old) if _is_named(version) for name in version.stacks]
        environment = (named or [*new.stacks])[0]
        return _as(old, environment), _as(new, environment)
    if old.one:
        return old, _only(new, old)
    return (_only(old, new), new) if new.one else (old, new)


def read_version(given: str, folder: Path) -> Version:
    """The version that `given` names, seen from `folder`, the project's; raises `BadInput` where there is none."""
    path = folder / given
    try:
        if path.is_dir():
            return _of_folder(given, path)
        if path.exists():
            return _of_file(given, path, folder)
    except OSError as error:
        raise BadInput(
            f"{given}: it can't be read ({error.strerror}); give a git revision, a file or a folder"
        ) from None
    return _of_revision(given, folder)


def _of_folder(given: str, folder: Path) -> Version:
    texts = {path.name: _text(path) for path in sorted(folder.glob("*.yaml"))}
    return _version(given, texts)


def _of_file(given: str, path: Path, folder: Path) -> Version:
    match = _STACK_FILE.fullmatch(path.name)
    beside = path.parent if (path.parent / PROJECT).exists() else folder
    return Version(
        name=given,
        project=_text(beside / PROJECT) if (beside / PROJECT).exists() else "",
        ladder=_text(beside / LADDER) if (beside / LADDER).exists() else "",
        stacks={match["environment"] if match else path.stem: _text(path)},
        one=True,
    )


def _of_revision(given: str, folder: Path) -> Version:
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{given}^{{commit}}")
    if commit is None:
        raise BadInput(
            f"{given}: there is no such file, folder or git revision here; give one of them (a revision must have been "
            "fetched)"
        )
    commit = commit.strip()
    names = (_git(folder, "ls-tree", "--name-only", "-z", commit) or "").split("\0")
    wanted = [name for name in names if name in (PROJECT, LADDER) or _STACK_FILE.fullmatch(name)]
    texts = {name: _git(folder, "show", f"{commit}:./{name}") or "" for name in wanted}
    return replace(_version(given, texts), commit=commit)


def _version(given: str, texts: Mapping[str, str]) -> Version:
    matches = {name: _STACK_FILE.fullmatch(name) for name in texts}
    return Version(
        name=given,
        project=texts.get(PROJECT, ""),
        ladder=texts.get(LADDER, ""),
        stacks={match["environment"]: texts[name] for name, match in sorted(matches.items()) if match},
    )


def _as(version: Version, environment: str) -> Version:
    (text,) = version.stacks.values()
    return replace(version, stacks={environment: text})


def _only(version: Version, single: Version) -> Version:
    """The version without the environments that the single file is not about."""
    if not _is_named(single):
        raise BadInput(
            f"{single.name}: its name does not tell which environment it is; call it Pulumi.<environment>.yaml, or "
            "compare it with a file"
        )
    return replace(version, stacks={name: text for name, text in version.stacks.items() if name in single.stacks})


def _is_named(version: Version) -> bool:
    return _STACK_FILE.fullmatch(Path(version.name).name) is not None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{path}: it is no UTF-8 text") from None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where it refuses."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise BadInput("git is not installed, so revisions can't be read; give two files or folders") from None
    except subprocess.TimeoutExpired:
        raise BadInput(f"`git {arguments[0]}` did not end within {_GIT_SECONDS:.0f} s; try again") from None
    if done.returncode != 0:
        return None
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:
        raise BadInput(f"`git {' '.join(arguments)}`: it is no UTF-8 text") from None
