"""An app's env file: only the lines of a step's variables change, and the way back gives back their bytes."""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host.issuing import app_settings, settings_text

Bash = Callable[..., subprocess.CompletedProcess[str]]
OFF: dict[str, str] = {}
ON = {"apps.api.DATABASE_SSL_MODE": "verify-full"}
REDIS_ON = {"apps.api.REDIS_TLS_ENABLED": "true"}
CA = b"/etc/ssl/internal/ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """An app's env file that is edited by the library as steps do."""

    path: Path
    bash: Bash

    def edit(
        self, tracks: str, changed: Mapping[str, str] = OFF, *, restoring: bool = False, fault: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Edit for these settings; the last line of its output is `yes` where the file had to be changed."""
        text = settings_text(app_settings(**{**changed, "apps.api.ENV_FILE": str(self.path)}))
        return self.bash(
            'declare -A S; parse_settings "$TEXT" S; make_dir "$VOICEAI_STATE" 0755; '
            f"edit_env S api {tracks}; echo $EDITED",
            TEXT=text,
            VOICEAI_FAULT=fault,
            **({"RESTORING": "yes"} if restoring else {}),
        )

    def edited(self, tracks: str, changed: Mapping[str, str] = OFF, *, restoring: bool = False) -> bytes:
        done = self.edit(tracks, changed, restoring=restoring)
        assert done.returncode == 0, done.stderr
        return self.path.read_bytes()


@pytest.fixture
def env(tmp_path: Path, bash: Bash) -> EnvFile:
    return EnvFile(path=tmp_path / "app.env", bash=bash)


DATABASE = b"DATABASE_SSL_MODE=verify-full\nDATABASE_SSL_CA_FILE=" + CA + b"\n"
WRITTEN = [
    pytest.param(
        b"# api\n\nDATABASE_URL=x\nDATABASE_SSL_MODE=disable\nDATABASE_SSL_CA_FILE=" + CA + b"\nA=b\n",
        b"# api\n\nDATABASE_URL=x\nDATABASE_SSL_MODE=verify-full\nDATABASE_SSL_CA_FILE=" + CA + b"\nA=b\n",
        id="a plain file",
    ),
    pytest.param(b"A=b\n", b"A=b\n" + DATABASE, id="lines that are absent"),
    pytest.param(b"", DATABASE, id="an empty file"),
    pytest.param(b"A=b", b"A=b\n" + DATABASE, id="no line end at the end"),
    pytest.param(b"A=b\r\nC=d\r\n", b"A=b\r\nC=d\r\n" + DATABASE.replace(b"\n", b"\r\n"), id="CRLF"),
    pytest.param(b"A=b\r\nC=d", b"A=b\r\nC=d\r\n" + DATABASE.replace(b"\n", b"\r\n"), id="CRLF, no end"),
    pytest.param(
        b"  export DATABASE_SSL_MODE=\"disable\"  # old\r\nexport DATABASE_SSL_CA_FILE='/old ca'\r\nA=b\r\n",
        b'  export DATABASE_SSL_MODE="verify-full"  # old\r\nexport DATABASE_SSL_CA_FILE=\'' + CA + b"'\r\nA=b\r\n",
        id="export, quotes, comments",
    ),
    pytest.param(
        b"DATABASE_SSL_MODE=require\nA=b\nDATABASE_SSL_MODE = disable # counts\n",
        b"DATABASE_SSL_MODE=require\nA=b\nDATABASE_SSL_MODE = verify-full # counts\nDATABASE_SSL_CA_FILE=" + CA + b"\n",
        id="of a key given twice the last counts",
    ),
    pytest.param(
        b"#DATABASE_SSL_MODE=disable\n  # DATABASE_SSL_CA_FILE=x\nXDATABASE_SSL_MODE=1\nDATABASE_SSL_MODE_X=2\n",
        b"#DATABASE_SSL_MODE=disable\n  # DATABASE_SSL_CA_FILE=x\nXDATABASE_SSL_MODE=1\nDATABASE_SSL_MODE_X=2\n"
        + DATABASE,
        id="comments and longer names are others' lines",
    ),
    pytest.param(
        b'KEY="-----BEGIN\nDATABASE_SSL_MODE=not this\n-----END" # x\nDATABASE_SSL_MODE: disable',
        b'KEY="-----BEGIN\nDATABASE_SSL_MODE=not this\n-----END" # x\nDATABASE_SSL_MODE: verify-full\n'
        b"DATABASE_SSL_CA_FILE=" + CA + b"\n",
        id="a value over lines, and a colon",
    ),
    pytest.param(
        b"B=\xff\xfe \xc3\xa4$x\\\nDATABASE_SSL_MODE= # none yet\nDATABASE_SSL_CA_FILE=${CA}\n",
        b"B=\xff\xfe \xc3\xa4$x\\\nDATABASE_SSL_MODE=verify-full # none yet\nDATABASE_SSL_CA_FILE=" + CA + b"\n",
        id="bytes that are no UTF-8, an empty value, a reference",
    ),
]


@pytest.mark.parametrize(("before", "after"), WRITTEN)
def test_only_the_steps_lines_change_and_the_way_back_restores_their_bytes(
    env: EnvFile, before: bytes, after: bytes
) -> None:
    env.path.write_bytes(before)
    assert env.edited("postgres", ON) == after
    assert env.edit("postgres", ON).stdout == "no\n"
    assert env.edited("postgres") == before


def test_the_redis_lines_are_three_and_the_port_is_the_settings_one(env: EnvFile) -> None:
    before = b"REDIS_HOST=db\nREDIS_TLS_ENABLED=false\nREDIS_TLS_PORT=6380\n"
    env.path.write_bytes(before)
    after = env.edited("redis", REDIS_ON | {"REDIS_TLS_PORT": "6390"})
    assert after == b"REDIS_HOST=db\nREDIS_TLS_ENABLED=true\nREDIS_TLS_PORT=6390\nREDIS_TLS_CA_FILE=" + CA + b"\n"
    assert env.edited("redis") == before


@pytest.mark.parametrize("order", [("postgres", "redis"), ("redis", "postgres")])
def test_both_tracks_go_back_in_any_order_to_a_file_without_a_line_end(env: EnvFile, order: tuple[str, str]) -> None:
    env.path.write_bytes(b"A=b")
    env.edited("postgres", ON)
    env.edited("redis", ON | REDIS_ON)
    env.edited(order[0], (REDIS_ON if order[0] == "postgres" else ON))
    assert env.edited(order[1]) == b"A=b"


def test_a_file_that_says_it_already_is_not_touched(env: EnvFile) -> None:
    env.path.write_bytes(b"export DATABASE_SSL_MODE='verify-full'\nDATABASE_SSL_CA_FILE=\"" + CA + b'"')
    inode = env.path.stat().st_ino
    assert env.edit("postgres", ON).stdout == "no\n"
    assert env.path.stat().st_ino == inode


def test_nothing_said_is_the_initial_value(env: EnvFile) -> None:
    env.path.write_bytes(b"A=b")
    assert env.edit("postgres redis").stdout == "no\n"


def test_putting_back_gives_the_bytes_of_before_the_transaction(env: EnvFile) -> None:
    """Another step of a variable that stands beyond its initial value: the line has a form of its own."""
    first = b"DATABASE_SSL_MODE=disable\n"
    env.path.write_bytes(first)
    env.edited("postgres", ON)
    # A deploy writes the same in its own words.
    own = b"export DATABASE_SSL_MODE='verify-full' # by the deploy\nDATABASE_SSL_CA_FILE=\"" + CA + b'"\nNEW=1\n'
    env.path.write_bytes(own)
    env.edited("postgres")
    assert env.edited("postgres", ON, restoring=True) == own


def test_putting_back_after_a_death_between_memory_and_file_changes_nothing(env: EnvFile) -> None:
    before = b"DATABASE_SSL_MODE=disable"
    env.path.write_bytes(before)
    dead = env.edit("postgres", ON, fault="app-env-remembered")
    assert dead.returncode == -9
    assert env.path.read_bytes() == before
    assert env.edit("postgres", restoring=True).stdout == "no\n"
    assert env.edited("postgres", ON) == DATABASE
    assert env.edited("postgres") == before


def test_what_somebody_else_wrote_since_is_kept_and_only_set(env: EnvFile) -> None:
    env.path.write_bytes(b"DATABASE_SSL_MODE=disable # first\n")
    env.edited("postgres", ON)
    env.path.write_bytes(b"NEW=1\nDATABASE_SSL_MODE=require # theirs\nDATABASE_SSL_CA_FILE=/theirs\n")
    assert env.edited("postgres") == b"NEW=1\nDATABASE_SSL_MODE=disable # theirs\nDATABASE_SSL_CA_FILE=/theirs\n"


def test_the_next_flip_after_a_deploy_remembers_what_the_deploy_wrote(env: EnvFile) -> None:
    env.path.write_bytes(b"DATABASE_SSL_MODE=disable # first\n")
    env.edited("postgres", ON)
    deployed = b"DATABASE_SSL_MODE=disable # second\nNEW=1\n"
    env.path.write_bytes(deployed)
    changed = b"DATABASE_SSL_MODE=verify-full # second\nNEW=1\nDATABASE_SSL_CA_FILE=" + CA + b"\n"
    assert env.edited("postgres", ON) == changed
    assert env.edited("postgres") == deployed


def test_from_one_mode_to_the_next_the_first_lines_stay_remembered(env: EnvFile) -> None:
    before = b"DATABASE_SSL_MODE=disable\n"
    env.path.write_bytes(before)
    for mode in ("prefer", "verify-ca", "verify-full"):
        assert f"DATABASE_SSL_MODE={mode}\n".encode() in env.edited("postgres", {"apps.api.DATABASE_SSL_MODE": mode})
    assert env.edited("postgres") == before


def test_mode_owner_and_a_symbolic_link_stay(env: EnvFile, tmp_path: Path) -> None:
    real = tmp_path / "shared.env"
    real.write_bytes(b"A=b\n")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 4321)
    before = real.stat()
    env.path.symlink_to("shared.env")
    env.edited("postgres", ON)
    after = real.stat()
    assert env.path.is_symlink()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.env", "fake", "shared.env", "state"]


def test_a_full_disk_leaves_the_old_file_and_no_litter(env: EnvFile, tmp_path: Path) -> None:
    env.path.write_bytes(b"A=b\n")
    # The file of the app is the only one that is flushed under this name.
    (tmp_path / "fake/sync").write_text('#!/bin/sh\ncase "$1" in *app.env.new) exit 1;; esac\n')
    (tmp_path / "fake/sync").chmod(0o755)
    done = env.edit("postgres", ON)
    assert done.returncode == 1
    assert "the disk is full; what was there is unchanged" in done.stderr
    assert env.path.read_bytes() == b"A=b\n"
    assert not list(tmp_path.glob(".app*"))


@pytest.mark.parametrize("content", [None, b"A=\0b\n"])
def test_what_is_no_env_file_is_refused_by_its_name(env: EnvFile, content: bytes | None) -> None:
    if content is not None:
        env.path.write_bytes(content)
    done = env.edit("postgres", ON)
    assert done.returncode == 1
    assert str(env.path) in done.stderr
    assert content is None or env.path.read_bytes() == content


def test_no_secret_of_the_file_is_remembered(env: EnvFile, tmp_path: Path) -> None:
    """Not even that of a last line without its end."""
    env.path.write_bytes(b"DATABASE_URL=postgresql://u:s3cret@h/d\nREDIS_PASSWORD=s3cret")
    env.edited("postgres redis", ON | REDIS_ON)
    for path in (tmp_path / "state").rglob("*"):
        if path.is_file():
            assert "s3cret" not in path.read_text()
            assert "czNjcmV0" not in path.read_text()
            assert path.stat().st_mode & 0o077 == 0
