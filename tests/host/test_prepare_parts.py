"""The parts by which a site's own deployment is taken over, each by itself."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host.conftest import BUNDLE

Bash = Callable[..., subprocess.CompletedProcess[str]]

BLOCK = ";;; internal-tls: begin\nserver_login_retry = 1\n;;; internal-tls: end\n"
ENDS_WITH_IT = "[databases]\n* = host=db\n[pgbouncer]\npool_mode = transaction\n"


def ini_with(tmp_path: Path, ini: str, block: str = BLOCK) -> subprocess.CompletedProcess[str]:
    (tmp_path / "ini").write_text(ini)
    (tmp_path / "block").write_text(block)
    options = ["-v", f"block={tmp_path / 'block'}"] if block else []
    argv = ["awk", *options, "-f", str(BUNDLE / "templates/ini-block.awk"), str(tmp_path / "ini")]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ENDS_WITH_IT, ""),
        ("[pgbouncer]\npool_mode = transaction\n", "[users]\nvoiceai = pool_size=3\n"),
        ("; a comment\n[databases]\na = host=db\n[PgBouncer]\n", "[databases]\nb = host=db\n"),
    ],
)
def test_our_lines_are_the_last_ones_of_their_section_and_leave_without_a_trace(
    tmp_path: Path, before: str, after: str
) -> None:
    done = ini_with(tmp_path, before + after)
    assert done.stdout == before + BLOCK + after
    assert ini_with(tmp_path, done.stdout).stdout == done.stdout
    other = BLOCK.replace("= 1", "= 2")
    assert ini_with(tmp_path, done.stdout, other).stdout == before + other + after
    assert ini_with(tmp_path, done.stdout, "").stdout == before + after


def test_an_ini_without_the_section_is_told(tmp_path: Path) -> None:
    assert ini_with(tmp_path, "%include /etc/other.ini\n").returncode == 3


def started(tmp_path: Path, name: str, *arguments: str, kept: Path | None = None) -> tuple[list[str], str]:
    """The arguments that reach the server, and what is said, when our program is found before it."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir(exist_ok=True)
    script = (BUNDLE / "templates/start").read_text()
    (ours / name).write_text(script.replace("kept=/etc/ssl/internal", f"kept={kept or tmp_path}"))
    (theirs / name).write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\n')
    for file in (ours / name, theirs / name):
        file.chmod(0o755)
    path = f"{ours}:{theirs}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(ours / name), *arguments], capture_output=True, text=True, check=True, env={"PATH": path}
    )
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize(
    ("arguments", "reached"),
    [
        (["-c", "ssl=off", "-c", "work_mem=8MB"], ["-c", "work_mem=8MB"]),
        (["--ssl=on", "-cssl_key_file=/k", "--ssl-cert-file=/c", "--work_mem=8MB"], ["--work_mem=8MB"]),
        (["-c", "ssl_ca_file=/ca", "-D", "/my data"], ["-c", "ssl_ca_file=/ca", "-D", "/my data"]),
        (["-c"], ["-c"]),
        ([], []),
    ],
)
def test_postgres_starts_without_what_no_reload_could_change(
    tmp_path: Path, arguments: list[str], reached: list[str]
) -> None:
    words, said = started(tmp_path, "postgres", *arguments)
    assert words == reached
    assert ("is left out: POSTGRES_TLS_ENABLED decides" in said) == (arguments != reached)


def test_redis_starts_with_our_settings_after_all_others(tmp_path: Path) -> None:
    assert started(tmp_path, "redis-server", "/etc/redis.conf", "--port", "1")[0] == ["/etc/redis.conf", "--port", "1"]
    (tmp_path / "tls.conf").write_text("tls-port 6380\n")
    words, _ = started(tmp_path, "redis-server", "/etc/redis.conf", "--port", "1")
    assert words == ["/etc/redis.conf", "--port", "1", "--include", f"{tmp_path}/tls.conf"]
    assert started(tmp_path, "redis-server", "--version")[0] == ["--version"]


def test_pgbouncer_starts_from_a_copy_with_our_lines_that_is_its_own_alone(tmp_path: Path) -> None:
    ini = tmp_path / "pgbouncer.ini"
    ini.write_text(ENDS_WITH_IT)
    assert started(tmp_path, "pgbouncer", "-v", str(ini))[0] == ["-v", str(ini)]
    (tmp_path / "tls.ini").write_text(BLOCK)
    (tmp_path / "ini-block.awk").write_text((BUNDLE / "templates/ini-block.awk").read_text())
    words, _ = started(tmp_path, "pgbouncer", "-v", str(ini))
    copy = Path("/dev/shm/internal-tls-pgbouncer.ini")
    try:
        assert words == ["-v", str(copy)]
        assert copy.read_text() == f";;; internal-tls: copy of {ini}\n{ENDS_WITH_IT}{BLOCK}"
        assert copy.stat().st_mode & 0o777 == 0o600
    finally:
        copy.unlink()
    assert ini.read_text() == ENDS_WITH_IT
    ini.write_text("[other]\n")
    words, said = started(tmp_path, "pgbouncer", str(ini))
    copy.unlink()
    assert words == [str(ini)]
    assert "pgbouncer starts as if there were none" in said


@pytest.mark.parametrize(
    ("before", "registered"),
    [
        ("A=1\n", "A=1\nCOMPOSE_FILE=compose.yaml:{ours} # internal-tls\n"),
        ("A=1", "A=1\nCOMPOSE_FILE=compose.yaml:{ours} # internal-tls\n"),
        ("", "COMPOSE_FILE=compose.yaml:{ours} # internal-tls\n"),
        ("COMPOSE_FILE=compose.yaml\nA=1\n", "COMPOSE_FILE=compose.yaml:{ours}\nA=1\n"),
        ("COMPOSE_FILE='a.yaml:b.yaml'\n", "COMPOSE_FILE='a.yaml:b.yaml:{ours}'\n"),
        ('COMPOSE_FILE="a.yaml" \n', 'COMPOSE_FILE="a.yaml:{ours}" \n'),
        (
            "COMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=a.yaml;b.yaml",
            "COMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=a.yaml;b.yaml;{ours}",
        ),
    ],
)
def test_our_compose_file_is_registered_once_and_leaves_without_a_trace(
    bash: Bash, tmp_path: Path, before: str, registered: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / ".env").write_text(before)
    (site / ".env").chmod(0o640)
    ours = tmp_path / "etc/deployment/compose.yaml"
    setting = f"SITE_DIRECTORY={site}; SITE_FILES=(compose.yaml); "
    for _ in range(2):
        done = bash(setting + "register_override && is_registered")
        assert done.returncode == 0, done.stderr
        assert (site / ".env").read_text() == registered.format(ours=ours)
    assert bash(setting + "unregister_override && ! is_registered").returncode == 0
    assert (site / ".env").read_text() == before
    assert (site / ".env").stat().st_mode & 0o777 == 0o640


def test_an_env_file_of_ours_goes_with_us_and_a_change_of_the_sites_stays(bash: Bash, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    setting = f"SITE_DIRECTORY={site}; SITE_FILES=(compose.yaml); "
    assert bash(setting + "register_override").returncode == 0
    assert bash(setting + "unregister_override").returncode == 0
    assert not (site / ".env").exists()
    assert bash(setting + "register_override").returncode == 0
    with (site / ".env").open("a") as file:
        file.write("NEW=of the site\n")
    assert bash(setting + "unregister_override").returncode == 0
    assert (site / ".env").read_text() == "NEW=of the site\n"


def test_who_is_behind_the_forwarder_is_read_from_its_processes(bash: Bash, tmp_path: Path) -> None:
    script = tmp_path / "fake/docker"
    script.write_text(
        "#!/bin/sh\ncase $1 in ps) echo 0123abc ;; top) cat <<END\nPID COMMAND\n"
        "12 sh /forward 6380 cache 6380\n"
        "13 forward 10.0.1.20:51234 as 172.18.0.5:40022\n14 forward 10.0.1.21:9 as 172.18.0.5:40023\nEND\nesac\n"
    )
    script.chmod(0o755)
    asked = 'see_behind_forwarder; echo "${BEHIND[172.18.0.5:40022]} ${BEHIND[172.18.0.5:40023]} ${#BEHIND[@]}"'
    assert bash(f"DEPLOYMENT=yes; PROJECT=site; {asked}").stdout == "10.0.1.20:51234 10.0.1.21:9 2\n"


def test_users_that_the_site_lets_see_the_console_are_kept_beside_ours(bash: Bash, tmp_path: Path) -> None:
    (tmp_path / "etc/pgbouncer").mkdir(parents=True)
    (tmp_path / "etc/pgbouncer/tls.ini").write_text("server_tls_sslmode = disable\nstats_users = voiceai\n")
    now = tmp_path / "state/deployment/pgbouncer.now"
    now.parent.mkdir(parents=True)
    now.write_text("[databases]\nstats_users = no\n[pgbouncer]\nstats_users = metrics, ops \nadmin_users = root\n")
    lines = bash("SOCKET_OF[pgbouncer]=/tmp/.s.PGSQL.6432; pgbouncer_block").stdout.splitlines()
    assert "stats_users = metrics, ops,voiceai" in lines
    assert not any(line.startswith("admin_users") for line in lines)
    # Without a socket its console is reached by the user whose password this host has.
    assert "admin_users = root,voiceai" in bash("pgbouncer_block").stdout.splitlines()
