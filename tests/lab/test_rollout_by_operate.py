"""`operate next` and `operate back` on real servers under load. The tests are one story, after that of the program.

The load's own clients follow before a server refuses plaintext, as operators' scripts do: so the way is walked in
parts.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.figures import Move, failures
from lab.traffic import Traffic
from lab.walk import Walker, follow_after, follow_before
from rollout import path
from tests.lab.test_rollout import is_under_way, started
from tests.waiting import wait_until

POOLER, REDIS = "PGBOUNCER_CLIENT_TLS_SSLMODE", "REDIS_FORCE_TLS"
_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    said: str


def begun(walker: Walker, *arguments: str, config: Path | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, **walker.lab.environment()}
    if config:
        environment["PULUMI_OPTION_CONFIG_FILE"] = str(config)
    return subprocess.Popen(
        [sys.executable, "-m", "operate", *arguments],
        cwd=walker.lab.layout.project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> Ended:
    said, _ = process.communicate(timeout=_SECONDS)
    assert "Traceback" not in said, said
    # Lines are wrapped.
    return Ended(code=process.returncode, said=" ".join(said.split()))


def operate(walker: Walker, *arguments: str, config: Path | None = None) -> Ended:
    return ended(begun(walker, *arguments, config=config))


def walked(walker: Walker, *arguments: str) -> str:
    done = operate(walker, *arguments, "--yes")
    assert done.code == 0, done.said
    return done.said


def config_of(walker: Walker) -> bytes:
    return walker.lab.layout.stack_config.read_bytes()


def through_the_database_host(walker: Walker, host: str, folder: Path) -> Path:
    """An ssh_config in which the database host is the bastion before `host`."""
    bastion: Sequence[str] = walker.lab.ssh_command("database")
    file = folder / "ssh_config"
    command = shlex.join([*bastion[:-1], "-W", f"{host}.lab.internal:22", bastion[-1]])
    file.write_text(f"Host 127.0.0.1\n  ProxyCommand {command}\n")
    return file


def test_two_operators_at_once_and_the_second_changes_nothing(walker: Walker, tmp_path: Path) -> None:
    clone = tmp_path / "Pulumi.lab.yaml"
    clone.write_bytes(config_of(walker))
    first = begun(walker, "next", "--yes")
    wait_until("the host's change is under way", lambda: is_under_way(walker, "database"), seconds=120)
    here = operate(walker, "next", "--yes")
    assert here.code == 4, here.said
    assert "another `operate` works on" in here.said
    there = operate(walker, "next", "--yes", config=clone)
    assert there.code in (1, 4), there.said
    assert ended(first).code == 0
    assert walker.declared().settings["PREPARED"] == "on"
    assert b"PREPARED: 'off'" in clone.read_bytes()
    assert walker.up() == 0


def test_next_to_the_end_under_load_fails_no_request(walker: Walker, tmp_path: Path) -> None:
    servers = started(walker)
    with Traffic(walker.lab, "operate-next", seconds=3000) as traffic:
        traffic.wait_until_flowing()
        said = walked(walker, "next", "--to", "apps.ops.DATABASE_SSL_MODE=verify-full")
        assert "asked now" in said
        assert "sslmode=verify-full is accepted" in said
        bastion = through_the_database_host(walker, "worker", tmp_path)
        assert "worker passes" in walked(walker, "next", "--to", "postgres 5", "--ssh-config", str(bastion))
        # The load's own clients are still in plaintext.
        before = config_of(walker)
        refused = operate(walker, "next", "--yes")
        assert refused.code == 1, refused.said
        assert "connected in plaintext" in refused.said
        assert config_of(walker) == before
        follow_before(Move(key=POOLER, value="require", direction="forward"), traffic)
        walked(walker, "next", "--to", "redis", "3")
        follow_before(Move(key=REDIS, value="true", direction="forward"), traffic)
        walked(walker, "next", "--to", "end")
    assert failures([], traffic.requests()) == []
    assert started(walker) == servers
    # The optional one closed Postgres too.
    assert path.ahead(walker.declared()) == ()
    assert "nothing to do" in walked(walker, "next", "--to", "end")


def test_back_to_the_start_under_load_fails_no_request(walker: Walker) -> None:
    servers = started(walker)
    with Traffic(walker.lab, "operate-back", seconds=3000) as traffic:
        for key, value in ((POOLER, "require"), (REDIS, "true")):
            follow_before(Move(key=key, value=value, direction="forward"), traffic)
        traffic.wait_until_flowing()
        walked(walker, "back")
        follow_after(Move(key=REDIS, value="false", direction="back"), traffic)
        walked(walker, "back", "--to", f"{POOLER}=allow")
        follow_after(Move(key=POOLER, value="allow", direction="back"), traffic)
        walked(walker, "back", "--to", "start")
    assert failures([], traffic.requests()) == []
    assert started(walker) == servers
    assert path.behind(walker.declared()) == ()
