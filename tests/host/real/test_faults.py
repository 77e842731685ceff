"""Faults from outside in the middle of a change: a server that crashes, a host that reboots.

What stands afterwards is the old or the new settings, verified, and the next run or the way back ends in what is asked.
"""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.host.issuing import Generation
from tests.host.real.real_host import ROLES, RealHost, must
from tests.host.real.walking import OFF
from tests.waiting import wait_until

STEPS = {
    "postgres": {"POSTGRES_TLS_ENABLED": "on"},
    "pgbouncer": {"PGBOUNCER_SERVER_TLS_SSLMODE": "verify-ca"},
    "redis": {"REDIS_TLS_ENABLED": "true"},
}


@pytest.fixture
def places(
    real: RealHost, generations: dict[int, Generation], server: str
) -> tuple[RealHost, dict[str, str], dict[str, str]]:
    """The host before the server's step, and the settings before and after it."""
    issued = {**OFF, **generations[1].settings()}
    before = {**issued, **(STEPS["postgres"] if server == "pgbouncer" else {})}
    for key in ("REDIS_TLS_ENABLED", "PGBOUNCER_SERVER_TLS_SSLMODE", "POSTGRES_TLS_ENABLED"):
        if real.record().get(key) not in (before[key], None):
            real.applied({**issued, **_standing(real), key: before[key]})
    real.applied(before)
    return real, before, {**before, **STEPS[server]}


def _standing(real: RealHost) -> dict[str, str]:
    record = real.record()
    return {key: record[key] for step in STEPS.values() for key in step}


def crash(real: RealHost, server: str) -> None:
    """The server's first process dies as by a fault of its own, so that Docker starts the container again."""
    pid = int(must("inspect", "--format", "{{.State.Pid}}", real.container(server)))
    os.kill(pid, signal.SIGKILL)


def all_answer(real: RealHost) -> bool:
    shown = must("inspect", "--format", "{{.State.Running}}", *(real.container(role) for role in ROLES))
    return set(shown.split()) == {"true"} and real.through() in ("t", "f")


@pytest.mark.parametrize("server", list(STEPS))
@pytest.mark.parametrize("direction", ["forward", "back"])
def test_a_server_that_crashes_in_the_middle_of_its_step(
    places: tuple[RealHost, dict[str, str], dict[str, str]], server: str, direction: str
) -> None:
    real, before, after = places
    if direction == "back":
        real.applied(after)
        before, after = after, before
    intent = real.root / "state/intent"
    with ThreadPoolExecutor() as pool:
        running = pool.submit(real.update, after)
        wait_until("the change is under way", lambda: intent.exists() or running.done())
        crash(real, server)
        done = running.result()
    stood = {0: after, 1: before}
    assert done.returncode in stood, done.stderr
    (key,) = STEPS[server]
    assert real.record()[key] == stood[done.returncode][key]
    wait_until("every server answers", lambda: all_answer(real))
    real.applied(stood[done.returncode])
    real.applied(after)
    assert real.run("/opt/voiceai/update.sh", "--verify-only").returncode == 0


@pytest.mark.parametrize("server", list(STEPS))
@pytest.mark.parametrize("then", ["up", "back"])
def test_a_host_that_reboots_in_the_middle_of_a_step(
    places: tuple[RealHost, dict[str, str], dict[str, str]], server: str, then: str
) -> None:
    real, before, after = places
    point = {"postgres": "postgres", "pgbouncer": "pgbouncer", "redis": "redis_tls"}[server]
    dead = real.update(after, environment={"VOICEAI_FAULT": f"{point}-rendered"})
    assert dead.returncode == 128 + signal.SIGKILL, dead.stderr
    names = [real.container(role) for role in ROLES]
    must("kill", *names)
    must("restart", "--time", "0", f"{real.name}-host")
    booted = real.run("/opt/voiceai/init.sh")
    assert booted.returncode == 0, booted.stderr
    must("start", *names)
    wait_until("every server answers", lambda: all_answer(real))
    wanted = after if then == "up" else before
    done = real.applied(wanted)
    assert "putting it back first" in done.stderr
    assert real.run("/opt/voiceai/update.sh", "--verify-only").returncode == 0
    (key,) = STEPS[server]
    assert real.record()[key] == wanted[key]
