"""A lab's names, files and settings, computed without Docker."""

import json
import shutil
import socket
import stat
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import apps, files, images, site, stack
from lab.layout import APP_OF, DEFAULT_ID, HOSTS, Layout
from rollout.config import parse
from rollout.steps import APP_ORDER, initial_settings

SUBNET = IPv4Network("10.213.7.0/24")


def layout(folder: Path, lab_id: str = "tests") -> Layout:
    return Layout(lab_id=lab_id, project=folder)


def prepare(one: Layout) -> dict[str, str]:
    return site.prepare(one, SUBNET, collector=False)


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
    prepare(one)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert written
    assert all(path.is_relative_to(tmp_path / "build" / "tests") for path in written)


def test_secrets_are_private_files_and_are_kept_by_a_second_run(tmp_path: Path) -> None:
    one = layout(tmp_path)
    first = prepare(one)
    private = [
        one.ssh_key,
        one.etc("database") / "postgres_password",
        one.etc("database") / "redis_password",
        one.etc("api1") / "environment",
        *(one.opt(host) / apps.ENV_FILE for host in APP_OF),
        one.load / "postgres_password",
        *(one.ssh(host) / "host_key" for host in HOSTS),
    ]
    before = {path: path.read_bytes() for path in private}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)
    assert prepare(one) == first
    assert {path: path.read_bytes() for path in private} == before


def test_each_host_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys = prepare(layout(tmp_path))
    assert set(keys) == set(HOSTS)
    assert len(set(keys.values())) == len(HOSTS)
    assert all(key.startswith("ssh-ed25519 ") for key in keys.values())


def test_settings_that_a_step_changed_are_kept_by_a_second_start(tmp_path: Path) -> None:
    one = layout(tmp_path)
    prepare(one)
    path = one.opt("web") / apps.ENV_FILE
    changed = path.read_text().replace("DATABASE_SSL_MODE=disable", "DATABASE_SSL_MODE=verify-full")
    path.write_text(changed)
    prepare(one)
    assert path.read_text() == changed


def test_no_secret_is_in_the_files_that_anybody_may_read(tmp_path: Path) -> None:
    one = layout(tmp_path)
    prepare(one)
    secret = (one.etc("database") / "postgres_password").read_text().strip()
    readable = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_mode & 0o044]
    assert readable
    assert all(secret not in path.read_text() for path in readable)


def test_compose_gets_directories_by_the_names_that_the_machines_daemon_resolves(tmp_path: Path) -> None:
    one = layout(tmp_path)
    environment = site.compose_environment(one, collector=False)
    assert environment["VOICEAI_CONFIG_DIR"] == str(one.etc("database"))
    assert environment["INTERNAL_TLS_DIR"] == str(one.tls("database"))
    assert environment["COMPOSE_PROJECT_NAME"] == one.name
    assert len({environment[f"{name}_IMAGE"] for name in ("POSTGRES", "PGBOUNCER", "REDIS")}) == 1


def test_the_collector_is_asked_for_only_where_it_could_be_built(tmp_path: Path) -> None:
    without = site.compose_environment(layout(tmp_path), collector=False)
    assert not {"OTEL_IMAGE", "COMPOSE_PROFILES"} & set(without)
    assert site.compose_environment(layout(tmp_path), collector=True)["COMPOSE_PROFILES"] == "otel"
    for collector in (False, True):
        roles = configuration(collector=collector)["internal-tls:hosts"]["database"]["roles"]
        assert ("otel" in roles) is collector


def facts(*, collector: bool = False) -> stack.Facts:
    ports = {f"{host}:22": 2200 + number for number, host in enumerate(HOSTS)}
    # A key that no host has, in a key's form: the parser looks at it.
    keys = dict.fromkeys(HOSTS, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKp4cbBxcSvmx8Q0SNKDG9ZS3JzSJyV4sJZ7S7cQh1mN")
    return stack.Facts(ports={**ports, "moto:5000": 5001}, host_keys=keys, subnet=SUBNET, collector=collector)


def configuration(*, collector: bool = False) -> dict[str, Any]:
    return stack.configuration(facts(collector=collector))


def test_the_stack_begins_with_every_step_at_its_initial_value(tmp_path: Path) -> None:
    one = layout(tmp_path)
    one.root.mkdir(parents=True)
    one.stack_config.write_text("encryptionsalt: v1:salt\n")
    stack.write_stack_config(one, facts())
    document = yaml.safe_load(one.stack_config.read_text())
    assert document["encryptionsalt"] == "v1:salt"
    config = document["config"]
    assert config["internal-tls:CERTIFICATE_GENERATION"] == 0
    # Quoted in the file: an unquoted `off` would come back as a boolean.
    assert config["internal-tls:POSTGRES_TLS_ENABLED"] == "off"
    assert config["internal-tls:secrets"]["endpoint"] == "http://127.0.0.1:5001"


@pytest.mark.parametrize("collector", [False, True])
def test_the_program_accepts_the_stacks_configuration_and_every_setting_is_initial(collector: bool) -> None:
    # As the engine hands it to the program: strings, and JSON for what is more than that.
    config = {
        key.removeprefix("internal-tls:"): value if isinstance(value, str) else json.dumps(value)
        for key, value in configuration(collector=collector).items()
    }
    declared = parse(config).declared
    uses = {name: app.uses for name, app in declared.apps.items()}
    assert declared.settings == initial_settings(uses)
    assert uses["telpro"] == ("redis",)
    assert uses["worker"] == ("postgres", "redis")


def test_every_app_of_the_seed_and_one_more_has_a_host_and_api_has_two() -> None:
    assert set(APP_OF.values()) == {*APP_ORDER, "worker"}
    assert [host for host, app in APP_OF.items() if app == "api"] == ["api1", "api2"]
    assert configuration()["internal-tls:furtherApps"] == ["worker"]


def test_a_hosts_apps_are_seen_by_the_servers_at_the_hosts_own_address() -> None:
    hosts = configuration()["internal-tls:hosts"]
    addresses = [hosts[host]["clientAddresses"] for host in APP_OF]
    assert addresses[0] == ["10.213.7.21"]
    assert len({address for one in addresses for address in one}) == len(APP_OF)


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


def test_kamailio_without_tls_is_the_same_context_on_another_release_and_another_tag() -> None:
    assert images.kamailio_image() != images.kamailio_plain_image()
    assert images.kamailio_image().rpartition(":")[2] == images.kamailio_plain_image().rpartition(":")[2]


def test_what_an_image_is_built_from_besides_its_context_is_in_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    before = images.otel_image()
    monkeypatch.setitem(images._IMAGES, "otel", replace(images._IMAGES["otel"], digest="another collector"))
    assert images.otel_image() != before
