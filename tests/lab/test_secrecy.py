"""Private keys are looked for wherever a rollout leaves traces: found nowhere, and a planted one is found."""

import subprocess
from pathlib import Path
from threading import Event, Thread

import pytest

from lab.walk import Walker
from tests.engine.leaks import hits, needles


@pytest.fixture(scope="module")
def traces(walker: Walker) -> dict[str, bytes]:
    """A reissue and the steps, previewed and applied at the engine's most talkative, and all that they left behind."""
    found: dict[str, bytes] = {}
    walker.up()
    with WatchedProcesses() as processes:
        for number, (key, value) in enumerate(
            [
                ("PREPARED", "on"),
                ("CERTIFICATE_GENERATION", "1"),
                ("POSTGRES_TLS_ENABLED", "on"),
                ("PGBOUNCER_SERVER_TLS_SSLMODE", "verify-ca"),
            ]
        ):
            walker.set(key, value)
            for command in (["preview", "--diff"], ["up", "--yes", "--skip-preview"]):
                output = walker.pulumi(*command, "-v=9", "--logtostderr", "--logflow")
                found[f"{command[0]} {number} -v=9"] = output.encode()
    found["ps while running"] = "\n".join(sorted(processes)).encode()
    lab = walker.lab
    names = subprocess.run(["docker", "ps", "-aq"], capture_output=True, text=True, check=True).stdout.split()
    found["docker inspect"] = subprocess.run(["docker", "inspect", *names], capture_output=True, check=True).stdout
    for server in ("postgres", "pgbouncer", "redis"):
        logs = subprocess.run(
            ["docker", "logs", lab.layout.server(f"voiceai-{server}")], capture_output=True, check=True
        )
        found[f"log of {server}"] = logs.stdout + logs.stderr
    for path in sorted(lab.layout.state.rglob("*")):
        if path.is_file():
            found[f"state {path.name}"] = path.read_bytes()
    found["state export"] = walker.pulumi("stack", "export").encode()
    found["what hosts keep"] = b"".join(
        lab.run(host, "sh", "-c", "find -L /var/lib/voiceai /opt/voiceai -type f -exec cat {} +").encode()
        for host in ("database", "web")
    )
    return found


@pytest.fixture(scope="module")
def server_key(walker: Walker, traces: dict[str, bytes]) -> str:
    return walker.lab.run("database", "cat", "/etc/ssl/internal/server.key")


class WatchedProcesses:
    """Every command line on the machine, sampled until the block ends; the hosts are containers, so theirs too."""

    def __enter__(self) -> set[str]:
        self._seen: set[str] = set()
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self._seen

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        self._seen.add((process / name).read_bytes().decode("latin-1"))
                    except OSError:
                        continue


def test_the_servers_key_is_found_nowhere(traces: dict[str, bytes], server_key: str) -> None:
    assert hits(traces, server_key) == []


def test_the_ssh_key_is_found_nowhere(walker: Walker, traces: dict[str, bytes]) -> None:
    body = b"".join(walker.lab.layout.ssh_key.read_bytes().splitlines()[1:-1])
    lines = [line for line in walker.lab.layout.ssh_key.read_bytes().splitlines()[1:-1] if len(line) > 30]
    # The first lines of an OpenSSH key hold its public half.
    private = [*lines[2:], body[-120:]]
    assert private
    assert [where for where, text in traces.items() for needle in private if needle in text] == []


def test_the_traces_are_what_they_say(traces: dict[str, bytes]) -> None:
    """A scan of nothing finds nothing: each trace holds what only it can hold."""
    assert b"RegisterResource" in traces["up 0 -v=9"]
    assert b"update.sh" in traces["ps while running"]
    assert b"voiceai-postgres" in traces["docker inspect"]
    assert b"certificate_sha256" in traces["state export"]


@pytest.mark.parametrize("where", ["up 0 -v=9", "ps while running", "docker inspect", "state export"])
def test_a_planted_key_is_found_in_every_form(where: str, traces: dict[str, bytes], server_key: str) -> None:
    for form, needle in needles(server_key).items():
        assert hits({where: traces[where] + needle}, server_key) != [], form
    assert hits({where: traces[where] + server_key.encode()}, server_key) != []


def test_an_app_host_holds_the_ca_alone(walker: Walker, traces: dict[str, bytes]) -> None:
    # By where links lead: the CA has a second name, its hash.
    files = ("find", "-L", "/etc/ssl/internal", "-type", "f", "-exec", "readlink", "-f", "{}", ";")
    assert {Path(line).name for line in walker.lab.run("web", *files).split()} == {"ca.crt", "wrong-ca.crt"}
