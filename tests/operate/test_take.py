"""A step beside the engine: what hosts' answers become, how they are reached, the file, and `protected`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from operate import asking, remote
from operate.asking import Said
from operate.cli import main
from operate.config_file import ConfigFile, Taken, undisturbed
from operate.errors import BadInput
from operate.remote import Answer, Remote
from operate.screen import Screen
from operate.stack_file import read_stack_file
from operate.standing import Standing
from operate.step import Hosts, Operator
from operate.stopped import EXIT_REFUSED, Stopped
from rollout.config import Ssh
from rollout.inventory import Host
from tests.operate.conftest import Repository
from tests.operate.pull_requests import EXAMPLE, ISSUED, declared, edited, stacks, version, walked

HOST = Host(name="web", address="10.0.0.2", port=2222, user="deploy", host_key="ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("code", "out", "err", "verdict", "todo"),
    [
        (0, ("ok      a login",), ("would be taken: X",), "passes", ""),
        (3, (), ("voice is in plaintext",), "REFUSED", ""),
        (5, (), ("another update of this host holds it",), "is busy", "wait for its update to end"),
        (255, (), ("Host key verification failed.",), "can't be asked", "--ssh-config"),
        (2, (), ("what should be done? see update.sh --help",), "can't be asked", "`pulumi up` with nothing changed"),
        (127, (), ("timeout: failed to run command",), "can't be asked", "ships this one"),
        (124, (), (), "can't be asked", "--status"),
    ],
)
def test_a_hosts_answer_beforehand(
    code: int, out: tuple[str, ...], err: tuple[str, ...], verdict: str, todo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = answered(Answer(host="web", code=code, out=out, err=err), monkeypatch)
    assert (said.verdict, said.good) == (verdict, code == 0)
    assert todo in said.todo
    assert set(out + err) <= set(said.lines) or code == 124


def answered(answer: Answer, monkeypatch: pytest.MonkeyPatch, revision: str = "") -> Said:
    monkeypatch.setattr(Remote, "ask", lambda *_, **__: [answer])
    configuration = look_at(EXAMPLE).configuration
    asker = Remote(ssh=configuration.ssh)
    if revision:
        return asking.verify(asker, configuration, {"web": (revision,)})[0]
    return asking.preflight(asker, configuration, {"web": ""})[0]


@pytest.mark.parametrize(
    ("code", "out", "verdict"),
    [
        (0, ("ok      it does", "7"), "holds revision 7"),
        (0, ("ok      it does", "6"), "holds something else"),
        (4, (), "does NOT hold"),
        (5, (), "is busy"),
        (255, (), "can't be asked"),
        (137, (), "can't be asked"),
        (127, (), "can't be asked"),
    ],
)
def test_a_hosts_answer_afterwards(
    code: int, out: tuple[str, ...], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = answered(Answer(host="web", code=code, out=out, err=("words",)), monkeypatch, revision="7")
    assert (said.verdict, said.good) == (verdict, verdict == "holds revision 7")


def test_a_host_is_reached_by_its_pinned_key_alone() -> None:
    ssh = Ssh(private_key_file="~/.ssh/rollout", private_key="", timeout_seconds=300)
    command = Remote(ssh=ssh).command(HOST, "/tmp/known")
    assert command[:3] == ["ssh", "-F", "/dev/null"]
    assert command[-5:] == ["-p", "2222", "-l", "deploy", "10.0.0.2"]
    for option in ("StrictHostKeyChecking=yes", "UserKnownHostsFile=/tmp/known", "HostKeyAlias=web", "BatchMode=yes"):
        assert option in command
    assert command[command.index("-i") + 1] == str(Path("~/.ssh/rollout").expanduser())
    assert Remote(ssh=ssh, config="mine").command(HOST, "known")[2] == "mine"


def test_control_characters_of_a_host_reach_no_terminal() -> None:
    assert remote._lines(b"fine\n\x1b[31mred\xff\n\n") == ("fine", " [31mred�")


def test_the_file_is_replaced_whole_with_its_mode_and_never_over_another_edit(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.staging.yaml"
    path.write_bytes(b"a: 1\r\n")
    path.chmod(0o640)
    file = ConfigFile.find(tmp_path, "acme/internal-tls/staging", {})
    file.replace("a: 1\r\n", "a: 2\r\n")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"a: 2\r\n", 0o640)
    with pytest.raises(BadInput, match="somebody else changed it"):
        file.replace("a: 1\r\n", "a: 3\r\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]
    elsewhere = ConfigFile.find(tmp_path, "x", {"PULUMI_OPTION_CONFIG_FILE": str(path)})
    assert elsewhere.path == path
    with pytest.raises(BadInput, match="there is no such file"):
        ConfigFile.find(tmp_path, "x", {})


def test_one_operator_at_a_time_works_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").touch()
    file = ConfigFile.find(tmp_path, "dev", {})
    with file.held(), pytest.raises(Taken, match=r"another `operate` works on Pulumi\.dev\.yaml"), file.held():
        pass
    with file.held():
        pass


def test_a_signal_waits_until_the_file_is_whole() -> None:
    done = []

    def write() -> None:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]
    with undisturbed(deaf=True):
        os.kill(os.getpid(), signal.SIGINT)


def look_at(text: str) -> Standing:
    """As if the file were applied and confirmed so."""
    asked = version("now", {"staging": text})
    configuration = read_stack_file(asked, "staging").configuration
    assert configuration is not None
    known = stacks(staging=walked(declared("staging", text)))
    record = known.read["staging"].record
    assert record is not None
    return Standing(
        version=asked,
        environment="staging",
        text=text,
        configuration=configuration,
        record=record,
        receipts=known.read["staging"].receipts,
        known=known,
    )


class NoEngine:
    """Nothing may be applied."""

    def preview(self) -> list[str]:
        raise AssertionError("previewed")

    def up(self) -> list[str]:
        raise AssertionError("applied")


def test_in_a_protected_environment_only_the_diff_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = edited(EXAMPLE, ISSUED) + "  internal-tls:protected: true\n"
    path = tmp_path / "Pulumi.staging.yaml"
    path.write_text(text)
    said = [Said(host="database", code=0, verdict="passes", lines=())]
    operator = Operator(
        stack="staging",
        folder=tmp_path,
        file=ConfigFile(path=path),
        engine=NoEngine(),
        hosts=Hosts(preflight=lambda *_: said, verify=lambda *_: []),
        screen=Screen(),
        confirm=lambda: True,
    )
    here = look_at(text)
    assert operator.take(here, ("POSTGRES_TLS_ENABLED", "on")) is False
    printed = capsys.readouterr()
    assert "database passes" in printed.err
    assert path.read_text() == text
    subprocess.run(["git", "apply"], cwd=tmp_path, input=printed.out, text=True, check=True)
    assert path.read_text() == edited(text, {"POSTGRES_TLS_ENABLED": "on"})
    said[0] = Said(host="database", code=3, verdict="REFUSED", lines=("somebody is in plaintext",))
    path.write_text(text)
    with pytest.raises(Stopped, match="somebody is in plaintext") as stopped:
        operator.take(here, ("POSTGRES_TLS_ENABLED", "on"))
    assert stopped.value.code == EXIT_REFUSED
    assert capsys.readouterr().out == ""


def test_bad_options_are_sentences(
    repository: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULUMI_OPTION_CONFIG_FILE", raising=False)
    for arguments, says in (
        (["--project", "/nowhere"], "there is no such folder"),
        (["--project", str(repository.folder), "--stack", "none"], "there is no such file"),
        (["--ssh-config", "/nowhere"], "--ssh-config /nowhere: there is no such file"),
    ):
        assert main(["next", *arguments]) == 2
        assert says in capsys.readouterr().err
