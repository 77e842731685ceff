"""The naive way writes what the server reads, recreates all that has to read it at once, and lets its outages end."""

from dataclasses import replace

import pytest

from bench import naive
from lab.figures import Move
from lab.measure import Request
from rollout.declared import Declared, default_app
from tests.unit.rollout.declarations import NOTHING, declared

TWO_REPLICAS = replace(
    NOTHING,
    apps={
        **NOTHING.apps,
        "api": replace(default_app("api"), services=("api-1", "api-2"), env_file="/opt/api/app.env"),
    },
)


def move(key: str, value: str) -> Move:
    return Move(key=key, value=value, direction="forward")


def only_command(key: str, value: str, after: Declared) -> naive.Command:
    (found,) = naive.commands(move(key, value), after)
    return found


def test_a_server_is_recreated_with_its_file_written_before() -> None:
    found = only_command("POSTGRES_TLS_ENABLED", "on", declared(pg="on"))
    assert found.host == "database"
    write, recreate = found.script.split(" && ", 1)
    assert write == "cat >/etc/voiceai/postgres/conf.d/tls.conf"
    assert recreate.endswith("up --detach --force-recreate --no-deps voiceai-postgres")
    assert "ssl = on" in found.stdin


def test_all_replicas_of_an_app_are_recreated_at_once_on_all_of_its_hosts() -> None:
    found = naive.commands(move("apps.api.DATABASE_SSL_MODE", "verify-full"), TWO_REPLICAS)
    assert [command.host for command in found] == ["api1", "api2"]
    for command in found:
        assert "s/^DATABASE_SSL_MODE=.*/DATABASE_SSL_MODE=verify-full/' /opt/api/app.env" in command.script
        assert command.script.endswith("--force-recreate --no-deps api-1 api-2")
        assert command.recreated == 2


def test_force_changes_the_connection_types_and_restarts_postgres() -> None:
    on = only_command("POSTGRES_FORCE_SSL", "on", declared(force="on"))
    off = only_command("POSTGRES_FORCE_SSL", "off", declared())
    assert "s/^host[[:space:]]/hostssl /" in on.script
    assert "s/^hostssl[[:space:]]/host /" in off.script
    assert all(found.script.endswith("--no-deps voiceai-postgres") for found in (on, off))


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({}, {"server_tls_sslmode = disable", "client_tls_sslmode = disable"}),
        (
            {"leg2": "verify-ca"},
            {"server_tls_sslmode = verify-ca", "server_tls_ca_file = /etc/ssl/internal/ca.crt"},
        ),
        ({"leg1": "allow"}, {"client_tls_sslmode = allow", "client_tls_key_file = /etc/ssl/internal/server.key"}),
    ],
)
def test_pgbouncer_reads_both_of_its_legs(settings: dict[str, str], lines: set[str]) -> None:
    assert lines <= set(naive.pgbouncer_file(declared(**settings).settings).splitlines())


def test_redis_closes_its_plaintext_port_only_at_the_end() -> None:
    listening = naive.redis_file(declared(redis="true").settings)
    closed = naive.redis_file(declared(redis="true", force_redis="true").settings)
    assert "tls-port 6380" in listening
    assert "port 0" not in listening.splitlines()
    assert "port 0" in closed.splitlines()
    assert "tls-port" not in naive.redis_file(declared().settings)


KINDS = ("http-api", "call")


def request(kind: str, start: float, ms: float = 10.0, *, ok: bool = True) -> Request:
    return Request(kind=kind, start=start, ms=ms, ok=ok)


def flows(*requests: Request, now: float) -> bool:
    return naive.flows_again(requests, KINDS, since=100.0, now=now)


def test_the_outage_is_over_once_every_kind_was_answered_and_none_fails() -> None:
    answered = [request("http-api", 101), request("call", 102)]
    assert flows(*answered, now=106)
    assert not flows(answered[0], now=106)
    assert not flows(*answered, request("http-api", 105, ok=False), now=106)
    assert flows(*answered, request("http-api", 101, ok=False), now=106)


def test_what_was_answered_before_the_container_was_recreated_does_not_count() -> None:
    assert not flows(request("http-api", 101), request("call", 99, ms=2000), now=106)


def test_an_outage_that_begins_late_is_waited_for() -> None:
    assert not flows(request("http-api", 100.1), request("call", 100.1), now=101)
