"""The certificates' life on the real engine: issued once, reissued for a reason, never because time passed."""

import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pki.checks import check
from pki.issue import KeyPair, create_authority, issue_server
from pki.request import CertificateRequest
from tests.engine.stacks import ROOT, Ran, Stack

PROGRAM = """
import pulumi
from components.certificates import Certificates
from pki.request import CertificateRequest

config = pulumi.Config()
request = CertificateRequest(names=tuple(config.require("names").split(",")), days=config.require_int("days"))
made = Certificates("certificates", request, generation=pulumi.Output.from_input(config.require("generation")))
for name in ("ca_pem", "ca_sha256", "certificate_pem", "certificate_sha256", "not_after", "names", "reason"):
    pulumi.export(name, getattr(made, name))
"""


@dataclass
class Life:
    """One stack: issued, a SAN added, then days and generation changed at once. Outputs after each `up`."""

    stack: Stack
    preview: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)

    def up(self, *arguments: str, **config: str) -> Ran:
        ran = self.stack.ok("up", "--yes", *arguments, *(f"--config={key}={value}" for key, value in config.items()))
        self.outputs.append(self.stack.outputs())
        return ran


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    life = Life(Stack(folder=tmp_path_factory.mktemp("life"), program=PROGRAM))
    life.up("--skip-preview", names="db.lab.internal", days="397", generation="1")
    life.preview = life.up("--diff", names="db2.internal,db.lab.internal").stdout.partition("Updating (dev)")[0]
    life.up("--skip-preview", days="90", generation="2")
    return life


def test_first_up_issues_a_working_chain(life: Life) -> None:
    outputs = life.outputs[0]
    info = check(
        ca_pem=outputs["ca_pem"],
        certificate_pem=outputs["certificate_pem"],
        key_pem=None,
        dialled=["db.lab.internal"],
        now=datetime.now(UTC),
    )
    assert (outputs["certificate_sha256"], outputs["not_after"]) == (info.sha256, info.not_after.isoformat())


def test_preview_says_why_and_touches_the_server_certificate_alone(life: Life) -> None:
    assert '"first issue" => "SAN added: db2.internal"' in life.preview
    assert "~ 1 to update\n    3 unchanged" in life.preview


def test_each_issue_keeps_its_reason(life: Life) -> None:
    assert [outputs["reason"] for outputs in life.outputs] == [
        "first issue",
        "SAN added: db2.internal",
        "days 397 → 90, CERTIFICATE_GENERATION 1 → 2",
    ]


def test_reissue_keeps_the_ca_and_makes_another_certificate(life: Life) -> None:
    assert len({outputs["ca_pem"] for outputs in life.outputs}) == 1
    assert len({outputs["certificate_sha256"] for outputs in life.outputs}) == 3
    last = life.outputs[-1]
    assert last["names"] == ["db.lab.internal", "db2.internal"]
    left = datetime.fromisoformat(last["not_after"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)


def test_neither_an_expired_certificate_nor_changed_code_reissues(life: Life, tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1000)
    authority = create_authority("long ago", now=long_ago)
    expired = issue_server(authority, CertificateRequest(names=("db.lab.internal",)), now=long_ago)
    _put_into_state(life.stack, expired)
    _change_code(tmp_path)
    before = life.stack.resources()
    life.stack.environment["PYTHONPATH"] = str(tmp_path)
    try:
        assert "4 unchanged" in life.stack.up().stdout
    finally:
        del life.stack.environment["PYTHONPATH"]
    after = life.stack.resources()
    assert after["certificates.server"]["outputs"]["certificate_pem"] == expired.certificate_pem
    for name in ("certificates.authority", "certificates.server"):
        assert after[name]["outputs"]["__provider"] == before[name]["outputs"]["__provider"]
        assert len(after[name]["outputs"]["__provider"]) < 120


def _change_code(folder: Path) -> None:
    """The project's packages copied there, the provider's module changed."""
    for package in ("components", "pki", "rollout"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    changed = folder / "components" / "certificates.py"
    before = changed.read_text()
    changed.write_text(before.replace("def _whole(", "def _added() -> None: ...\n\n\ndef _whole("))
    assert changed.read_text() != before


def _put_into_state(stack: Stack, pair: KeyPair) -> None:
    state = json.loads(stack.ok("stack", "export").stdout)
    [server] = [one for one in state["deployment"]["resources"] if one["urn"].endswith("::certificates.server")]
    server["outputs"] |= {"certificate_pem": pair.certificate_pem, "not_after": "2025-01-01T00:00:00+00:00"}
    file = stack.folder / "state.json"
    file.write_text(json.dumps(state))
    stack.ok("stack", "import", "--file", str(file))


def test_without_the_passphrase_that_sealed_the_cas_key_nothing_changes_and_the_error_says_what_to_set(
    life: Life,
) -> None:
    before = life.stack.outputs()
    life.stack.environment["INTERNAL_TLS_SEALING_PASSPHRASE"] = "another one"
    try:
        said = life.stack.refused("up", "--yes", "--skip-preview", "--config=generation=3").output
    finally:
        del life.stack.environment["INTERNAL_TLS_SEALING_PASSPHRASE"]
    assert "Set INTERNAL_TLS_SEALING_PASSPHRASE to the passphrase that was in force when the CA was made" in said
    assert "Traceback" not in said
    assert life.stack.outputs() == before
