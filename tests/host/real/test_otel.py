"""The real OpenTelemetry collector: it follows Redis into TLS and back, and really verifies."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab import images
from tests.host.issuing import Generation
from tests.host.real.real_host import RealHost, docker, must
from tests.host.real.reporting import reported, starts
from tests.host.real.walking import OFF
from tests.waiting import wait_until

SERVERS_OWN = frozenset(
    ("PREPARED", "POSTGRES_TLS_ENABLED", "PGBOUNCER_SERVER_TLS_SSLMODE", "PGBOUNCER_CLIENT_TLS_SSLMODE")
) | {"POSTGRES_FORCE_SSL", "REDIS_FORCE_TLS", "SECRET_CERT", "SECRET_KEY", "QUIET_MINUTES", "DRAIN_STRAGGLERS"}
SITES_OWN = "receivers:\n  redis:\n    endpoint: voiceai-redis:6379\n"


@pytest.fixture(scope="module")
def base(real_host: RealHost, generations: dict[int, Generation]) -> dict[str, str]:
    """Certificates on disk, the collector beside Redis, all in plaintext."""
    if not images.has_collector():
        pytest.skip("the collector is built from its Go modules, and Go could not be had")
    _with_collector(real_host)
    here = {**OFF, **generations[1].settings(), "ROLES": "postgres,pgbouncer,redis,otel"}
    real_host.applied(here)
    return here


@pytest.fixture
def plain(real: RealHost, base: dict[str, str]) -> dict[str, str]:
    """Redis and its collector in plaintext, wherever the test before left them."""
    if real.record()["REDIS_FORCE_TLS"] == "true":
        real.applied(offered(base))
    real.applied(base)
    return base


@pytest.fixture
def second(real: RealHost, plain: dict[str, str]) -> Iterator[RealHost]:
    """A host of its own for a collector, beside the one with Redis."""
    host = replace(
        real, name=f"{real.name}-second", root=real.root / "second", network=real.name, revision=0, omits=SERVERS_OWN
    )
    try:
        host.open()
        _with_collector(host)
        with (host.root / "etc/environment").open("a") as environment:
            environment.write("OTEL_REDIS_HOST=voiceai-redis\n")
        yield host
    finally:
        print(docker("logs", "--tail", "10", host.container("otel")).stderr)
        docker("rm", "--force", host.container("otel"), f"{host.name}-host")


def _with_collector(host: RealHost) -> None:
    with (host.root / "etc/compose.env").open("a") as environment:
        environment.write(f"OTEL_IMAGE={images.otel_image()}\nCOMPOSE_PROFILES=otel\n")


def offered(base: dict[str, str]) -> dict[str, str]:
    return {**base, "REDIS_TLS_ENABLED": "true"}


def scrapes(redis: RealHost, collector: RealHost) -> set[str]:
    """The listeners of Redis, by port, to which the collector is connected."""
    at = must(
        "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", collector.container("otel")
    )
    script = (
        "export REDISCLI_AUTH=$(cat /usr/local/etc/redis/password); cd /etc/ssl/internal; "
        "redis-cli CLIENT LIST 2>/dev/null | grep ^id= || redis-cli -p 6380 --tls --cacert ca.crt CLIENT LIST"
    )
    lines = must("exec", redis.container("redis"), "sh", "-c", script).splitlines()
    words = [dict(word.split("=", 1) for word in line.split()) for line in lines]
    return {client["laddr"].rsplit(":", 1)[1] for client in words if client["addr"].rsplit(":", 1)[0] == at}


def test_it_follows_redis_into_tls_over_the_end_of_plaintext_and_back(real: RealHost, plain: dict[str, str]) -> None:
    servers = real.started()
    assert scrapes(real, real) == {"6379"}
    real.applied(offered(plain))
    assert scrapes(real, real) == {"6380"}
    shown = must("inspect", "--format", "{{json .Config.Env}}", real.container("otel"))
    assert "REDIS_ENDPOINT=voiceai-redis:6380" in shown
    assert "REDIS_TLS_INSECURE=false" in shown
    real.applied({**offered(plain), "REDIS_FORCE_TLS": "true"})
    since = must("exec", real.container("redis"), "date", "-u", "+%Y-%m-%dT%H:%M:%SZ")
    name = real.container("otel")
    wait_until("it scrapes", lambda: '"resource metrics": 1' in docker("logs", "--since", since, name).stderr)
    assert "Error scraping" not in docker("logs", "--since", since, name).stderr
    verified = real.run("/opt/voiceai/update.sh", "--verify-only")
    assert verified.returncode == 0, verified.stderr
    tells_of_the_collector(real)
    real.applied(offered(plain))
    real.applied(plain)
    assert scrapes(real, real) == {"6379"}
    assert real.started() == servers


def tells_of_the_collector(real: RealHost) -> None:
    told = reported(real.run, "--restart")
    collector, redis = told.collector, told.servers["redis"]
    assert collector is not None
    assert collector.start is not None
    assert collector.runs_with == {"REDIS_ENDPOINT": "voiceai-redis:6380", "REDIS_TLS_INSECURE": "false"}
    assert (collector.as_rendered, collector.as_verified, collector.scrapes) == (True, True, True)
    assert collector.start.dials == {"redis": "accepted"}
    assert [client.tls for client in redis.clients if client.address == collector.address] == [True]
    assert starts(told) == dict.fromkeys(told.servers, "serves")
    # The certificate has not that name.
    named = reported(real.run, "--restart", OTEL_REDIS_HOST=real.container("redis")).collector
    assert named is not None
    assert named.start is not None
    assert "verify error" in named.start.dials["redis"]


@pytest.mark.parametrize(
    ("insecure", "ca", "says"),
    [
        ("false", "/etc/ssl/internal/wrong-ca.crt", "certificate signed by unknown authority"),
        # The receiver's own default: plaintext to the TLS port.
        ("true", "", "Error scraping"),
    ],
)
def test_a_collector_with_another_ca_or_the_default_gets_nothing(
    real: RealHost, plain: dict[str, str], insecure: str, ca: str, says: str
) -> None:
    real.applied(offered(plain))
    name = f"{real.name}-twin"
    variables = (f"REDIS_ENDPOINT=voiceai-redis:6380 REDIS_TLS_INSECURE={insecure} REDIS_CA_FILE={ca}").split()
    try:
        must(
            *("run", "--detach", "--name", name, "--network", real.name, "--user", "10001:10001"),
            *(part for variable in variables for part in ("--env", variable)),
            *("--volume", f"{real.root}/etc/otel:/etc/otel:ro", "--volume", f"{real.root}/tls:/etc/ssl/internal:ro"),
            *(images.otel_image(), "--config=/etc/otel/config.yaml"),
        )
        wait_until("it is refused", lambda: says in docker("logs", name).stderr)
        assert '"resource metrics": 1' not in docker("logs", name).stderr
    finally:
        docker("rm", "--force", name)


def test_a_configuration_of_the_sites_own_that_would_stay_in_plaintext_is_refused(
    real: RealHost, plain: dict[str, str]
) -> None:
    config = real.root / "etc/otel/config.yaml"
    ours = config.read_text()
    config.write_text(SITES_OWN)
    try:
        done = real.update(offered(plain))
    finally:
        config.write_text(ours)
    assert done.returncode == 3, done.stderr
    assert "does not read ${env:REDIS_ENDPOINT}" in done.stderr
    assert scrapes(real, real) == {"6379"}
    real.applied(plain)


def test_a_name_that_the_certificate_does_not_cover_is_refused(real: RealHost, plain: dict[str, str]) -> None:
    done = real.update(offered(plain), environment={"OTEL_REDIS_HOST": real.container("redis")})
    assert done.returncode == 3, done.stderr
    assert "which the server certificate does not cover" in done.stderr
    real.applied(plain)


def test_a_collector_on_another_host_waits_for_redis_and_then_follows(
    real: RealHost, plain: dict[str, str], second: RealHost
) -> None:
    there = {**plain, "ROLES": "otel"}
    second.applied(there)
    assert scrapes(real, second) == {"6379"}
    early = second.update(offered(there), environment={"WAIT_SECONDS": "2"})
    assert early.returncode == 3, early.stderr
    assert "Redis at voiceai-redis to serve TLS" in early.stderr
    real.applied(offered(plain))
    second.applied(offered(there))
    wait_until("it scrapes in TLS", lambda: scrapes(real, second) == {"6380"})
    kept = real.update(plain)
    assert kept.returncode == 3, kept.stderr
    assert "uses TLS now and would find no TLS listener" in kept.stderr
    second.applied(there)
    wait_until("it is back in plaintext", lambda: scrapes(real, second) == {"6379"})
