"""install.sh: a complete bundle or the one before, never anything in between."""

import base64
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.host.conftest import BUNDLE

INSTALLER = (BUNDLE / "install.sh").read_text()


def bundle(version: str, *, update: str = "update.sh") -> bytes:
    """A tar.gz like the program's, small."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, mode in ((update, 0o755), ("lib/common.sh", 0o644)):
            data = f"# {version}\n".encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return raw.getvalue()


def digest_of(packed: bytes) -> str:
    return hashlib.sha256(packed).hexdigest()


def install(
    opt: Path, packed: bytes, *, digest: str | None = None, stdin: bytes | None = None, path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the installer's text as the program does: as a command, under plain sh."""
    return subprocess.run(
        ["sh", "-c", INSTALLER, "install", digest or digest_of(packed)],
        input=base64.encodebytes(packed).decode() if stdin is None else stdin.decode(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": f"{path}{os.environ['PATH']}", "VOICEAI_OPT": str(opt), "VOICEAI_ETC": "/etc/voiceai"},
    )


def test_a_bundle_is_unpacked_and_pointed_at_and_the_digest_is_the_last_line(tmp_path: Path) -> None:
    packed = bundle("one")
    done = install(tmp_path, packed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == digest_of(packed)
    assert (tmp_path / "voiceai").resolve() == tmp_path / "voiceai-bundles" / digest_of(packed)
    assert (tmp_path / "voiceai/update.sh").read_text() == "# one\n"
    assert os.access(tmp_path / "voiceai/update.sh", os.X_OK)
    assert (tmp_path / "voiceai/.env").readlink() == Path("/etc/voiceai/compose.env")


def test_a_current_bundle_changes_nothing(tmp_path: Path) -> None:
    packed = bundle("one")
    install(tmp_path, packed)
    before = {str(p): p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}
    done = install(tmp_path, packed)
    assert done.stdout.splitlines()[-1] == digest_of(packed)
    assert {str(p): p.lstat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_the_bundle_before_is_kept_and_older_ones_are_removed(tmp_path: Path) -> None:
    packed = [bundle(version) for version in ("one", "two", "three")]
    for each in packed:
        assert install(tmp_path, each).returncode == 0
    kept = {path.name for path in (tmp_path / "voiceai-bundles").iterdir()}
    assert kept == {digest_of(packed[1]), digest_of(packed[2])}
    back = install(tmp_path, packed[1], stdin=b"")
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "voiceai/update.sh").read_text() == "# two\n"


def broken_streams(packed: bytes) -> dict[str, tuple[bytes, str]]:
    text = base64.encodebytes(packed)
    return {
        "cut short": (text[: len(text) // 2], "run it again"),
        "nothing": (b"", "run it again"),
        "not base64": (b"%%%%\n" + text, "did not arrive whole"),
        "another bundle": (base64.encodebytes(bundle("evil")), "the bundle that arrived has digest"),
    }


@pytest.mark.parametrize("case", list(broken_streams(b"")))
def test_a_broken_stream_leaves_the_bundle_before_and_no_litter(tmp_path: Path, case: str) -> None:
    install(tmp_path, bundle("one"))
    packed = bundle("two")
    stdin, words = broken_streams(packed)[case]
    done = install(tmp_path, packed, stdin=stdin)
    assert done.returncode == 1
    assert words in done.stderr
    assert (tmp_path / "voiceai/update.sh").read_text() == "# one\n"
    assert len(list((tmp_path / "voiceai-bundles").iterdir())) == 1


def test_an_archive_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    done = install(tmp_path, bundle("one", update="other.sh"))
    assert done.returncode == 1
    assert "no executable update.sh" in done.stderr
    assert not (tmp_path / "voiceai").exists()


@pytest.mark.parametrize("tool", ["base64", "tar"])
def test_a_full_disk_leaves_the_bundle_before_and_no_litter(tmp_path: Path, tool: str) -> None:
    """The disk is full for the tool that writes: it writes to /dev/full."""
    opt, fake = tmp_path / "opt", tmp_path / "fake"
    fake.mkdir()
    opt.mkdir()
    install(opt, bundle("one"))
    (fake / tool).write_text(f"#!/bin/sh\necho '{tool}: write error: No space left on device' >&2\nexit 1\n")
    (fake / tool).chmod(0o755)
    done = install(opt, bundle("two"), path=f"{fake}:")
    assert done.returncode == 1
    assert "full" in done.stderr
    assert (opt / "voiceai/update.sh").read_text() == "# one\n"
    assert len(list((opt / "voiceai-bundles").iterdir())) == 1


def test_a_directory_in_the_place_of_the_link_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "voiceai").mkdir()
    (tmp_path / "voiceai/theirs").touch()
    done = install(tmp_path, bundle("one"))
    assert done.returncode == 1
    assert "is not a symbolic link" in done.stderr
    assert (tmp_path / "voiceai/theirs").exists()
    assert not (tmp_path / "voiceai-bundles").exists()


@pytest.mark.parametrize("digest", ["../../etc", "abc", "Z" * 64])
def test_a_digest_that_is_none_is_refused(tmp_path: Path, digest: str) -> None:
    done = install(tmp_path, bundle("one"), digest=digest)
    assert done.returncode == 1
    assert "64 hex digits" in done.stderr
