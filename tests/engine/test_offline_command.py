"""The command provider against a real OpenSSH server: what runs when, what is kept, what is told, what is refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.engine.offline_support import (
    ENGINE_ENDS_SECONDS,
    CommandStack,
    SshHost,
    closed_port,
    found_in,
    ssh_host,
)
from tests.waiting import wait_until

PROVIDER = "pulumi-resource-command"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with ssh_host(tmp_path_factory.mktemp("sshd")) as started:
        yield started


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandStack]:
    """One stack for all tests: each declares its own resources, which removes those of the test before."""
    stack = CommandStack(folder=tmp_path_factory.mktemp("command"))
    yield stack
    stack.declare({})
    stack.ok("destroy", "--yes", "--skip-preview")
    assert stack.processes() == {}


@pytest.fixture
def journal(host: SshHost) -> str:
    """A file on the host that a test's commands append to."""
    return f"/tmp/journal-{uuid.uuid4().hex[:8]}"


def test_life_of_a_remote_command(stack: CommandStack, host: SshHost, journal: str) -> None:
    """Create with stdin; nothing while nothing changes; update on any changed input; a trigger replaces; delete."""

    def declared(stdin: str, *triggers: int, delete: str = "first") -> dict[str, tuple[str, dict[str, object]]]:
        command = host.command(
            f"echo create $(cat) | tee -a {journal}; echo",
            update=f'echo update $(cat) after "$PULUMI_COMMAND_STDOUT" | tee -a {journal}',
            delete=f"echo delete {delete} >>{journal}",
            stdin=stdin,
            triggers=list(triggers),
        )
        return {"life": command}

    stack.applied(declared("one", 1))
    # One trailing newline is cut off, not two.
    assert stack.exported() == {"life": "create one\n"}

    assert "2 unchanged" in stack.up().stdout
    assert host.run(f"cat {journal}") == "create one\n"

    stack.declare(declared("two", 1))
    step = stack.planned()["life"]
    assert step["op"] == "update"
    assert list(step["detailedDiff"]) == ["stdin"]
    assert host.run(f"cat {journal}") == "create one\n"

    stack.up()
    assert stack.exported() == {"life": "update two after create one\n"}

    assert "1 replaced" in stack.applied(declared("two", 2, delete="second")).stdout
    # The replacement is created first; then the *old* resource's delete runs.
    assert host.run(f"tail -2 {journal}") == "create two\ndelete first\n"

    stack.applied({})
    assert host.run(f"tail -1 {journal}") == "delete second\n"


def test_failed_update_keeps_the_old_state_and_is_run_again(stack: CommandStack, host: SshHost, journal: str) -> None:
    """The message has the command and all its output, even where nothing is logged; success is recorded."""
    command = f'read -r mood; echo $mood >>{journal}; echo out; echo err >&2; [ "$mood" != bad ]'

    def declared(stdin: str) -> dict[str, tuple[str, dict[str, object]]]:
        return {"moody": host.command(command, stdin=f"{stdin}\n", logging="none")}

    stack.applied(declared("good"))
    stack.declare(declared("bad"))
    failed = stack.refused("up", "--yes", "--skip-preview")
    assert "Process exited with status 1: running " in failed.output
    assert command.split(";")[0] in failed.output
    assert re.search(r"(?m)^ *out$", failed.output)
    assert re.search(r"(?m)^ *err$", failed.output)
    assert stack.checkpoint()["moody"]["inputs"]["stdin"] == "good\n"
    stack.refused("up", "--yes", "--skip-preview")
    stack.applied(declared("better"))
    assert stack.checkpoint()["moody"]["inputs"]["stdin"] == "better\n"
    assert host.run(f"cat {journal}").split() == ["good", "bad", "bad", "better"]


def test_output_is_told_while_it_runs_as_logging_says(stack: CommandStack, host: SshHost) -> None:
    """Lines reach the user's screen; what is not logged is captured all the same; no secret is needed to hide it."""
    levels = ("stdout", "stderr", "stdoutAndStderr", "none")
    shout = {name: host.command(f"echo {name}-1; echo {name}-2 >&2", logging=name) for name in levels}
    told = stack.applied({**shout, "default": host.command("echo default-1; echo default-2 >&2")}).output
    for name, lines in {
        "stdout": {"stdout-1"},
        "stderr": {"stderr-2"},
        "stdoutAndStderr": {"stdoutAndStderr-1", "stdoutAndStderr-2"},
        "none": set(),
        "default": {"default-1", "default-2"},
    }.items():
        expected = {f"{name}-1", f"{name}-2"}
        # The exported stdout is printed as well, in quotes.
        assert {line for line in expected if f" {line}\n" in told} == lines
        assert stack.checkpoint()[name]["outputs"]["stdout"] == f"{name}-1"


def test_stdout_is_known_at_preview_only_while_no_input_changes(stack: CommandStack, host: SshHost) -> None:
    """What depends on a receipt waits for the command exactly when the command will run."""

    def declared(stdin: str) -> dict[str, tuple[str, dict[str, object]]]:
        listening: dict[str, object] = {"create": "cat", "stdin": {"stdout of": "teller"}}
        return {"teller": host.command("echo told", stdin=stdin), "listener": ("local", listening)}

    stack.applied(declared("a"))
    stack.declare(declared("b"))
    assert stack.planned()["listener"]["op"] == "update"
    stack.up()
    # The command printed the same again, so there was nothing for the listener to do.
    assert stack.checkpoint()["listener"]["modified"] < stack.checkpoint()["teller"]["modified"]


@pytest.fixture(scope="module")
def refused(stack: CommandStack, host: SshHost) -> str:
    """What one `up` said in which nothing could be created; each test looks at its own resource."""

    def at(**changes: object) -> tuple[str, dict[str, object]]:
        return "remote", {"connection": host.connection(**changes), "create": "echo ran >>/tmp/refused"}

    def public_key(algorithm: str) -> str:
        return asyncssh.generate_private_key(algorithm).export_public_key().decode().strip()

    stack.declare(
        {
            "other-key": at(host_key=public_key("ssh-ed25519")),
            "other-type": at(host_key=public_key("ecdsa-sha2-nistp256")),
            "unreachable": at(port=closed_port(), dial_error_limit=2),
            "other-user": at(user="nobody"),
            "failing": host.command("exit 3"),
        }
    )
    said = stack.refused("up", "--yes", "--skip-preview", "--continue-on-error").output
    made = {name for name, resource in stack.checkpoint().items() if resource["type"] == "command:remote:Command"}
    assert made == set()
    assert host.run("cat /tmp/refused 2>/dev/null || true") == ""
    return said


def about(resource: str, output: str) -> str:
    """The summary's lines on one resource."""
    return output.split(f"command:remote:Command ({resource}):")[1].split("\n\n")[0]


@pytest.mark.parametrize("resource", ["other-key", "other-type"])
def test_wrong_host_key_is_refused_before_anything_runs(refused: str, resource: str) -> None:
    """Also where the server has no key of the pinned type. The right key is accepted by every other test."""
    assert "host key mismatch" in about(resource, refused)


@pytest.mark.standin(PROVIDER)
def test_wrong_host_key_names_both_keys_and_the_config_key(refused: str, host: SshHost) -> None:
    presented = asyncssh.import_public_key(host.host_key).get_fingerprint()
    told = about("other-type", refused)
    assert f"127.0.0.1:{host.port} presented ssh-ed25519 {presented}" in told
    assert "but connection.hostKey is ecdsa-sha2-nistp256 SHA256:" in told


def test_unreachable_host_is_dialled_as_often_as_the_limit_says(refused: str) -> None:
    """`dialErrorLimit` dials are retried; the one after them is an error that says how many failed."""
    assert "Dial 2/2 failed: retrying" in refused
    assert "after 2 failed attempts" in about("unreachable", refused)
    assert "connection refused" in about("unreachable", refused)


def test_user_that_may_not_log_in_is_an_error(refused: str) -> None:
    assert "unable to authenticate" in about("other-user", refused)


def test_failed_create_is_an_error_and_leaves_no_resource(refused: str) -> None:
    assert "Process exited with status 3: running " in about("failing", refused)


def test_copy_to_remote_follows_what_the_destination_is(
    stack: CommandStack, host: SshHost, journal: str, tmp_path: Path
) -> None:
    """A file, a text and a directory; changed content is copied again; removal removes nothing."""
    source = tmp_path / "bundle"
    (source / "lib").mkdir(parents=True)
    (source / "run.sh").write_text("one")
    (source / "lib" / "part.sh").write_text("part")
    host.run(f"mkdir {journal}")

    def declared() -> dict[str, tuple[str, dict[str, object]]]:
        def copied(kind: str, what: str, to: str) -> tuple[str, dict[str, object]]:
            return "copy", {"connection": host.connection(), "source": {kind: what}, "remote_path": f"{journal}/{to}"}

        return {
            "into-directory": copied("file", str(source / "run.sh"), ""),
            "as-file": copied("file", str(source / "run.sh"), "renamed"),
            "text": copied("text", "some text", "text"),
            "directory": copied("folder", str(source), "made"),
        }

    stack.applied(declared())
    listing = host.run(f"cd {journal} && find . -type f | sort | xargs grep -H .").splitlines()
    assert listing == [
        "./made/bundle/lib/part.sh:part",
        "./made/bundle/run.sh:one",
        "./renamed:one",
        "./run.sh:one",
        "./text:some text",
    ]
    (source / "run.sh").write_text("two")
    stack.applied(declared())
    assert host.run(f"cd {journal} && cat run.sh renamed made/bundle/run.sh text") == "twotwotwosome text"
    stack.applied({})
    assert host.run(f"cat {journal}/renamed") == "two"


def test_local_command(stack: CommandStack, tmp_path: Path) -> None:
    """The same life on this machine, with an environment, a directory and an interpreter of its own."""

    def declared(mood: str) -> dict[str, tuple[str, dict[str, object]]]:
        return {
            "here": (
                "local",
                {
                    "create": "cat; echo $MOOD; pwd",
                    "update": 'echo "$MOOD after $PULUMI_COMMAND_STDOUT"',
                    "delete": "echo gone >gone",
                    "stdin": "in ",
                    "environment": {"MOOD": mood},
                    "dir": str(tmp_path),
                },
            ),
            "python": ("local", {"create": "print(6 * 7)", "interpreter": ["python3", "-c"]}),
        }

    stack.applied(declared("calm"))
    assert stack.exported() == {"here": f"in calm\n{tmp_path}", "python": "42"}
    stack.applied(declared("wild"))
    assert stack.exported()["here"] == f"wild after in calm\n{tmp_path}"
    stack.declare({"failing": ("local", {"create": "echo so far; exit 4"})})
    failed = stack.refused("up", "--yes", "--skip-preview")
    assert "exit status 4: running " in failed.output
    assert "so far" in failed.output
    stack.applied({})
    assert (tmp_path / "gone").read_text() == "gone\n"


def test_secret_inputs_are_encrypted_and_not_logged(stack: CommandStack, host: SshHost) -> None:
    """Neither a secret stdin nor the private key is in the state; of `-v=9`, only the engine's own lines have them."""
    word = f"word-{uuid.uuid4().hex}"
    key_line = host.private_key.splitlines()[2]
    secret = {"keeper": host.command("sha256sum", stdin={"secret": word})}
    stack.declare(secret)
    loud = stack.ok("up", "--yes", "--skip-preview", "-v=9", "--logtostderr", "--logflow")
    state = stack.state_files()
    assert state
    assert found_in(state, word) == []
    assert found_in(state, key_line) == []
    # The engine's own log has each value that it sends or receives, secret or not: a scan must find that …
    lines = [line for line in loud.output.splitlines() if word in line or key_line in line]
    assert lines
    # … and nothing but this.
    assert [line for line in lines if not line.startswith('{"time":')] == []
    # The scan of the state finds what is there in plain text.
    assert found_in(state, "keeper") != []


@pytest.mark.standin(PROVIDER)
def test_interrupt_ends_a_remote_command(stack: CommandStack, host: SshHost, journal: str) -> None:
    """The command gets SIGTERM, so that it can put things back; the original waits for its end instead."""
    stack.declare(
        {"slow": host.command(f"trap 'echo ended >>{journal}; exit 1' TERM; echo up >{journal}; sleep 600 & wait")}
    )
    with stack.started("up", "--yes", "--skip-preview") as up:
        wait_until("the command runs", lambda: host.run(f"cat {journal} 2>/dev/null || true") == "up\n")
        up.send_signal(signal.SIGINT)
        up.wait(timeout=ENGINE_ENDS_SECONDS)
    wait_until("the command has ended", lambda: host.run(f"cat {journal}") == "up\nended\n")
    wait_until("all processes have ended", lambda: not stack.processes())
    assert not stack.checkpoint().get("slow")


@pytest.mark.standin(PROVIDER)
def test_what_is_not_implemented_is_named_at_preview(stack: CommandStack, host: SshHost) -> None:
    """And no value of the connection is printed."""
    connection = host.connection(proxy={"host": "bastion"})
    stack.declare({"proxied": ("remote", {"connection": connection, "create": "true"})})
    told = stack.refused("preview").output
    assert "connection.proxy is not implemented by the stand-in" in told
    assert host.private_key.splitlines()[2] not in told


def test_a_key_held_by_an_agent_opens_the_connection_and_an_agent_without_it_does_not(
    stack: CommandStack, host: SshHost, tmp_path: Path
) -> None:
    """So that the key is an input of no resource: the engine prints those at -v=9."""
    connection = {key: value for key, value in host.connection().items() if key != "private_key"}
    remote: dict[str, object] = {"connection": connection, "create": "echo by agent"}
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as agent:
        try:
            wait_until("the agent listens", socket.exists)
            stack.environment["SSH_AUTH_SOCK"] = str(socket)
            stack.declare({"agent": ("remote", remote)})
            assert "unable to authenticate" in stack.refused("up", "--yes", "--skip-preview").output
            subprocess.run(
                ["ssh-add", "-q", "-"],
                input=host.private_key.encode(),
                env={**os.environ, "SSH_AUTH_SOCK": str(socket)},
                check=True,
                timeout=20,
            )
            stack.applied({"agent": ("remote", remote)})
            assert stack.exported() == {"agent": "by agent"}
        finally:
            del stack.environment["SSH_AUTH_SOCK"]
            agent.terminate()
