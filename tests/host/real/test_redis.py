"""Redis on a real server: the TLS listener beside plaintext, alone, and back, as clients see it."""

import threading
import time

import pytest

from tests.host.conftest import SecretsManager
from tests.host.issuing import Generation
from tests.host.real.real_host import RealHost, docker, must
from tests.host.real.walking import OFF
from tests.waiting import wait_until

CLIENTS = {"CLIENTS": "api", "clients.api.ADDRESSES": "api", "clients.api.USES": "redis"}
TLS = ("-p", "6380", "--tls", "--cacert", "/etc/ssl/internal/ca.crt")
WRONG = ("-p", "6380", "--tls", "--cacert", "/etc/ssl/internal/wrong-ca.crt")


@pytest.fixture(scope="module")
def base(real_host: RealHost, generations: dict[int, Generation]) -> dict[str, str]:
    """Certificates on disk, Redis in plaintext, a client called api."""
    real_host.client("api")
    here = {**OFF, **CLIENTS, **generations[1].settings()}
    real_host.applied(here)
    return here


def offered(base: dict[str, str]) -> dict[str, str]:
    return {**base, "REDIS_TLS_ENABLED": "true"}


def alone(base: dict[str, str]) -> dict[str, str]:
    return {**offered(base), "REDIS_FORCE_TLS": "true"}


def go(real: RealHost, base: dict[str, str], target: dict[str, str]) -> None:
    """To that place, wherever the host stands."""
    record = real.record()
    if record["REDIS_FORCE_TLS"] == "true" and target.get("REDIS_FORCE_TLS") != "true":
        real.applied(offered(base))
    if target == alone(base) and record["REDIS_TLS_ENABLED"] == "false":
        real.applied(offered(base))
    real.applied(target)


def ping(real: RealHost, *options: str) -> str:
    return real.from_client("api", "timeout", "5", "redis-cli", "-h", "voiceai-redis", *options, "PING")


class Load(threading.Thread):
    """Sets and gets all the time on kept plaintext connections; `failed` has what went wrong."""

    def __init__(self, real: RealHost) -> None:
        super().__init__()
        self.failed: list[str] = []
        self.done = 0
        self._stop_it = threading.Event()
        self._real = real

    def run(self) -> None:
        script = "for i in $(seq 50); do echo SET k $i; echo GET k; sleep 0.01; done | redis-cli -h voiceai-redis"
        while not self._stop_it.is_set():
            said = self._real.from_client("api", "sh", "-c", script).split()
            self.done += said.count("OK")
            if said != [word for i in range(1, 51) for word in ("OK", str(i))]:
                self.failed.append(" ".join(said))

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop_it.set()
        self.join()


def test_the_listener_opens_and_closes_live_and_no_request_fails(real: RealHost, base: dict[str, str]) -> None:
    go(real, base, base)
    before = real.started()
    with Load(real) as load:
        wait_until("the load flows", lambda: load.done > 0)
        real.applied(offered(base))
        assert ping(real, *TLS) == "PONG"
        assert "certificate verify failed" in ping(real, *WRONG)
        assert ping(real) == "PONG"
        real.applied(base)
    assert load.failed == []
    assert "refused" in ping(real, *TLS)
    assert real.started() == before


def test_a_redis_that_starts_later_has_the_same_listeners(real: RealHost, base: dict[str, str]) -> None:
    go(real, base, offered(base))
    must("restart", real.container("redis"))
    wait_until("Redis answers", lambda: ping(real) == "PONG")
    assert ping(real, *TLS) == "PONG"
    done = real.run("/opt/voiceai/update.sh", "--verify-only")
    assert done.returncode == 0, done.stderr


def test_the_seeds_probe_is_answered(real: RealHost, base: dict[str, str]) -> None:
    go(real, base, offered(base))
    seed = (
        f"docker exec {real.container('redis')} redis-cli -p 6380 --tls --cacert /tmp/redis-tls/ca.crt --insecure ping"
    )
    answer = real.run("sh", "-c", seed).stdout
    # A password is asked for, by Redis, through TLS: the probe reached it.
    assert "PONG" in answer or "NOAUTH" in answer


def test_a_plaintext_client_is_named_and_an_unseen_app_is_no_proof(real: RealHost, base: dict[str, str]) -> None:
    go(real, base, offered(base))
    with real.redis_connected("api"):
        done = real.update(alone(base))
    assert done.returncode == 3, done.stderr
    assert "connected in plaintext: user default, application not named, from " in done.stderr
    assert "no proof of api" in done.stderr
    assert "Redis keeps no log of connections" in done.stderr
    assert ping(real) == "PONG"


def test_plaintext_is_closed_on_proof_stays_so_over_a_restart_and_opens_again(
    real: RealHost, base: dict[str, str]
) -> None:
    go(real, base, offered(base))
    with real.redis_connected("api", *TLS):
        real.applied(alone(base))
    assert "refused" in ping(real)
    assert ping(real, *TLS) == "PONG"
    must("restart", real.container("redis"))
    wait_until("Redis answers", lambda: ping(real, *TLS) == "PONG")
    assert "refused" in ping(real)
    real.applied(offered(base))
    assert ping(real) == "PONG"


def test_the_tls_listener_stays_while_a_client_uses_it(real: RealHost, base: dict[str, str]) -> None:
    go(real, base, offered(base))
    with real.redis_connected("api", *TLS):
        done = real.update(base)
        assert done.returncode == 3, done.stderr
        assert "uses TLS now and would find no TLS listener: user default" in done.stderr
        assert ping(real, *TLS) == "PONG"
    real.applied(base)
    assert "refused" in ping(real, *TLS)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        # It would win over tls.conf at the next start.
        (
            '["redis-server", "/usr/local/etc/redis/redis.conf", "--port", "6379"]',
            "was started with --port on its command",
        ),
        (
            '["sh", "-c", "exec redis-server - </usr/local/etc/redis/redis.conf"]',
            "was started without a configuration file",
        ),
    ],
)
def test_a_redis_that_would_forget_the_listener_at_its_next_start_is_refused(
    real: RealHost, base: dict[str, str], command: str, says: str
) -> None:
    go(real, base, base)
    site = real.root / "etc/compose.site.yaml"
    text = site.read_text()
    again = "cd /opt/voiceai && docker compose --progress quiet up --detach --no-deps voiceai-redis"
    try:
        site.write_text(text.replace("voiceai-redis: {", f"voiceai-redis: {{command: {command}, "))
        made = real.run("sh", "-c", again)
        assert made.returncode == 0, made.stderr
        wait_until("Redis answers", lambda: ping(real) == "PONG")
        done = real.update(offered(base))
        assert done.returncode == 3, done.stderr
        assert says in done.stderr
        assert "refused" in ping(real, *TLS)
    finally:
        site.write_text(text)
        real.run("sh", "-c", again)
    real.applied(base)


def test_an_idle_straggler_is_ended_when_asked(real: RealHost, base: dict[str, str]) -> None:
    go(real, base, offered(base))
    with real.redis_connected("api", *TLS), real.redis_connected("api"):
        time.sleep(1.1)  # idle is what Redis counts in whole seconds
        done = real.update({**alone(base), "DRAIN_STRAGGLERS": "on"})
    assert done.returncode == 0, done.stderr
    assert "ending an idle plaintext session of redis" in done.stderr
    real.applied(offered(base))


def test_a_reissue_is_served_without_a_restart(
    real: RealHost, base: dict[str, str], generations: dict[int, Generation], moto_server: SecretsManager
) -> None:
    go(real, base, offered(base))
    before = real.started()
    moto_server.put(generations[2].secrets())
    try:
        real.applied({**offered(base), **generations[2].settings()})
        assert ping(real, *TLS) == "PONG"
    finally:
        moto_server.put(generations[1].secrets())
        real.applied(offered(base))
    assert real.started() == before


@pytest.mark.parametrize("point", ["redis_tls-begun", "redis_tls-rendered", "redis_tls-applied"])
def test_killed_anywhere_it_is_finished_by_the_next_run(real: RealHost, base: dict[str, str], point: str) -> None:
    go(real, base, base)
    dead = real.update(offered(base), environment={"VOICEAI_FAULT": point})
    assert dead.returncode == 137, dead.stderr
    real.applied(offered(base))
    assert ping(real, *TLS) == "PONG"
    assert ping(real) == "PONG"


def test_a_replica_is_refused_with_a_sentence(real: RealHost, base: dict[str, str]) -> None:
    go(real, base, base)
    docker(
        "exec",
        real.container("redis"),
        "sh",
        "-c",
        "REDISCLI_AUTH=$(cat /usr/local/etc/redis/password) redis-cli replicaof 192.0.2.1 6379",
    )
    try:
        done = real.update(offered(base))
    finally:
        docker(
            "exec",
            real.container("redis"),
            "sh",
            "-c",
            "REDISCLI_AUTH=$(cat /usr/local/etc/redis/password) redis-cli replicaof no one",
        )
    assert done.returncode == 3, done.stderr
    assert "Redis is a replica" in done.stderr
