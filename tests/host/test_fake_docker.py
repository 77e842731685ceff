"""The libraries by themselves, with a `docker` on PATH that answers as it is told."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Bash = Callable[..., subprocess.CompletedProcess[str]]
NAMED = "declare -A CONTAINER=([postgres]=p [pgbouncer]=b [redis]=r); "
# A console that answers each command from the file called as the command, and logs what it was asked.
CONSOLE = r"""
asked=$(dirname "$0")/asked
if [[ "$*" == *psql* ]]; then
  while IFS= read -r line; do
    if [[ $line == '\echo '* ]]; then echo "${line#\\echo }"; continue; fi
    line=${line%;}
    echo "$line" >>"$asked"
    count=$(grep -cx "$line" "$asked")
    file=$(dirname "$0")/$line
    [[ -e $file.$count ]] && file=$file.$count
    [[ ! -e $file ]] || tr '|' '\037' <"$file"
  done
fi
"""
POOLS = "database|user|cl_active|sv_active|sv_idle|sv_used|sv_tested|sv_login|maxwait\n"
POOLS_OLD = "database|user|sv_login|maxwait\n"
SERVERS = "type|user|database|state|close_needed|ptr|tls|application_name\n"


@pytest.fixture
def console(tmp_path: Path, bash: Bash) -> Path:
    """The directory of the fake docker, whose files are the console's answers."""
    script = tmp_path / "fake/docker"
    script.write_text("#!/bin/bash\n" + CONSOLE)
    script.chmod(0o755)
    return script.parent


def asked(console: Path) -> list[str]:
    return (console / "asked").read_text().splitlines()


@pytest.mark.parametrize("header", [POOLS, POOLS_OLD], ids=["new columns", "old columns"])
def test_reload_follows_at_once_on_the_first_answer_without_a_login(bash: Bash, console: Path, header: str) -> None:
    columns = header.count("|")
    busy = "|".join(["x"] * (columns - 1) + ["1", "0"])
    quiet = "|".join(["x"] * (columns - 1) + ["0", "0"])
    (console / "SHOW POOLS.1").write_text(f"{header}{quiet}\n{busy}\n")
    (console / "SHOW POOLS.2").write_text(f"{header}{busy}\n")
    (console / "SHOW POOLS").write_text(f"{header}{quiet}\n{quiet}\n")
    done = bash(NAMED + "reload_at_the_gate; admin_close")
    assert done.returncode == 0, done.stderr
    assert asked(console) == ["SHOW POOLS", "SHOW POOLS", "SHOW POOLS", "RELOAD"]


def test_an_answer_without_the_column_is_never_taken_for_an_empty_table(bash: Bash, console: Path) -> None:
    (console / "SHOW POOLS").write_text("database|user\nvoiceai|voiceai\n")
    done = bash(NAMED + "reload_at_the_gate")
    assert done.returncode == 1
    assert "no column sv_login" in done.stderr
    assert "RELOAD" not in asked(console)


def test_an_error_of_the_console_is_said_in_its_words(bash: Bash, console: Path) -> None:
    (console / "SHOW POOLS").write_text("ERROR:  admin access needed\n")
    done = bash(NAMED + "reload_at_the_gate")
    assert done.returncode == 1
    assert "admin access needed" in done.stderr


@pytest.mark.parametrize(
    ("rows", "wanted", "holds"),
    [
        ("", "tls", True),
        ("S|u|d|idle|0|0x1|TLSv1.3/TLS_AES_256_GCM_SHA384|app\n", "tls", True),
        ("S|u|d|idle|0|0x1||app\n", "tls", False),
        ("S|u|d|idle|0|0x1||a b, c=d\n", "plain", True),
        ("S|u|d|idle|0|0x1|TLSv1.3/x|\nS|u|d|active|0|0x2||\n", "plain", False),
        ("S|u|d|active|1|0x1|TLSv1.3/x|\n", "tls", False),
        ("S|u|d|idle|0|0x1|TLSv1.3/x|\nS|u|d|active|0|0x2||\n", "any", True),
    ],
)
def test_server_connections_are_judged_by_columns_name(
    bash: Bash, console: Path, rows: str, wanted: str, holds: bool
) -> None:
    (console / "SHOW SERVERS").write_text(SERVERS + rows)
    done = bash(NAMED + f"server_connections_are {wanted}")
    assert (done.returncode == 0) == holds


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("pool_mode|session|transaction|yes\n", "pool_mode=session"),
        ("pool_mode|transaction|transaction|yes\nso_reuseport|1|0|no\n", "so_reuseport=1"),
        ("pool_mode|transaction|transaction|yes\npeer_id|2|0|no\n", "peer_id=2"),
    ],
)
def test_what_one_reload_does_not_reach_is_refused(bash: Bash, console: Path, config: str, words: str) -> None:
    (console / "SHOW CONFIG").write_text("key|value|default|changeable\n" + config)
    (console / "SHOW DATABASES").write_text("name|pool_mode\nvoiceai|\n")
    done = bash(NAMED + "pooling_is_supported")
    assert done.returncode == 1
    assert words in done.stderr
    assert "not supported; nothing was changed" in done.stderr


def test_a_longer_login_retry_is_shortened_before_the_reload(bash: Bash, console: Path) -> None:
    (console / "SHOW CONFIG").write_text("key|value|default|changeable\nserver_login_retry|15|15|yes\n")
    (console / "SHOW POOLS").write_text(POOLS)
    done = bash(NAMED + "reload_pgbouncer")
    assert done.returncode == 0, done.stderr
    assert asked(console) == ["SHOW CONFIG", "SET server_login_retry = 1", "SHOW POOLS", "RELOAD"]


def test_the_log_is_believed_and_not_the_answer_to_reload(bash: Bash, console: Path) -> None:
    (console / "SHOW CONFIG").write_text("key|value|default|changeable\nserver_login_retry|1|15|yes\n")
    (console / "SHOW POOLS").write_text(POOLS)
    with (console / "docker").open("a") as script:
        script.write(
            '[[ $1 != logs ]] || echo "ERROR TLS configuration could not be reloaded, keeping old configuration"\n'
        )
    done = bash(NAMED + "reload_pgbouncer")
    assert done.returncode == 1
    assert "PgBouncer kept its old configuration" in done.stderr


def test_a_wait_is_bounded_and_says_for_what_and_what_was_so(bash: Bash) -> None:
    done = bash('never() { WHY="still raining"; return 1; }; wait_for 3 "the sun" never')
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "waiting for the sun (up to 3 s): still raining",
        "waited 3 s for the sun: still raining",
    ]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(bash: Bash, tmp_path: Path) -> None:
    """A full disk shows when the file is flushed."""
    target = tmp_path / "conf"
    target.write_text("old\n")
    (tmp_path / "fake/sync").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "fake/sync").chmod(0o755)
    done = bash(f"write_file {target} 0644 0:0 new")
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert target.read_text() == "old\n"
    assert [path.name for path in tmp_path.glob("*conf*")] + [p.name for p in tmp_path.glob(".*conf*")] == ["conf"]


def test_a_write_of_the_same_content_is_none_and_a_changed_mode_is_one(bash: Bash, tmp_path: Path) -> None:
    target = tmp_path / "conf"
    bash(f"write_file {target} 0600 70:70 same")
    before = target.stat()
    assert (stat.S_IMODE(before.st_mode), before.st_uid) == (0o600, 70)
    bash(f"write_file {target} 0600 70:70 same")
    assert target.stat() == before or target.stat().st_mtime_ns == before.st_mtime_ns
    target.chmod(0o644)
    bash(f"write_file {target} 0600 70:70 same")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("pgpass_line 'a:b\\c'", "*:*:*:voiceai:a\\:b\\\\c"),
        ("userlist_line 'a\"b'", '"voiceai" "a""b"'),
        ("redis_quoted 'a\"b\\c'", '"a\\"b\\\\c"'),
        (
            "declare -A AT=(); pgbouncer_tls_ini AT",
            "server_tls_sslmode = disable\nclient_tls_sslmode = disable",
        ),
        (
            "declare -A AT=([PGBOUNCER_SERVER_TLS_SSLMODE]=verify-ca [DATABASE_USERS]=web,api); pgbouncer_tls_ini AT",
            "server_tls_sslmode = verify-ca\nserver_tls_ca_file = /etc/ssl/internal/ca.crt\n"
            "client_tls_sslmode = disable\nstats_users = api,web",
        ),
        (
            "declare -A AT=([PGBOUNCER_CLIENT_TLS_SSLMODE]=require); pgbouncer_tls_ini AT",
            "server_tls_sslmode = disable\nclient_tls_sslmode = require\n"
            "client_tls_ca_file = /etc/ssl/internal/ca.crt\nclient_tls_cert_file = /etc/ssl/internal/server.crt\n"
            "client_tls_key_file = /etc/ssl/internal/server.key",
        ),
        ("declare -A AT=(); redis_tls_conf AT", "# No TLS listener."),
    ],
)
def test_passwords_and_modes_are_written_as_each_server_reads_them(bash: Bash, call: str, line: str) -> None:
    assert bash(call).stdout.rstrip("\n") == line


@pytest.mark.parametrize(
    ("found", "enough"),
    [("2.26.1-4", True), ("v2.24.0", True), ("2.23.9", False), ("1.29.2", False), ("3.0", True), ("none", False)],
)
def test_versions_are_compared_as_numbers(bash: Bash, found: str, enough: bool) -> None:
    assert (bash(f"version_at_least {found} 2.24").returncode == 0) == enough


def test_the_list_of_needs_names_each_missing_thing_and_what_to_do(bash: Bash, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "postgres_password").write_text("p\n")
    (etc / "postgres_password").chmod(0o644)
    script = tmp_path / "fake/docker"
    script.write_text('#!/bin/sh\ncase "$1" in version) exit 1;; compose) echo 2.23.3;; esac\n')
    script.chmod(0o755)
    done = bash("declare -A HOST=([ROLES]=postgres,pgbouncer,redis); list_needs HOST")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "missing  docker engine: it does not answer: start it, or give this user access to it" in lines
    assert "missing  docker compose 2.24 or newer: found 2.23.3; install the compose plugin" in lines
    assert any(line.startswith("missing  ") and "mode 644" in line and "chmod 0600" in line for line in lines)
    assert any(line.startswith(f"missing  {etc}/redis_password: write the password") for line in lines)
    assert any(line.startswith("ok       openssl 3") for line in lines)


def test_the_environment_file_is_read_as_data(bash: Bash, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    marker = tmp_path / "ran"
    lines = f'AWS_REGION="eu-west-1"\n# comment\nexport B=two words\nC=$(touch {marker})\nHOME=/elsewhere\n'
    (tmp_path / "etc/environment").write_text(lines)
    done = bash('read_environment; printf "%s|" "$AWS_REGION" "$B" "$C" "$HOME"', HOME=os.environ["HOME"])
    assert done.stdout == f"eu-west-1|two words|$(touch {marker})|{os.environ['HOME']}|"
    assert not marker.exists()
