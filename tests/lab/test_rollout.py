"""The program on real servers. The tests are one story, in the order of the file: each leaves what the next needs.

What counts is asked of the servers and the hosts, not of the program.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from lab.figures import Move, failures
from lab.layout import HOSTS
from lab.traffic import Traffic
from lab.walk import Walker, follow_after, follow_before
from rollout import path
from tests.waiting import wait_until

SEED_POSTGRES = "SELECT ssl, version FROM pg_stat_ssl WHERE pid=pg_backend_pid();"


def take(walker: Walker, key: str, value: str) -> None:
    walker.set(key, value)
    walker.up()


def outputs(walker: Walker) -> dict[str, Any]:
    return dict(json.loads(walker.pulumi("stack", "output", "--json")))


def seed_verification(walker: Walker) -> str:
    """The seed's first verification command, as written there (`-T` because no terminal is at hand)."""
    command = f'cd /opt/voiceai && docker compose exec -T voiceai-postgres psql -U voiceai -c "{SEED_POSTGRES}"'
    return walker.lab.run("database", "sh", "-c", command)


def touched(walker: Walker) -> list[str]:
    """Changes whenever update.sh runs on a host."""
    files = ("/var/lib/voiceai/settings", "/var/lib/voiceai/journal")
    return [walker.lab.run(host, "stat", "-c", "%n %i %y %z", *files) for host in ("database", "api1")]


def started(walker: Walker) -> list[str]:
    """When each server's container was started: changes with a restart."""
    names = [walker.lab.layout.server(f"voiceai-{server}") for server in ("postgres", "pgbouncer", "redis")]
    return walker.lab.run("database", "docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", *names).splitlines()


def test_a_step_before_its_turn_is_refused_and_no_host_is_reached(walker: Walker) -> None:
    before = touched(walker)
    walker.set("PGBOUNCER_SERVER_TLS_SSLMODE", "verify-ca")
    for command in (["preview"], ["up", "--yes", "--skip-preview"]):
        assert "POSTGRES_TLS_ENABLED is off" in walker.pulumi(*command, fails=True)
    walker.set("PGBOUNCER_SERVER_TLS_SSLMODE", "disable")
    assert touched(walker) == before


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("POSTGRES_TLS_ENABLED", "maybe", "POSTGRES_TLS_ENABLED: 'maybe' is not one of off, on"),
        ("POSTGRES_TLS", "on", "POSTGRES_TLS: there is no such variable; did you mean POSTGRES_TLS_ENABLED?"),
        ("databaseDns", "", "databaseDns: it is missing"),
    ],
)
def test_bad_config_is_one_clear_error_and_touches_nothing(walker: Walker, key: str, value: str, says: str) -> None:
    before, config = touched(walker), walker.lab.layout.stack_config.read_text()
    walker.set(key, value)
    try:
        for command in (["preview"], ["up", "--yes", "--skip-preview"]):
            output = walker.pulumi(*command, fails=True)
            assert says in output
            assert "Traceback" not in output
    finally:
        walker.lab.layout.stack_config.write_text(config)
    assert touched(walker) == before


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        # A host key that is well-formed and not the host's.
        ("hostKey", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKp4cbBxcSvmx8Q0SNKDG9ZS3JzSJyV4sJZ7S7cQh1mN", "host key"),
        ("port", 1, "127.0.0.1"),
    ],
)
def test_a_host_that_is_not_the_declared_one_is_not_reached(
    walker: Walker, field: str, value: object, says: str
) -> None:
    before, text = touched(walker), walker.lab.layout.stack_config.read_text()
    config = yaml.safe_load(text)
    config["config"]["internal-tls:hosts"]["worker"][field] = value
    walker.lab.layout.stack_config.write_text(yaml.safe_dump(config))
    try:
        output = walker.pulumi("up", "--yes", "--skip-preview", fails=True)
    finally:
        walker.lab.layout.stack_config.write_text(text)
    assert says in output
    assert "hosts.worker" in output
    assert "Traceback" not in output
    assert walker.up() == 0
    assert touched(walker) == before


def taken_under_load(walker: Walker, name: str, moves: list[Move]) -> None:
    """The moves one after another; no request fails and no server is restarted."""
    servers = started(walker)
    with Traffic(walker.lab, name, seconds=1500) as traffic:
        traffic.wait_until_flowing()
        for move in moves:
            follow_before(move, traffic)
            take(walker, move.key, move.value)
            follow_after(move, traffic)
    assert failures([], traffic.requests()) == []
    assert started(walker) == servers


def test_every_step_forward_under_load_fails_no_request_and_restarts_nothing(walker: Walker) -> None:
    taken_under_load(walker, "forward", walker.forward())


def test_the_seeds_verification_says_that_postgres_speaks_tls(walker: Walker) -> None:
    assert re.search(r"^ t +\| TLSv1\.3", seed_verification(walker), re.MULTILINE)


def test_the_outputs_say_where_the_rollout_stands_and_nothing_secret(walker: Walker) -> None:
    shown = outputs(walker)
    assert (shown["postgres"]["step"], shown["redis"]["step"]) == ("7", "4")
    assert shown["postgres"]["back"] == "POSTGRES_FORCE_SSL=off"
    assert shown["redis"]["back"] == "REDIS_FORCE_TLS=false"
    assert set(shown["receipts"]) == set(HOSTS)
    served = walker.lab.run(
        "database", "openssl", "x509", "-in", "/etc/ssl/internal/server.crt", "-noout", "-fingerprint", "-sha256"
    )
    assert shown["certificate"]["sha256"] == served.split("=")[1].replace(":", "").strip().lower()
    assert "db.lab.internal" in shown["certificate"]["names"]
    assert "PRIVATE KEY" not in json.dumps(shown)


def test_a_second_up_changes_nothing_and_reaches_no_host(walker: Walker) -> None:
    before = touched(walker)
    assert walker.up() == 0
    assert touched(walker) == before


def test_the_preview_of_a_step_shows_the_ledger_and_the_one_host_it_touches(walker: Walker) -> None:
    walker.set("REDIS_FORCE_TLS", "false")
    preview = walker.pulumi("preview")
    walker.set("REDIS_FORCE_TLS", "true")
    assert "redis 4/4 back: REDIS_FORCE_TLS true → false" in preview
    changed = {line.split()[2] for line in preview.splitlines() if line.startswith((" ~", " +", " -"))}
    assert changed == {"ledger", "hosts.database"}


def test_a_reissue_says_why_keeps_the_ca_and_is_served_without_a_restart(walker: Walker) -> None:
    servers, before = started(walker), outputs(walker)["certificate"]["sha256"]
    ca = walker.lab.run("web", "cat", "/etc/ssl/internal/ca.crt")
    walker.pulumi("config", "set", "--path", "certificate.names[0]", "db2.lab.internal")
    assert "SAN added: db2.lab.internal" in walker.pulumi("preview")
    walker.up()
    assert outputs(walker)["certificate"]["sha256"] != before
    assert walker.lab.run("web", "cat", "/etc/ssl/internal/ca.crt") == ca
    assert "db2.lab.internal" in served_certificate(walker)
    assert started(walker) == servers


def served_certificate(walker: Walker) -> str:
    """What Postgres itself shows in a handshake, as text."""
    handshake = (
        "openssl s_client -starttls postgres -connect voiceai-postgres:5432 </dev/null 2>/dev/null "
        "| openssl x509 -noout -ext subjectAltName"
    )
    return walker.lab.run("database", "sh", "-c", handshake)


def test_a_rebooted_host_comes_up_as_it_was(walker: Walker) -> None:
    walker.lab.reboot("database")
    assert "holds" in verify_only(walker)
    assert re.search(r"^ t +\| TLSv1\.3", seed_verification(walker), re.MULTILINE)
    walker.lab.reboot("web")
    assert walker.up() == 0


def verify_only(walker: Walker) -> str:
    return walker.lab.run("database", "sh", "-c", "/opt/voiceai/update.sh --verify-only 2>&1")


def test_an_up_that_was_killed_in_the_middle_of_a_host_is_finished_by_the_next(walker: Walker) -> None:
    walker.set("REDIS_FORCE_TLS", "false")
    running = walker.begin("up", "--yes", "--skip-preview")
    wait_until("the host's change is under way", lambda: is_under_way(walker, "database"), seconds=60)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    walker.pulumi("cancel", "--yes")
    walker.set("POSTGRES_FORCE_SSL", "off")
    assert "is not confirmed by database" in walker.pulumi("preview", fails=True)
    walker.set("POSTGRES_FORCE_SSL", "on")
    walker.up()
    assert walker.up() == 0
    assert outputs(walker)["redis"]["step"] == "3"
    assert "holds" in verify_only(walker)


def cut_ssh(walker: Walker, host: str, _running: subprocess.Popen[str]) -> None:
    """The connection is lost; the host goes on."""
    walker.lab.run(host, "pkill", "-KILL", "-f", "^sshd(-session)?: .*notty")


def press_ctrl_c(_walker: Walker, _host: str, running: subprocess.Popen[str]) -> None:
    """A terminal sends it to the whole group; the engine sees it first."""
    os.killpg(running.pid, signal.SIGINT)


def reboot(walker: Walker, host: str, _running: subprocess.Popen[str]) -> None:
    walker.lab.reboot(host)


@pytest.mark.parametrize(
    ("fault", "key", "back"),
    [
        (press_ctrl_c, "POSTGRES_FORCE_SSL", "off"),
        (cut_ssh, "PGBOUNCER_CLIENT_TLS_SSLMODE", "allow"),
        (reboot, "apps.worker.REDIS_TLS_ENABLED", "false"),
    ],
)
def test_a_fault_in_the_middle_of_a_host_ends_in_what_is_asked_or_back(
    walker: Walker, fault: Callable[[Walker, str, subprocess.Popen[str]], None], key: str, back: str
) -> None:
    host, stood = "worker" if key.startswith("apps.") else "database", walker.declared().settings[key]
    walker.set(key, back)
    running = walker.begin("up", "--yes", "--skip-preview")
    wait_until("the host's change is under way", lambda: is_under_way(walker, host), seconds=60)
    fault(walker, host, running)
    said, _ = running.communicate(timeout=120)
    assert "Traceback" not in said
    # The host may still be at it: it does not stop half-way because nobody listens.
    wait_until("the host is done", lambda: not is_at_work(walker, host), seconds=60)
    walker.pulumi("cancel", "--yes")
    walker.up()
    assert walker.up() == 0
    assert f"{key}={back}" in verify_record(walker, host)
    take(walker, key, stood)
    assert f"{key}={stood}" in verify_record(walker, host)


def is_under_way(walker: Walker, host: str) -> bool:
    """Whether a change has begun: servers may notice."""
    return "yes" in walker.lab.run(host, "sh", "-c", "test -e /var/lib/voiceai/intent && echo yes || true")


def is_at_work(walker: Walker, host: str) -> bool:
    return "yes" in walker.lab.run(host, "sh", "-c", "flock -n /var/lib/voiceai/lock true || echo yes")


def verify_record(walker: Walker, host: str) -> str:
    """What was verified last, after it has been verified anew."""
    return walker.lab.run(
        host, "sh", "-c", "/opt/voiceai/update.sh --verify-only >&2 && cat /var/lib/voiceai/settings.verified"
    )


def test_destroy_is_refused_with_the_way_out_and_touches_no_host(walker: Walker) -> None:
    before, servers = touched(walker), started(walker)
    output = walker.pulumi("destroy", "--yes", "--skip-preview", fails=True)
    assert "destroy refused: CERTIFICATE_GENERATION is 1" in output
    assert walker.up() == 0
    assert (touched(walker), started(walker)) == (before, servers)


def test_every_step_back_under_load_fails_no_request_and_restarts_nothing(walker: Walker) -> None:
    # The story has gone one step back by now: the load's own clients of Redis are free to follow.
    ways = path.behind(walker.declared())
    taken_under_load(walker, "back", [Move(key=key, value=value, direction="back") for key, value in ways])


def test_once_every_step_is_taken_back_destroy_leaves_the_servers_running(walker: Walker) -> None:
    before, servers = touched(walker), started(walker)
    walker.pulumi("destroy", "--yes", "--skip-preview")
    assert (touched(walker), started(walker)) == (before, servers)
    # and a stack made anew finds its hosts as they are
    walker.up()
    assert started(walker) == servers
    assert outputs(walker)["postgres"]["step"] == "0"
