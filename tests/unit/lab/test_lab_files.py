"""A lab's names, files and settings, computed without Docker."""

import shutil
import socket
import stat
from pathlib import Path

import pytest
import yaml

from lab import files, images, site, stack
from lab.layout import DEFAULT_ID, HOSTS, Layout


def layout(folder: Path, lab_id: str = "tests") -> Layout:
    return Layout(lab_id=lab_id, project=folder)


def test_labs_of_one_checkout_and_of_two_never_share_a_name() -> None:
    names = {Layout(lab_id=lab, project=Path(path)).name for lab in ("lab", "tests") for path in ("/a", "/b")}
    assert len(names) == 4
    assert all(name.startswith("tlslab-") for name in names)


def test_only_the_demos_lab_gives_its_servers_their_plain_names(tmp_path: Path) -> None:
    assert layout(tmp_path, DEFAULT_ID).server("voiceai-postgres") == "voiceai-postgres"
    other = layout(tmp_path)
    assert other.server("voiceai-postgres") == f"{other.name}-voiceai-postgres"


@pytest.mark.parametrize("lab_id", ["", "Lab", "../lab", "lab/other", "1lab", "a" * 21, "lab_1"])
def test_a_lab_id_that_is_no_plain_name_is_refused(tmp_path: Path, lab_id: str) -> None:
    with pytest.raises(ValueError, match="lab id"):
        layout(tmp_path, lab_id)


def test_everything_that_a_lab_writes_lies_below_its_own_folder(tmp_path: Path) -> None:
    one = layout(tmp_path)
    site.prepare(one)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert written
    assert all(path.is_relative_to(tmp_path / "build" / "tests") for path in written)


def test_secrets_are_private_files_and_are_kept_by_a_second_run(tmp_path: Path) -> None:
    one = layout(tmp_path)
    first = site.prepare(one)
    private = [
        one.ssh_key,
        one.etc("database") / "postgres_password",
        one.etc("database") / "redis_password",
        one.etc("app") / "environment",
        one.load / "postgres_password",
        *(one.ssh(host) / "host_key" for host in HOSTS),
    ]
    before = {path: path.read_bytes() for path in private}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)
    assert site.prepare(one) == first
    assert {path: path.read_bytes() for path in private} == before


def test_each_host_has_a_key_of_its_own_and_passwords_are_on_no_app_host(tmp_path: Path) -> None:
    one = layout(tmp_path)
    keys = site.prepare(one)
    assert keys["database"] != keys["app"]
    assert all(key.startswith("ssh-ed25519 ") for key in keys.values())
    assert not list(one.etc("app").glob("*password"))


def test_no_secret_is_in_the_files_that_anybody_may_read(tmp_path: Path) -> None:
    one = layout(tmp_path)
    site.prepare(one)
    secret = (one.etc("database") / "postgres_password").read_text().strip()
    readable = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_mode & 0o044]
    assert readable
    assert all(secret not in path.read_text() for path in readable)


def test_compose_gets_directories_by_the_names_that_the_machines_daemon_resolves(tmp_path: Path) -> None:
    one = layout(tmp_path)
    environment = site.compose_environment(one)
    assert environment["VOICEAI_CONFIG_DIR"] == str(one.etc("database"))
    assert environment["INTERNAL_TLS_DIR"] == str(one.tls("database"))
    assert environment["COMPOSE_PROJECT_NAME"] == one.name
    assert len({environment[f"{name}_IMAGE"] for name in ("POSTGRES", "PGBOUNCER", "REDIS")}) == 1


def test_the_stack_begins_with_every_step_at_its_initial_value(tmp_path: Path) -> None:
    one = layout(tmp_path)
    ports = {"database:22": 2201, "app:22": 2202, "moto:5000": 5001}
    keys = {"database": "ssh-ed25519 AAAA", "app": "ssh-ed25519 BBBB"}
    one.root.mkdir(parents=True)
    one.stack_config.write_text("encryptionsalt: v1:salt\n")
    stack.write_stack_config(one, ports, keys)
    document = yaml.safe_load(one.stack_config.read_text())
    assert document["encryptionsalt"] == "v1:salt"
    config = document["config"]
    assert config["internal-tls:CERTIFICATE_GENERATION"] == 0
    # Quoted in the file: an unquoted `off` would come back as a boolean.
    assert config["internal-tls:POSTGRES_TLS_ENABLED"] == "off"
    assert config["internal-tls:secrets"]["endpoint"] == "http://127.0.0.1:5001"
    assert config["internal-tls:hosts"]["database"]["hostKey"] == "ssh-ed25519 AAAA"
    assert config["internal-tls:hosts"]["app"]["port"] == 2202


def test_a_file_that_did_not_change_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    files.write(path, "one\n", mode=0o600)
    before = path.stat()
    files.write(path, "one\n")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    files.write(path, "two\n", mode=0o600)
    assert path.read_text() == "two\n"
    assert list(path.parent.iterdir()) == [path]


def test_free_ports_differ_and_can_be_listened_on() -> None:
    ports = files.free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM x\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    return folder


def test_an_image_is_another_one_when_anything_in_its_context_changes(context: Path) -> None:
    before = images.content_hash(context)
    assert before == images.content_hash(context)
    changes = [before]
    (context / "run.sh").chmod(0o755)
    changes.append(images.content_hash(context))
    (context / "run.sh").write_text("#!/bin/sh\nexit\n")
    changes.append(images.content_hash(context))
    shutil.move(context / "run.sh", context / "start.sh")
    changes.append(images.content_hash(context))
    assert len(set(changes)) == len(changes)
    assert all(len(change) == 12 for change in changes)
