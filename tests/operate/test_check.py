"""`operate check` between two versions: what it says, how it ends."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from operate.cli import main
from tests.operate.conftest import Operate, Repository
from tests.operate.pull_requests import (
    ALL_FLIPPED,
    CLIENT_LEG,
    EXAMPLE,
    ISSUED,
    OFFERS,
    SERVER_LEG,
    Walked,
    declared,
    edited,
    export,
    failing,
    flipped,
    of,
    walked,
)

STAGING = edited(EXAMPLE, ISSUED)
PRODUCTION = edited(of("production"), ISSUED)
ON = {"POSTGRES_TLS_ENABLED": "on"}


def record(repository: Repository, environment: str, walk: Walked | None, name: str = "", **outputs: str) -> str:
    """The path of an export of that stack."""
    path = repository.folder.parent / (name or f"{environment}.json")
    path.write_text(export(environment, walk, **outputs))
    return str(path)


def stack_at(environment: str, text: str) -> Walked:
    return walked(declared(environment, text))


def test_a_step_forward_is_told_with_hosts_traffic_and_the_way_back(repository: Repository, operate: Operate) -> None:
    base = repository.commit(staging=STAGING)
    head = repository.commit(staging=edited(STAGING, ON))
    done = operate(base, head)
    assert done.code == 0
    assert "staging: allowed, a step forward" in done.out
    assert "postgres 2/7: POSTGRES_TLS_ENABLED off → on" in done.out
    assert "hosts database (otel, pgbouncer, postgres, redis)" in done.out
    assert "Postgres reloads; no session ends." in done.out
    assert "pulumi config set --stack staging POSTGRES_TLS_ENABLED off" in done.out
    assert "docs/runbook/02-postgres-tls.md" in done.out
    assert "compared with the base's file, not with what is confirmed" in done.out


def test_the_hosts_of_a_rolling_step_are_told_in_their_order(repository: Repository, operate: Operate) -> None:
    text = edited(EXAMPLE, CLIENT_LEG)
    base, head = repository.commit(staging=text), repository.commit(staging=edited(text, flipped("api")))
    assert "hosts api1 (api), api2 (api; after api1)" in operate(base, head).out


def test_hosts_of_a_step_back_follow_one_another_in_reverse(repository: Repository, operate: Operate) -> None:
    """The collector leaves Redis' TLS listener before Redis closes it."""
    apart = EXAMPLE.replace("roles: [postgres, pgbouncer, redis, otel]", "roles: [postgres, pgbouncer, redis]")
    apart = apart.replace("roles: [web]", "roles: [web, otel]")
    text = edited(apart, {**ISSUED, "REDIS_TLS_ENABLED": '"true"'})
    base = repository.commit(staging=text)
    head = repository.commit(staging=edited(text, {"REDIS_TLS_ENABLED": '"false"'}))
    done = operate(base, head, "--json")
    hosts = json.loads(done.out)["environments"][0]["hosts"]
    assert [(one["host"], one["after"]) for one in hosts] == [("web", []), ("database", ["web"])]


@pytest.mark.parametrize("form", ["files", "folders", "working tree"])
def test_files_and_folders_are_versions_too(form: str, repository: Repository, operate: Operate) -> None:
    base = repository.commit(staging=STAGING)
    folder = repository.folder.parent / "other"
    folder.mkdir()
    for path in repository.folder.glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())
    (folder / "before.yaml").write_text(STAGING)
    repository.write("Pulumi.staging.yaml", edited(STAGING, ON))
    given = {
        "files": (str(folder / "before.yaml"), "Pulumi.staging.yaml"),
        "folders": (str(folder), "."),
        "working tree": (base, "."),
    }
    done = operate(*given[form])
    assert done.code == 0
    assert "staging: allowed, a step forward" in done.out


def test_a_revision_against_one_file_is_about_that_environment(repository: Repository, operate: Operate) -> None:
    base = repository.commit(staging=STAGING, production=PRODUCTION)
    repository.write("Pulumi.staging.yaml", edited(STAGING, ON))
    done = operate(base, "Pulumi.staging.yaml")
    assert done.code == 0
    assert "production" not in done.out
    unnamed = repository.write("after.yaml", STAGING)
    assert operate(base, str(unnamed)).code == 2


def test_where_nothing_differs_nothing_changes(repository: Repository, operate: Operate) -> None:
    base = repository.commit(staging=STAGING)
    assert operate(base, base).out.endswith("nothing changes in any environment")
    commented = repository.commit(staging=f"# a comment\n{STAGING}")
    done = operate(base, commented)
    assert done.code == 0
    assert "nothing to apply" in done.out


def test_all_reasons_are_told_at_once(repository: Repository, operate: Operate) -> None:
    wrong = STAGING.replace("REDIS_FORCE_TLS:", "REDIS_FORCE_TSL:").replace("eu-west-1", "nowhere")
    base, head = repository.commit(staging=STAGING), repository.commit(staging=wrong)
    done = operate(base, head)
    assert done.code == 1
    assert "did you mean REDIS_FORCE_TLS?" in done.out
    assert "secrets.region: 'nowhere' is not an AWS region" in done.out
    broken = edited(STAGING, {"PGBOUNCER_CLIENT_TLS_SSLMODE": "require"})
    done = operate(base, repository.commit(staging=broken))
    for app in ("api", "web", "voice", "ops", "worker"):
        assert f"PgBouncer would refuse {app}" in done.out


def test_a_free_attribute_is_no_step(repository: Repository, operate: Operate) -> None:
    quiet = STAGING.replace('QUIET_MINUTES: "60"', 'QUIET_MINUTES: "30"')
    base = repository.commit(staging=STAGING, production=PRODUCTION)
    head = repository.commit(staging=quiet, production=edited(PRODUCTION, {"QUIET_MINUTES": '"30"'}))
    done = operate(base, head)
    assert done.code == 0
    assert "hosts keep the new value for their next step" in done.out


# What is confirmed


def test_with_the_stack_the_base_is_said_to_be_confirmed(repository: Repository, operate: Operate) -> None:
    base, head = repository.commit(staging=STAGING), repository.commit(staging=edited(STAGING, ON))
    done = operate(base, head, "--stack-record", record(repository, "staging", stack_at("staging", STAGING)))
    assert done.code == 0
    assert "the base is what the stack has confirmed" in done.out


def test_a_base_that_was_never_applied_is_told_and_judged_from_the_stack(
    repository: Repository, operate: Operate
) -> None:
    """The step before was merged and never applied: with this one, two would come at once."""
    applied = stack_at("staging", STAGING)
    base = repository.commit(staging=edited(STAGING, ON))
    head = repository.commit(staging=edited(EXAMPLE, SERVER_LEG))
    assert operate(base, head).code == 0
    done = operate(base, head, "--stack-record", record(repository, "staging", applied))
    assert done.code == 1
    assert "the base was never applied: POSTGRES_TLS_ENABLED is on there and off in the stack" in done.out
    assert "2 things change at once" in done.out


def test_reverting_what_was_never_applied_is_allowed(repository: Repository, operate: Operate) -> None:
    base, head = repository.commit(staging=edited(STAGING, ON)), repository.commit(staging=STAGING)
    done = operate(base, head, "--stack-record", record(repository, "staging", stack_at("staging", STAGING)))
    assert done.code == 0
    assert "the base was never applied" in done.out
    assert "to where the stack stands already" in done.out


def test_after_a_failed_up_the_way_back_is_allowed_and_the_next_step_is_not(
    repository: Repository, operate: Operate
) -> None:
    offers = edited(EXAMPLE, OFFERS)
    failed = failing(stack_at("staging", STAGING), declared("staging", offers))
    path = record(repository, "staging", failed)
    base, back = repository.commit(staging=offers), repository.commit(staging=STAGING)
    done = operate(base, back, "--stack-record", path)
    assert done.code == 0
    assert "allowed, a step back" in done.out
    assert "hosts database" in done.out
    further = repository.commit(staging=edited(EXAMPLE, SERVER_LEG))
    done = operate(base, further, "--stack-record", path)
    assert done.code == 1
    assert "is not confirmed by database" in done.out
    # A commit beside the step: the same move is tried again, by the host that has not confirmed it.
    again = repository.commit(staging=offers.replace("recoveryWindowDays: 30", "recoveryWindowDays: 14"))
    done = operate(base, again, "--stack-record", path)
    assert done.code == 0
    assert "the last move again: postgres 2/7" in done.out
    assert "hosts database" in done.out


def test_a_stack_without_a_ledger_was_never_applied(repository: Repository, operate: Operate) -> None:
    base, head = repository.commit(staging=EXAMPLE), repository.commit(staging=edited(EXAMPLE, {"PREPARED": "on"}))
    done = operate(base, head, "--stack-record", f"staging={record(repository, 'staging', None)}")
    assert done.code == 0
    assert "nothing was ever applied" in done.out


def test_a_new_environment_is_judged_as_a_first_deployment(repository: Repository, operate: Operate) -> None:
    base = repository.commit()
    assert "first deployment" in operate(base, repository.commit(staging=EXAMPLE)).out
    unusable = edited(EXAMPLE, {"PGBOUNCER_CLIENT_TLS_SSLMODE": "require"})
    assert operate(base, repository.commit(staging=unusable)).code == 1


def test_a_removed_file_applies_nothing(repository: Repository, operate: Operate) -> None:
    base, head = repository.commit(staging=STAGING), repository.commit()
    done = operate(base, head)
    assert done.code == 0
    assert "the stack staging and its hosts stay as they are" in done.out


def test_nothing_of_an_export_but_the_record_is_shown(repository: Repository, operate: Operate) -> None:
    base, head = repository.commit(staging=STAGING), repository.commit(staging=edited(STAGING, ON))
    path = record(repository, "staging", stack_at("staging", STAGING), hidden="canary-4711")
    for form in ((), ("--json",), ("--markdown",)):
        done = operate(base, head, "--stack-record", path, *form)
        assert done.code == 0
        assert "canary-4711" not in done.out + done.err
    broken = repository.write("broken.json", '{"deployment": {"resources": [{"canary-4711": 1}]}}')
    done = operate(base, head, "--stack-record", str(broken))
    assert done.code == 2
    assert "canary-4711" not in done.out + done.err


# The ladder


def production_step(repository: Repository, *, back: bool = False) -> tuple[str, str]:
    texts = [PRODUCTION, edited(PRODUCTION, ON)]
    first, second = reversed(texts) if back else texts
    return repository.commit(production=first), repository.commit(production=second)


def test_production_moves_once_staging_has_confirmed_the_step(repository: Repository, operate: Operate) -> None:
    versions = production_step(repository)
    staging = record(repository, "staging", stack_at("staging", edited(EXAMPLE, OFFERS)))
    assert operate(*versions, "--stack-record", staging).code == 0


def test_production_waits_while_a_host_of_staging_has_not_confirmed_the_step(
    repository: Repository, operate: Operate
) -> None:
    """Staging's file and its last attempt have it; what counts is what is confirmed."""
    failed = failing(stack_at("staging", STAGING), declared("staging", edited(EXAMPLE, OFFERS)))
    done = operate(*production_step(repository), "--stack-record", record(repository, "staging", failed))
    assert done.code == 1
    assert "staging comes first on the ladder, and has confirmed POSTGRES_TLS_ENABLED=off" in done.out


def test_production_forward_is_refused_where_staging_cannot_be_read(repository: Repository, operate: Operate) -> None:
    done = operate(*production_step(repository))
    assert done.code == 1
    assert "what it has confirmed is not known" in done.out
    assert "--stack-record FILE or --read-stacks" in done.out


def test_production_back_is_never_blocked(repository: Repository, operate: Operate) -> None:
    versions = production_step(repository, back=True)
    assert operate(*versions).code == 0
    staging = record(repository, "staging", stack_at("staging", EXAMPLE))
    assert operate(*versions, "--stack-record", staging).code == 0


def test_a_pull_request_does_not_lift_itself_over_the_ladder(repository: Repository, operate: Operate) -> None:
    base = repository.commit(production=PRODUCTION)
    head = repository.commit(ladder="", production=edited(PRODUCTION, ON))
    assert operate(base, head).code == 1
    turned = repository.commit(ladder="ladder: [production, staging]\n", production=edited(PRODUCTION, ON))
    assert operate(base, turned).code == 1


def test_without_a_ladder_every_environment_moves_by_itself(repository: Repository, operate: Operate) -> None:
    base = repository.commit(ladder="", production=PRODUCTION)
    head = repository.commit(ladder="", production=edited(PRODUCTION, ON))
    assert operate(base, head).code == 0


# Two environments


def test_two_environments_are_two_steps_and_how_to_split_them_is_told(repository: Repository, operate: Operate) -> None:
    base = repository.commit(staging=STAGING, production=PRODUCTION)
    head = repository.commit(staging=edited(STAGING, ON), production=edited(PRODUCTION, ON))
    done = operate(base, head)
    assert done.code == 1
    assert "2 environments in one pull request are 2 steps" in done.out
    assert "keep staging here and take production out" in done.out
    # The command that it tells does what it says.
    (command,) = re.findall(r"`git (checkout [^`]+)`", done.out)
    repository.git(*command.split())
    repository.git("commit", "--quiet", "--message", "split")
    assert operate(base, "HEAD").code == 0


def test_a_new_environment_is_split_off_as_well(repository: Repository, operate: Operate) -> None:
    base = repository.commit(staging=STAGING)
    head = repository.commit(staging=edited(STAGING, ON), production=of("production"))
    done = operate(base, head)
    assert done.code == 1
    (command,) = re.findall(r"`git (rm [^`]+)`", done.out)
    repository.git(*command.split())
    repository.git("commit", "--quiet", "--message", "split")
    assert operate(base, "HEAD").code == 0


def test_two_environments_may_go_back_together(repository: Repository, operate: Operate) -> None:
    head = repository.commit(staging=STAGING, production=PRODUCTION)
    base = repository.commit(staging=edited(STAGING, ON), production=edited(PRODUCTION, ON))
    assert operate(base, head).code == 0


# Bad input


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("nothing-such", "HEAD"), "nothing-such: there is no such file, folder or git revision"),
        (("--", "--output=x", "HEAD"), "--output=x: there is no such file, folder or git revision"),
        (("HEAD", "HEAD", "--stack-record", "no.json"), "--stack-record no.json: it can't be read"),
        (("HEAD", "empty.yaml"), "its name does not tell which environment it is"),
        (("Pulumi.staging.yaml", "broken.yaml"), "broken.yaml:3: it is not YAML"),
        (("Pulumi.staging.yaml", "twice.yaml"), "twice.yaml:3: it is not YAML: internal-tls:PREPARED is written twice"),
        (("Pulumi.staging.yaml", "list.yaml"), "list.yaml: it is not a stack's file"),
        (("Pulumi.staging.yaml", "binary.yaml"), "binary.yaml: it is no UTF-8 text"),
    ],
)
def test_bad_input_ends_with_a_sentence(
    given: tuple[str, ...], says: str, repository: Repository, operate: Operate
) -> None:
    repository.commit(staging=STAGING)
    repository.write("empty.yaml", "")
    repository.write("broken.yaml", "config:\n  internal-tls:PREPARED: off\n bad: [\n")
    repository.write("twice.yaml", "config:\n  internal-tls:PREPARED: off\n  internal-tls:PREPARED: on\n")
    repository.write("list.yaml", "- config\n")
    (repository.folder / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    done = operate(*given)
    assert done.code == 2
    assert says in done.err
    assert "Traceback" not in done.err


def test_a_broken_file_of_a_revision_is_told_with_its_line(repository: Repository, operate: Operate) -> None:
    base = repository.commit(staging=STAGING)
    head = repository.commit(staging=STAGING + "\tx: 1\n")
    done = operate(base, head, "--markdown")
    assert done.code == 2
    assert f"Pulumi.staging.yaml:{len(STAGING.splitlines()) + 1}: it is not YAML" in done.err
    assert "Rollout: not checked" in done.out
    assert json.loads(operate(base, head, "--json").out)["verdict"] == "bad input"


def test_without_a_repository_a_revision_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "HEAD", "HEAD", "--project", str(tmp_path)]) == 2
    assert "there is no such file, folder or git revision" in capsys.readouterr().err


def test_help_documents_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["check", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        told = capsys.readouterr().out
        for line in ("0    allowed", "1    refused", "2    bad input"):
            assert line in told


def test_json_holds_what_a_program_needs(repository: Repository, operate: Operate) -> None:
    text = edited(EXAMPLE, ALL_FLIPPED)
    base = repository.commit(staging=text)
    head = repository.commit(staging=edited(text, {"PGBOUNCER_CLIENT_TLS_SSLMODE": "disable"}))
    report = json.loads(operate(base, head, "--json").out)
    assert (report["verdict"], report["changed"]) == ("refused", ["staging"])
    (staging,) = report["environments"]
    assert staging["direction"] == "back"
    assert {one["key"] for one in staging["refusals"]} == {"PGBOUNCER_CLIENT_TLS_SSLMODE"}
    assert any("apps.ops.DATABASE_SSL_MODE disable" in one["command"] for one in staging["allowedNow"]) is False
    assert any("apps.worker.DATABASE_SSL_MODE disable" in one["command"] for one in staging["allowedNow"])


def test_a_project_in_a_subfolder_is_found_by_revision(repository: Repository, operate: Operate) -> None:
    inner = repository.folder / "infra"
    inner.mkdir()
    for text in (STAGING, edited(STAGING, ON)):
        (inner / "Pulumi.staging.yaml").write_text(text)
        repository.git("add", "--all")
        repository.git("commit", "--quiet", "--message", "a version")
    done = operate("HEAD^", "HEAD", "--project", str(inner))
    assert done.code == 0
    assert "staging: allowed, a step forward" in done.out


def test_a_base_that_was_no_good_config_does_not_block_its_repair(repository: Repository, operate: Operate) -> None:
    wrong = STAGING.replace("REDIS_FORCE_TLS:", "REDIS_FORCE_TSL:")
    base, head = repository.commit(staging=wrong), repository.commit(staging=STAGING)
    done = operate(base, head)
    assert done.code == 0
    assert "from a config that the program refused" in done.out
    assert json.loads(operate(base, head, "--json").out)["changed"] == ["staging"]
    unusable = repository.commit(staging=edited(STAGING, {"PGBOUNCER_CLIENT_TLS_SSLMODE": "require"}))
    assert operate(base, unusable).code == 1
    record_path = record(repository, "staging", stack_at("staging", STAGING))
    skipped = repository.commit(staging=edited(STAGING, {"PGBOUNCER_CLIENT_TLS_SSLMODE": "allow"}))
    assert operate(base, skipped, "--stack-record", record_path).code == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_without_arrows_gets_no_traceback(encoding: str, repository: Repository) -> None:
    base, head = repository.commit(staging=STAGING), repository.commit(staging=edited(STAGING, ON))
    done = subprocess.run(
        [sys.executable, "-m", "operate", "check", base, head, "--project", str(repository.folder)],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"postgres 2/7: POSTGRES_TLS_ENABLED off" in done.stdout


# What stands beside the rollout


@pytest.mark.parametrize(
    ("old", "new", "says", "hosts"),
    [
        ("address: 10.0.1.22", "address: 10.0.1.99", "host web", ["web"]),
        ("recoveryWindowDays: 30", "recoveryWindowDays: 14", "recoveryWindowDays", []),
        ("config:\n", "config:\n  internal-tls:hostTimeoutSeconds: 600\n", "how every host is reached", None),
        ("config:\n", "config:\n  internal-tls:sshPrivateKey: {secure: v1:x}\n", "how every host is reached", None),
    ],
)
def test_what_is_no_step_is_told_and_applied(
    old: str, new: str, says: str, hosts: list[str] | None, repository: Repository, operate: Operate
) -> None:
    base, head = repository.commit(staging=STAGING), repository.commit(staging=STAGING.replace(old, new))
    report = json.loads(operate(base, head, "--json").out)
    (staging,) = report["environments"]
    assert report["changed"] == ["staging"]
    assert says in f"{staging['step']} {' '.join(staging['notes'])}"
    reached = [one["host"] for one in staging["hosts"]]
    assert (len(reached) == 7) if hosts is None else set(hosts) <= set(reached)
    assert "v1:x" not in json.dumps(report)
