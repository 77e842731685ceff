"""The policy pack on the real engine: what it lets through, what it refuses, and what gets past it.

The program is the project's own components; hosts answer over SSH and keep what they were told, so that what counts is
what reached a host. Every output is scanned for private keys (`policy_support`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.engine.moto_reset import forget_all
from tests.engine.policy_support import PACK, PLANTED, PROGRAM, Trial, violations
from tests.engine.ssh_hosts import SshHosts, ssh_hosts
from tests.engine.stacks import ROOT

PREPARED = "prepared=on"
ISSUED = f"{PREPARED},gen=1"
OFFERS = f"{ISSUED},pg=on"
LEG_2 = f"{OFFERS},leg2=verify-ca"
UNUSABLE = f"{ISSUED},leg2=verify-ca"
UP = ("up", "--yes", "--skip-preview")


@pytest.fixture(scope="module")
def hosts() -> Iterator[SshHosts]:
    with ssh_hosts("api1", "api2", "database", "web") as started:
        yield started


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    forget_all(url)
    yield url
    server.stop()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, hosts: SshHosts, endpoint: str) -> Trial:
    """Walked to generation 1 with the pack: every test starts from a copy."""
    trial = Trial.begun(tmp_path_factory.mktemp("policy"), hosts, endpoint)
    for state in ("", PREPARED, ISSUED):
        assert violations(trial.up(state).output) == {}
    assert hosts.reached()
    return trial


@pytest.fixture
def trial(base: Trial, tmp_path: Path) -> Iterator[Trial]:
    base.hosts.reached()
    yield base.copy(tmp_path / "copy")
    base.hosts.broken.clear()


def test_a_first_issue_passes_and_what_is_left_to_up_is_said(tmp_path: Path, hosts: SshHosts, endpoint: str) -> None:
    trial = Trial.begun(tmp_path, hosts, endpoint)
    said = violations(trial.ok("preview", *PACK, state="").output)
    assert said == {}
    # From nothing to prepared is one move; what lies further on is taken over, where its state is usable.
    assert violations(trial.ok("preview", *PACK, state=PREPARED).output) == {}
    assert violations(trial.ok("preview", *PACK, state=ISSUED).output).keys() == {"left-to-up"}
    refused = violations(trial.refused("preview", *PACK, state=UNUSABLE).output)
    assert "PgBouncer would find no TLS" in refused["rollout-state"]


def test_a_reissue_is_left_to_up_and_compared_there(trial: Trial) -> None:
    reissue = f"{PREPARED},gen=2"
    said = violations(trial.ok("preview", *PACK, state=reissue).output)
    assert said.keys() == {"left-to-up"}
    assert "compared with the ledger there" in said["left-to-up"]
    trial.up(reissue)
    assert trial.hosts.reached() == ["api1 3", "api2 3", "database 4", "web 3"]


def test_a_step_forward_and_back_passes(trial: Trial) -> None:
    assert violations(trial.ok("preview", *PACK, state=OFFERS).output) == {}
    assert violations(trial.up(OFFERS).output) == {}
    assert trial.hosts.reached() == ["database 4"]
    trial.ok(*UP, *PACK, "--expect-no-changes")
    assert violations(trial.up(ISSUED).output) == {}
    assert trial.hosts.reached() == ["database 5"]


@pytest.mark.parametrize("command", [("preview",), UP], ids=["preview", "up"])
@pytest.mark.parametrize(
    ("state", "policy", "words"),
    [(LEG_2, "rollout-move", "2 things change at once"), (UNUSABLE, "rollout-state", "PgBouncer would find no TLS")],
    ids=["two steps", "unusable"],
)
def test_an_unsafe_ordering_is_refused_with_the_command_that_is_allowed(
    trial: Trial, command: tuple[str, ...], state: str, policy: str, words: str
) -> None:
    said = violations(trial.refused(*command, *PACK, state=state).output)
    assert words in said[policy]
    assert "allowed now: undo this change, then `pulumi config set POSTGRES_TLS_ENABLED on`" in said[policy]
    assert trial.hosts.reached() == []


def test_after_a_failure_the_same_step_and_the_way_back_are_named_and_pass(trial: Trial) -> None:
    trial.hosts.broken.add("database")
    assert "database is broken" in trial.refused(*UP, *PACK, state=OFFERS).output
    said = violations(trial.refused("preview", *PACK, state=LEG_2).output)["rollout-move"]
    assert "is not confirmed by database" in said
    assert "`pulumi config set POSTGRES_TLS_ENABLED on` or `pulumi config set POSTGRES_TLS_ENABLED off`" in said
    trial.ok("preview", *PACK, state=OFFERS)
    trial.hosts.broken.clear()
    trial.up(ISSUED)
    assert trial.hosts.reached() == ["database 4", "database 5"]


SMUGGLE = """
rendered = components.hosts.host_settings
components.hosts.host_settings = lambda content, **more: rendered(
    content.replace("POSTGRES_FORCE_SSL=off", "POSTGRES_FORCE_SSL=on"), **more)
"""

COMMAND = """
made = components.hosts._command
def _command(name, **given):
    if name != "hosts.web": return made(name, **given)
    return remote.Command(name, connection=given["connection"], create={create}, update={update}, stdin=given["stdin"],
                          add_previous_output_in_env={previous}, opts=given["opts"]{more})
components.hosts._command = _command
"""


def commanded(**changes: str) -> str:
    """A program whose command for web differs in this."""
    given = {"create": 'given["command"]', "update": 'given["command"]', "previous": "False", "more": ""}
    return COMMAND.format(**given | changes)


EXTRA = """
more = remote.Command("hosts.{name}", create="timeout --kill-after=15 60 /opt/voiceai/update.sh --settings -",
    update="timeout --kill-after=15 60 /opt/voiceai/update.sh --settings -", stdin="REVISION=9\\n{key}",
    add_previous_output_in_env=False,
    connection=remote.ConnectionArgs(host="127.0.0.1", port=given["ports"]["web"], host_key=given["host_key"],
                                     user="root", private_key=given["private_key"]))
"""

AFTER_LEDGER = """
Real = Ledger
def Ledger(*args, **kwargs):
    made = Real(*args, **kwargs)
    made.contents.apply(lambda _: exec({code!r}, globals()))
    return made
"""

TWISTS = {
    "a smuggled variable": (SMUGGLE, "settings-are-declared", "POSTGRES_FORCE_SSL"),
    "another script": (
        commanded(update="given['command'].replace('--settings -', '--drain')"),
        "settings-are-declared",
        "its `update` is not",
    ),
    "an environment": (commanded(more=", environment={'X': '1'}"), "settings-are-declared", "environment"),
    "a command before the ledger": (EXTRA.format(name="web", key=""), "settings-are-declared", "no accepted ledger"),
    "a host of nobody": (
        AFTER_LEDGER.format(code=EXTRA.format(name="stranger", key="")),
        "settings-are-declared",
        "no host of the ledger",
    ),
    "a local command": ("local.Command('x', create='true')", "settings-are-declared", "of its own"),
    "another installer": (
        "import pathlib; read = pathlib.Path.read_text\n"
        "pathlib.Path.read_text = lambda path, **more: read(path, **more) + '\\ntrue\\n'",
        "settings-are-declared",
        "host/install.sh",
    ),
    "contents of its own": (
        "check = components.ledger.LedgerProvider.check\n"
        "def another(self, olds, news):\n"
        "    from pulumi.dynamic import CheckResult\n"
        "    inputs = check(self, olds, news).inputs\n"
        "    inputs['contents']['web'] += 'X=1\\n'\n"
        "    return CheckResult(inputs, [])\n"
        "components.ledger.LedgerProvider.serialize_as_secret_always = False\n"
        "class Patched(components.ledger.LedgerProvider):\n"
        "    check = another\n"
        "Patched.__module__ = '__main__'\n"
        "components.ledger.LedgerProvider = Patched",
        "rollout-move",
        "contents",
    ),
    "no host key": ("machines = tuple(replace(one, host_key='') for one in machines)", "commands-are-safe", "hostKey"),
    "a malformed host key": (
        "machines = tuple(replace(one, host_key='ssh-ed25519 ' + 'A' * 68) for one in machines)",
        "commands-are-safe",
        "no public key",
    ),
    "triggers": (commanded(more=", triggers=['1']"), "commands-are-safe", "triggers"),
    "a delete": (commanded(more=", delete='true'"), "commands-are-safe", "delete"),
    "no timeout": ("components.hosts._bounded = lambda ssh: ''", "commands-are-safe", "not bounded"),
    "the last output": (commanded(previous="True"), "commands-are-safe", "addPreviousOutputInEnv"),
    "a name left out": ("request = replace(request, names=request.names[1:])", "certificates", "clients dial"),
    "a weak key": (
        "object.__setattr__(request, 'key_type', 'rsa-1024')",
        "certificates",
        "certificate.keyType",
    ),
    "one secret for all": (
        "SecretsArgs.name = lambda self, variable: self.prefix + 'INTERNAL_CA_CRT_B64'",
        "secrets",
        "one secret a variable",
    ),
    "a key in plain": (EXTRA.format(name="web", key=PLANTED.replace("\n", "\\n")), "secrets", "holds a private key"),
    "a key in base64": (
        f"import base64; KEY = base64.b64encode({PLANTED!r}.encode()).decode()\n" + commanded(more=", triggers=[KEY]"),
        "secrets",
        "triggers[0] holds a private key",
    ),
    "an output that is no secret": (
        "import components.certificates; components.certificates._key_is_secret = lambda opts: opts",
        "secrets",
        "key_sealed is not marked secret",
    ),
}


@pytest.mark.parametrize("what", TWISTS)
def test_a_changed_program_is_refused(trial: Trial, what: str) -> None:
    twist, policy, words = TWISTS[what]
    said = violations(trial.refused("preview", *PACK, state=OFFERS, twist=twist).output)
    assert words in said[policy], said
    assert trial.hosts.reached() == []


def test_a_changed_program_is_refused_in_up_before_the_host_and_reaches_it_without_the_pack(trial: Trial) -> None:
    trial.refused(*UP, *PACK, twist=SMUGGLE)
    assert trial.hosts.reached() == []
    trial.ok(*UP, twist=SMUGGLE)
    assert trial.hosts.reached() == ["database 3"]


def test_a_protected_environment_wants_more_of_its_secrets(trial: Trial) -> None:
    kept = {"kms_key_id": "alias/own", "recovery_days": 14}
    trial.ok("preview", *PACK, protected=True, secrets=kept)
    said = violations(
        trial.refused("preview", *PACK, protected=True, secrets={"kms_key_id": "", "recovery_days": 0}).output
    )
    assert "secrets.kmsKeyId" in said["secrets"]
    assert "secrets.recoveryWindowDays" in said["secrets"]


def test_a_plain_key_in_the_config_is_refused(trial: Trial) -> None:
    # Words before it: a value must not look like a flag.
    trial.ok("config", "set", "--plaintext", "key", f"the key\n{PLANTED}")
    assert "pulumi config set --secret key" in violations(trial.refused("preview", *PACK).output)["secrets"]
    trial.ok("config", "set", "--secret", "key", f"the key\n{PLANTED}")
    assert violations(trial.ok("preview", *PACK).output) == {}


def test_levels_and_limits_are_configurable(trial: Trial, tmp_path: Path) -> None:
    def configured(**policies: object) -> tuple[str, ...]:
        file = tmp_path / "config.json"
        file.write_text(json.dumps(policies))
        return (*PACK, "--policy-pack-config", str(file))

    days = {"minimumDaysLeft": 400}
    said = violations(trial.refused("preview", *configured(certificates=days), state=OFFERS).output)
    assert "400 are wanted" in said["certificates"]
    advisory = {"enforcementLevel": "advisory", **days}
    said = violations(trial.ok("preview", *configured(certificates=advisory), state=OFFERS).output)
    assert "400 are wanted" in said["certificates"]
    said = violations(trial.refused("preview", *configured(**{"commands-are-safe": {"maximumSeconds": 30}})).output)
    assert "at most 30 seconds" in said["commands-are-safe"]
    # Switching one policy off takes nothing from those that rest on the ledger.
    off = {"rollout-move": "disabled", "rollout-state": "disabled"}
    assert violations(trial.ok("preview", *configured(**off), state=OFFERS).output) == {}
    said = violations(trial.refused("preview", *configured(**off), state=OFFERS, twist=SMUGGLE).output)
    assert "POSTGRES_FORCE_SSL" in said["settings-are-declared"]


def test_the_way_back_passes_with_a_certificate_that_has_too_few_days(trial: Trial, tmp_path: Path) -> None:
    trial.up(OFFERS)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"certificates": {"minimumDaysLeft": 397}}))
    arguments = ("preview", *PACK, "--policy-pack-config", str(file))
    trial.refused(*arguments, state=LEG_2)
    assert "397 are wanted" in violations(trial.ok(*arguments, state=ISSUED).output)["left-to-up"]


def nothing(trial: Trial) -> None:
    """The row needs nothing beforehand."""


def ledger_deleted(trial: Trial) -> None:
    trial.ok("state", "delete", "--yes", "--force", "--target-dependents", trial.urn("ledger"))


def ca_deleted(trial: Trial) -> None:
    trial.up(OFFERS)
    trial.hosts.reached()
    trial.ok("state", "delete", "--yes", "--force", "--target-dependents", trial.urn("certificates.authority"))


def state_lost(trial: Trial) -> None:
    shutil.rmtree(trial.stack.folder / "state")
    (trial.stack.folder / "state").mkdir()
    trial.ok("stack", "init", "dev")


def step_failed(trial: Trial) -> None:
    trial.hosts.broken.add("database")
    trial.refused(*UP, *PACK, state=OFFERS)
    trial.hosts.broken.clear()
    trial.hosts.reached()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attempt to get past. `alone` and `pack`: words of the refusal, or the hosts that are reached where it passes.

    `said` is what docs/policy.md says of it.
    """

    what: str
    flags: Callable[[Trial], tuple[str, ...]] = lambda _: ()
    beforehand: Callable[[Trial], None] = nothing
    command: tuple[str, ...] = UP
    state: str = OFFERS
    twist: str = ""
    alone: str | list[str]
    pack: str | list[str]
    said: tuple[str, str]


def flag(name: str, resource: str) -> Callable[[Trial], tuple[str, ...]]:
    return lambda trial: (name, trial.urn(resource))


ALL_ANEW = ["api1 2", "api2 2", "database 4", "web 2"]
NO_RECORD = "the ledger has no record"
FAKED = """
def faked_receipts():
    return pulumi.Output.from_input({"api1": "2", "api2": "2", "database": "4", "web": "2"})
"""

ROWS = (
    Row(
        what="an unsafe move, `--skip-preview`",
        state=LEG_2,
        alone="2 things change at once",
        pack="2 things change at once",
        said=("refused by the ledger, no host is reached", "refused by the ledger and by `rollout-move`"),
    ),
    Row(
        what="an unsafe move, `--target` a host's command",
        flags=flag("--target", "hosts.database"),
        state=LEG_2,
        alone=[],
        pack=[],
        said=("passes and applies nothing: settings come from the ledger, which stays as it is", "the same"),
    ),
    Row(
        what="an unsafe move, `--exclude` the ledger",
        flags=flag("--exclude", "ledger"),
        state=LEG_2,
        alone=[],
        pack=[],
        said=("passes and applies nothing, as above", "the same"),
    ),
    Row(
        what="an unsafe move, `--target` the ledger",
        flags=flag("--target", "ledger"),
        state=LEG_2,
        alone="2 things change at once",
        pack="2 things change at once",
        said=("refused by the ledger", "refused by the ledger and by `rollout-move`"),
    ),
    Row(
        what="a legal move, `--target` the ledger",
        flags=flag("--target", "ledger"),
        alone=[],
        pack="reach hosts without --target",
        said=(
            "the move is recorded and no host is reached: it counts as not confirmed, so the next move is refused",
            "refused by `settings-are-declared`",
        ),
    ),
    Row(
        what="a legal move, `--exclude` a host's command",
        flags=flag("--exclude", "hosts.database"),
        alone=[],
        pack="reach hosts without --target",
        said=("the move is recorded and not confirmed, as above", "refused by `settings-are-declared`"),
    ),
    Row(
        what="`--replace` the ledger",
        flags=flag("--replace", "ledger"),
        alone=NO_RECORD,
        pack=NO_RECORD,
        said=("refused by the ledger: receipts without a record", "refused by the ledger and by `rollout-move`"),
    ),
    Row(
        what="`--target-replace` the ledger",
        flags=flag("--target-replace", "ledger"),
        alone=NO_RECORD,
        pack=NO_RECORD,
        said=("refused by the ledger: receipts without a record", "refused by the ledger and by `rollout-move`"),
    ),
    Row(
        what="`--target-replace` a host's command",
        flags=flag("--target-replace", "hosts.database"),
        state=ISSUED,
        alone=["database 3"],
        pack=["database 3"],
        said=("the host is told once more what it was told, which changes nothing there", "the same"),
    ),
    Row(
        what="`pulumi state delete` of the ledger",
        beforehand=ledger_deleted,
        alone=NO_RECORD,
        pack=NO_RECORD,
        said=("refused by the ledger: receipts without a record", "refused by the ledger and by `rollout-move`"),
    ),
    Row(
        what="a lost state file, in the middle of a rollout",
        beforehand=state_lost,
        alone="already exists",
        pack="already exists",
        said=(
            "**accepted by the ledger** as a first deployment that is taken over; then creating the secrets fails, "
            "whose names are taken, before a host is reached. On a stack that never issued, hosts are reached: each "
            "confirms that it runs these settings, or refuses and changes nothing",
            "the same: nothing of the past is left to see",
        ),
    ),
    Row(
        what="a lost state file, config set back to the start",
        beforehand=state_lost,
        state="",
        alone="already exists",
        pack="already exists",
        said=(
            "**accepted by the ledger**; then creating the secrets fails, whose names are taken, before a host is "
            "reached. On a stack that never issued, hosts are reached: their `update.sh` refuses what differs in more "
            "than one variable",
            "the same: nothing of the past is left to see",
        ),
    ),
    Row(
        what="`--replace` the CA",
        flags=flag("--replace", "certificates.authority"),
        state=ISSUED,
        alone=["api1 2", "api2 2", "database 3", "web 2"],
        pack="the CA was replaced",
        said=(
            "**passes**: hosts are told of a certificate by another CA; their preflight judges it, and apps that "
            "verify would refuse it",
            "refused by `certificates`",
        ),
    ),
    Row(
        what="`pulumi state delete` of the CA",
        beforehand=ca_deleted,
        command=("up", "--yes"),
        alone=ALL_ANEW,
        pack="the CA was replaced",
        said=("**passes**, as above", "refused by the preview's `certificates`"),
    ),
    Row(
        what="the same, with `--skip-preview`",
        beforehand=ca_deleted,
        alone=ALL_ANEW,
        pack=ALL_ANEW,
        said=("**passes**", "**passes**: at `up` a new CA looks like the old one; each host's preflight judges it"),
    ),
    Row(
        what="a variable smuggled in by a change of the program",
        state=ISSUED,
        twist=SMUGGLE,
        alone=["database 3"],
        pack="POSTGRES_FORCE_SSL",
        said=("**passes**: the host is told", "refused by `settings-are-declared`"),
    ),
    Row(
        what="the next step while the last one failed",
        beforehand=step_failed,
        state=LEG_2,
        alone="is not confirmed by database",
        pack="is not confirmed by database",
        said=("refused by the ledger", "refused by the ledger and by `rollout-move`"),
    ),
    Row(
        what="the same, with receipts that a change of the program invents",
        beforehand=step_failed,
        state=LEG_2,
        twist=FAKED,
        alone=["database 5"],
        pack=["database 5"],
        said=(
            "**passes the ledger**; the host's `update.sh` refuses, because two variables differ there",
            "**the same**: a policy does not see receipts; a review of the change must",
        ),
    ),
)


@pytest.mark.parametrize("with_pack", [False, True], ids=["alone", "pack"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_what_gets_past(trial: Trial, row: Row, with_pack: bool) -> None:
    row.beforehand(trial)
    expected = row.pack if with_pack else row.alone
    arguments = (*row.command, *row.flags(trial), *(PACK if with_pack else ()))
    ran = trial.run(*arguments, state=row.state, twist=row.twist)
    if isinstance(expected, str):
        assert ran.returncode != 0, ran.output[-6000:]
        assert expected in ran.output
        assert trial.hosts.reached() == []
        policy = row.said[1].rpartition("`")[0].rpartition("`")[2]
        if with_pack and policy:
            assert expected in violations(ran.output)[policy]
    else:
        assert ran.returncode == 0, ran.output[-6000:]
        assert trial.hosts.reached() == expected


@pytest.mark.parametrize("flags", [flag("--target", "ledger"), flag("--exclude", "hosts.database")])
def test_a_move_that_reached_no_host_blocks_the_next(trial: Trial, flags: Callable[[Trial], tuple[str, ...]]) -> None:
    trial.ok(*UP, *flags(trial), state=OFFERS)
    for pack in ((), PACK):
        assert "is not confirmed by database" in trial.refused("preview", *pack, state=LEG_2).output
    trial.up(OFFERS)
    assert trial.hosts.reached() == ["database 4"]


@pytest.mark.parametrize("flags", [flag("--target", "ledger"), flag("--exclude", "hosts.database")])
def test_a_targeted_update_after_hosts_took_turns_keeps_the_state_whole(
    trial: Trial, flags: Callable[[Trial], tuple[str, ...]]
) -> None:
    # On its way back the database waits for the collector's host, which is declared after it.
    trial.up(f"{ISSUED},redis=true")
    trial.up(ISSUED)
    assert trial.hosts.reached() == ["database 4", "database 5", "web 3", "web 4"]
    # Whether the engine stumbles over one depends on which of them is quicker: so none is there.
    turns = [one for one in trial.stack.resources()["hosts.database"]["dependencies"] if "hosts.web" in one]
    assert turns == []
    trial.ok(*UP, *flags(trial), state=OFFERS)
    trial.up(OFFERS)
    assert trial.hosts.reached() == ["database 6"]


def test_the_table_of_the_documents_is_the_one_that_is_tested() -> None:
    text = (ROOT / "docs/policy.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert f"| {row.what} | {row.said[0]} | {row.said[1]} |\n" in text
    begun = text.partition("| attempt |")[2].partition("\n\n")[0]
    assert len(begun.splitlines()) == len(ROWS) + 2


def test_the_program_of_this_test_is_the_projects_own() -> None:
    """It builds the same components in the same order; what differs is where its values come from."""
    own = (ROOT / "__main__.py").read_text(encoding="utf-8")
    for line in (
        'ledger = Ledger("ledger", declared=',
        "opts = pulumi.ResourceOptions(providers=[provider], depends_on=[ledger])",
        "secrets.store(certificates)",
        "everything = [resource for resource in (ledger, secrets, certificates, hosts) if resource]",
    ):
        assert line in own
        assert line in PROGRAM
