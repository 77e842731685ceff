"""init.sh: certificates and configuration to disk, as they must be, and nothing twice."""

import dataclasses
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.host.conftest import Roots, SecretsManager, Store, roots_in, system_path
from tests.host.issuing import SECRETS, Generation, app_settings, server, server_settings, settings_text, wanted
from tests.waiting import wait_until

KEY = SECRETS["SECRET_KEY"]
CA = SECRETS["SECRET_CA"]


def test_the_three_secrets_become_files_by_either_reader(
    tmp_path: Path, secrets: SecretsManager, reader: Path, generations: dict[int, Generation]
) -> None:
    one = generations[1]
    secrets.put(one.secrets())
    host = roots_in(tmp_path, f"{reader}:{system_path()}", AWS_ENDPOINT_URL=secrets.url)
    done = host.init(wanted(one))
    assert done.returncode == 0, done.stderr
    assert (host.tls / "ca.crt").read_bytes() == one.ca.pem
    assert (host.tls / "server.crt").read_bytes() == one.leaf.pem
    assert (host.tls / "server.key").read_bytes() == one.leaf.key_pem
    key = (host.tls / "server.key").stat()
    assert (stat.S_IMODE(key.st_mode), key.st_uid, key.st_gid) == (0o600, 70, 70)
    assert (host.tls / "current").readlink() == Path(f"generations/1-{one.leaf.sha256[:12]}")
    assert (host.tls / "server.key").readlink() == Path("current/server.key")
    before = host.listing()
    again = host.init(wanted(one))
    assert again.returncode == 0, again.stderr
    assert host.listing() == before


def test_the_environment_file_says_where_secrets_manager_is_and_is_never_printed(
    tmp_path: Path, secrets: SecretsManager, reader: Path, generations: dict[int, Generation]
) -> None:
    secrets.put(generations[1].secrets())
    host = roots_in(tmp_path, f"{reader}:{system_path()}")
    lines = f'AWS_ENDPOINT_URL_SECRETS_MANAGER="{secrets.url}"\nAWS_ACCESS_KEY_ID=site-id\nAWS_SECRET_ACCESS_KEY=hush\n'
    (host.etc / "environment").write_text(lines)
    bare = {key: value for key, value in host.environment.items() if not key.startswith("AWS_")}
    done = dataclasses.replace(host, environment=bare).init(settings_text(app_settings(**generations[1].settings())))
    assert done.returncode == 0, done.stderr
    assert (host.tls / "ca.crt").read_bytes() == generations[1].ca.pem
    assert "hush" not in done.stdout + done.stderr


def test_an_app_host_gets_the_ca_and_nothing_else(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    one = generations[1]
    store.put({CA: one.secrets()[CA]})
    done = host.init(settings_text(app_settings(**one.settings())))
    assert done.returncode == 0, done.stderr
    assert (host.tls / "ca.crt").read_bytes() == one.ca.pem
    # The wrong CA is what a proof shows a refusal with.
    assert {path.resolve().name for path in host.tls.rglob("*") if not path.is_dir()} == {"ca.crt", "wrong-ca.crt"}
    assert sorted(path.name for path in host.etc.iterdir()) == ["postgres_password", "redis_password"]


def test_a_second_generation_replaces_all_three_files_at_once_and_the_first_stays_for_the_way_back(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    for generation in generations.values():
        store.put(generation.secrets())
        assert host.init(wanted(generation)).returncode == 0
    assert (host.tls / "server.crt").read_bytes() == generations[2].leaf.pem
    store.remove_all()
    back = host.init(wanted(generations[1]))
    assert back.returncode == 0, back.stderr
    assert (host.tls / "server.key").read_bytes() == generations[1].leaf.key_pem
    assert len(list((host.tls / "generations").iterdir())) == 2


def test_older_generations_are_removed(host: Roots, store: Store, generations: dict[int, Generation]) -> None:
    ca = generations[1].ca
    third = Generation(number=3, ca=ca, leaf=server(ca))
    for generation in (*generations.values(), third):
        store.put(generation.secrets())
        assert host.init(wanted(generation)).returncode == 0
    kept = {path.name[0] for path in (host.tls / "generations").iterdir()}
    assert kept == {"2", "3"}


def test_generation_zero_removes_nothing_and_says_so(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    store.put(generations[1].secrets())
    host.init(wanted(generations[1]))
    before = host.listing()
    done = host.init(settings_text(server_settings()))
    assert done.returncode == 0, done.stderr
    assert "stay" in done.stderr
    assert host.listing() == before


def test_a_disk_with_the_right_generation_asks_nobody(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    store.put(generations[1].secrets())
    host.init(wanted(generations[1]))
    store.remove_all()
    done = host.init(wanted(generations[1]))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("damage", ["content", "mode", "owner"])
def test_a_damaged_key_on_disk_is_fetched_again(
    host: Roots, store: Store, generations: dict[int, Generation], damage: str
) -> None:
    store.put(generations[1].secrets())
    host.init(wanted(generations[1]))
    key = host.tls / "server.key"
    match damage:
        case "content":
            key.write_bytes(generations[2].leaf.key_pem)
        case "mode":
            key.chmod(0o644)
        case _:
            os.chown(key, 0, 0)
    done = host.init(wanted(generations[1]))
    assert done.returncode == 0, done.stderr
    assert key.read_bytes() == generations[1].leaf.key_pem
    assert (stat.S_IMODE(key.stat().st_mode), key.stat().st_uid) == (0o600, 70)


def slow_tool(bin_dir: Path, tool: str, choose: str) -> tuple[Path, Path]:
    """A tool that prints half of its output, makes `half`, and waits for `go` before the rest. `choose` sets `first`
    and `rest` in bash."""
    half, go = bin_dir / "half", bin_dir / "go"
    script = bin_dir / tool
    script.write_text(
        f"#!/bin/bash\n{choose}\n"
        f"[[ $rest ]] || exit 0\ntouch {half}\n"
        f"for ((i = 0; i < 1000; i++)); do [[ -e {go} ]] && break; sleep 0.01; done\n"
        'emit "$rest"\n'
    )
    script.chmod(0o755)
    return half, go


def slow_aws(bin_dir: Path, generation: Generation) -> tuple[Path, Path]:
    """An `aws` that stops in the middle of the key."""
    cases = "".join(
        f"    {name}) first={value[:200] if name == KEY else value} rest={value[200:] if name == KEY else ''};;\n"
        for name, value in generation.secrets().items()
    )
    choose = (
        'emit() { printf %s "$1"; }\nwhile (($#)); do case $1 in --secret-id) name=$2;; esac; shift; done\n'
        f'case $name in\n{cases}esac\nemit "$first"'
    )
    return slow_tool(bin_dir, "aws", choose)


def slow_decoder(bin_dir: Path, generation: Generation) -> tuple[Path, Path]:
    """A `base64 -d` that stops in the middle of the key."""
    key = generation.secrets()[KEY]
    choose = (
        'emit() { printf %s "$1" | /usr/bin/base64 -d; }\ninput=$(cat)\nfirst=$input rest=\n'
        f'[[ $input != {key} ]] || {{ first=${{input:0:200}} rest=${{input:200}}; }}\nemit "$first"'
    )
    return slow_tool(bin_dir, "base64", choose)


def test_the_key_is_0600_and_70_70_from_its_first_byte_and_no_one_may_enter_its_directory(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    store.put(generations[1].secrets())
    bin_dir = host.etc.parent / "bin"
    half, go = slow_decoder(bin_dir, generations[1])
    running = subprocess.Popen(
        [host.bundle / "init.sh", "--settings", host.settings(wanted(generations[1]))], env=host.environment
    )
    try:
        wait_until("half of the key is there", half.exists)
        key = next((host.tls / "generations").glob(".*/server.key")).stat()
        assert 0 < key.st_size < len(generations[1].leaf.key_pem)
        assert (stat.S_IMODE(key.st_mode), key.st_uid, key.st_gid) == (0o600, 70, 70)
        fetched = next((host.tls / "generations").glob(".*/server.key.b64")).stat()
        assert (stat.S_IMODE(fetched.st_mode), fetched.st_uid) == (0o600, 0)
        assert stat.S_IMODE(next((host.tls / "generations").glob(".*")).stat().st_mode) == 0o700
    finally:
        go.touch()
        assert running.wait(30) == 0
    assert (host.tls / "server.key").read_bytes() == generations[1].leaf.key_pem
    names = sorted(path.name for path in (host.tls / "current/").iterdir())
    assert names == ["ca.crt", "hashed", "server.crt", "server.key"]


def test_init_killed_half_way_leaves_nothing_that_the_next_run_minds(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    bin_dir = host.etc.parent / "bin"
    half, go = slow_aws(bin_dir, generations[1])
    asked = host.settings(wanted(generations[1]))
    running = subprocess.Popen(
        [host.bundle / "init.sh", "--settings", asked],
        env=host.environment,
    )
    wait_until("half of the key is there", half.exists)
    running.kill()
    running.wait(10)
    assert not (host.tls / "current").exists()
    go.touch()
    store.place_reader(bin_dir)
    store.put(generations[1].secrets())
    done = host.init(wanted(generations[1]))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (host.tls / "generations").iterdir()] == [f"1-{generations[1].leaf.sha256[:12]}"]


@contextmanager
def watched_processes(needles: list[bytes]) -> Iterator[list[str]]:
    """Look at every process's arguments, all the time; yields what was found."""
    found: list[str] = []
    ended, begun = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    arguments = (process / "cmdline").read_bytes()
                except OSError:
                    continue
                if any(needle in arguments for needle in needles):
                    found.append(arguments[:80].decode(errors="replace"))
            begun.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    wait_until("all processes were looked at once", begun.is_set)
    try:
        yield found
    finally:
        ended.set()
        thread.join(10)


def secret_needles(host: Roots, generation: Generation) -> list[bytes]:
    body = b"".join(generation.leaf.key_pem.splitlines()[1:-1])
    text = generation.secrets()[KEY].encode()
    passwords = [(host.etc / name).read_bytes().strip() for name in ("postgres_password", "redis_password")]
    return [body[10:40], text[60:90], *passwords]


def test_no_secret_is_in_any_argument_or_message_or_world_readable_file(
    tmp_path: Path, secrets: SecretsManager, reader: Path, generations: dict[int, Generation]
) -> None:
    one = generations[1]
    secrets.put(one.secrets())
    host = roots_in(tmp_path, f"{reader}:{system_path()}", AWS_ENDPOINT_URL=secrets.url)
    needles = secret_needles(host, one)
    with watched_processes(needles) as found:
        done = host.init(wanted(one))
    assert done.returncode == 0, done.stderr
    assert found == []
    assert not any(needle in (done.stdout + done.stderr).encode() for needle in needles)
    private = {"server.key", "pgpass", "password", "userlist.txt", "auth.conf", "postgres_password", "redis_password"}
    for path in (path for root in (host.etc, host.tls) for path in root.rglob("*") if path.is_file()):
        holds_secret = any(needle in path.read_bytes().replace(b"\n", b"") for needle in needles)
        assert not holds_secret or path.name in private, path
        if path.name in private:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_watch_over_arguments_sees_a_planted_secret() -> None:
    with watched_processes([b"planted-needle"]) as found:
        planted = subprocess.Popen([sys.executable, "-c", "input()", "planted-needle"], stdin=subprocess.PIPE)
        deadline = time.monotonic() + 10
        while not found and time.monotonic() < deadline:
            time.sleep(0.01)
        planted.communicate(b"\n")
    assert found


def test_init_without_settings_takes_what_was_verified_last(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    assert "nothing to do" in host.run("init.sh").stderr
    store.put(generations[1].secrets())
    host.state.mkdir(exist_ok=True)
    (host.state / "settings.verified").write_text(wanted(generations[1]))
    done = host.run("init.sh")
    assert done.returncode == 0, done.stderr
    assert (host.tls / "server.crt").read_bytes() == generations[1].leaf.pem


def test_the_wrong_ca_has_no_key_anywhere_and_is_made_once(host: Roots) -> None:
    host.init(settings_text(server_settings()))
    made = (host.tls / "wrong-ca.crt").read_bytes()
    assert b"BEGIN CERTIFICATE" in made
    assert b"PRIVATE" not in made
    host.init(settings_text(server_settings()))
    assert (host.tls / "wrong-ca.crt").read_bytes() == made


def test_the_list_of_needs_is_made_for_the_asked_roles(host: Roots) -> None:
    app = host.run("init.sh", "--check", "--roles", "app")
    assert app.returncode == 0, app.stdout
    assert "ok       docker compose 2.26.0" in app.stdout
    assert "postgres_password" not in app.stdout
    servers = host.run("init.sh", "--check", "--roles", "postgres")
    assert "postgres_password" in servers.stdout
    unknown = host.run("init.sh", "--check", "--roles", "ap")
    assert unknown.returncode == 2
    assert "no role is called ap" in unknown.stderr
