"""`operate` on real servers under load: two operators, a bastion, some steps, what status and drift see, and back.

The whole way and back takes longer than all else here: `whole_rollout_by_operate.py`, run by `make proof`.
"""

import re
from pathlib import Path

from lab.figures import failures
from lab.layout import HOSTS
from lab.traffic import Traffic
from lab.walk import Walker
from rollout import path
from tests.lab.looking import look_and_reconcile, looked
from tests.lab.operating import begun, config_of, ended, operate, through_a_bastion, walked
from tests.lab.test_rollout import is_under_way, started
from tests.waiting import wait_until


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


def test_steps_taken_looked_at_and_taken_back_under_load_fail_no_request(walker: Walker, tmp_path: Path) -> None:
    servers = started(walker)
    with Traffic(walker.lab, "operate", seconds=1500) as traffic:
        traffic.wait_until_flowing()
        assert "worker passes" in walked(walker, "next", "--to", "CERTIFICATE_GENERATION=1")
        bastion = through_a_bastion(walker, tmp_path)
        said = walked(walker, "next", "--to", "postgres 2", "--ssh-config", str(bastion))
        assert "database passes" in said
        what_is_served_otherwise_does_not_verify(walker)
        assert "asked now" in walked(walker, "next", "--to", "postgres 3")
        assert "nothing to do" in walked(walker, "next", "--to", "postgres 3")
        # Drift's own command is run under load as well.
        look_and_reconcile(walker, tmp_path, postgres=3)
        walked(walker, "back", "--to", "start")
    assert failures([], traffic.requests()) == []
    assert started(walker) == servers
    assert path.behind(walker.declared()) == ()


def what_is_served_otherwise_does_not_verify(walker: Walker) -> None:
    """By `operate verify`, all hosts at once; PgBouncer does not use Postgres's TLS yet, so nobody misses it."""
    screen = looked(walker, "verify", "--read-stack")
    print(screen)
    assert f"{len(HOSTS)} of {len(HOSTS)} hosts hold" in screen
    in_postgres(walker, "ALTER SYSTEM SET ssl = off")
    try:
        wait_until("Postgres takes it", lambda: " off" in in_postgres(walker, "SHOW ssl"))
        screen = looked(walker, "verify", code=1)
    finally:
        in_postgres(walker, "ALTER SYSTEM RESET ssl")
    print(screen)
    assert re.search(r"^  database +does NOT hold$", screen, re.MULTILINE)
    assert screen.count("holds revision") == len(HOSTS) - 1
    assert "1 of 1 hosts hold" in looked(walker, "verify", "--host", "database")


def in_postgres(walker: Walker, statement: str) -> str:
    psql = f"docker compose exec -T voiceai-postgres psql -U voiceai -c '{statement}' -c 'SELECT pg_reload_conf()'"
    return walker.lab.run("database", "sh", "-c", f"cd /opt/voiceai && {psql}")
