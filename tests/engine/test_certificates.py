"""The certificates' life on the real engine: issued once, reissued for a reason, never because time passed."""

import json
import shutil
from collections.abc import Iterator
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


def made(folder: Path) -> Stack:
    stack = Stack(folder=folder, program=PROGRAM)
    for key, value in {"names": "db.lab.internal", "days": "397", "generation": "1"}.items():
        stack.configure(key, value)
    return stack


@dataclass(kw_only=True)
class Moment:
    """What one change of config previewed, and what stood after its `up`."""

    preview: str
    outputs: dict[str, Any]


@dataclass
class Life:
    stack: Stack
    moments: dict[str, Moment] = field(default_factory=dict)
    second_up: Ran | None = None

    def change(self, label: str, **config: str) -> None:
        for key, value in config.items():
            self.stack.configure(key, value)
        preview = self.stack.preview().stdout
        self.stack.up()
        self.moments[label] = Moment(preview=preview, outputs=self.stack.outputs())


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    life = Life(made(tmp_path_factory.mktemp("life")))
    life.change("first")
    life.second_up = life.stack.up()
    life.change("san", names="db2.internal,db.lab.internal")
    life.change("days and generation", days="90", generation="2")
    yield life


def test_first_up_issues_a_working_chain(life: Life) -> None:
    outputs = life.moments["first"].outputs
    info = check(
        ca_pem=outputs["ca_pem"],
        certificate_pem=outputs["certificate_pem"],
        key_pem=None,
        dialled=["db.lab.internal"],
        now=datetime.now(UTC),
    )
    assert (outputs["certificate_sha256"], outputs["not_after"]) == (info.sha256, info.not_after.isoformat())
    assert "first issue" in life.moments["first"].preview


def test_second_up_changes_nothing(life: Life) -> None:
    assert life.second_up is not None
    assert "4 unchanged" in life.second_up.stdout
    assert "updated" not in life.second_up.stdout


@pytest.mark.parametrize(
    ("moment", "why"),
    [("san", "SAN added: db2.internal"), ("days and generation", "days 397 → 90, CERTIFICATE_GENERATION 1 → 2")],
)
def test_preview_says_why_and_touches_the_server_certificate_alone(life: Life, moment: str, why: str) -> None:
    preview = life.moments[moment].preview
    assert f'=> "{why}"' in preview
    assert "~ 1 to update\n    3 unchanged" in preview
    assert life.moments[moment].outputs["reason"] == why


def test_reissue_keeps_the_ca_and_makes_another_certificate(life: Life) -> None:
    moments = [moment.outputs for moment in life.moments.values()]
    assert len({outputs["ca_pem"] for outputs in moments}) == 1
    assert len({outputs["certificate_sha256"] for outputs in moments}) == 3
    last = moments[-1]
    assert last["names"] == ["db.lab.internal", "db2.internal"]
    left = datetime.fromisoformat(last["not_after"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)


def test_expired_certificate_is_not_reissued_by_an_up(life: Life) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1000)
    authority = create_authority("long ago", now=long_ago)
    expired = issue_server(authority, CertificateRequest(names=("db.lab.internal",)), now=long_ago)
    _put_into_state(life.stack, expired)
    assert "4 unchanged" in life.stack.up().stdout
    assert life.stack.outputs()["certificate_pem"] == expired.certificate_pem


def _put_into_state(stack: Stack, pair: KeyPair) -> None:
    state = json.loads(stack.ok("stack", "export").stdout)
    [server] = [one for one in state["deployment"]["resources"] if one["urn"].endswith("::certificates.server")]
    server["outputs"] |= {"certificate_pem": pair.certificate_pem, "not_after": "2025-01-01T00:00:00+00:00"}
    file = stack.folder / "state.json"
    file.write_text(json.dumps(state))
    stack.ok("stack", "import", "--file", str(file))


def test_changed_code_changes_nothing_in_the_stack(life: Life, tmp_path: Path) -> None:
    before = life.stack.resources()
    for package in ("components", "pki", "rollout"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / "components" / "certificates.py"
    changed.write_text(changed.read_text().replace("def _now()", "def _added() -> None: ...\n\n\ndef _now()"))
    life.stack.environment["PYTHONPATH"] = str(tmp_path)
    try:
        assert "4 unchanged" in life.stack.up().stdout
    finally:
        del life.stack.environment["PYTHONPATH"]
    after = life.stack.resources()
    for name in ("certificates.authority", "certificates.server"):
        assert after[name]["outputs"]["__provider"] == before[name]["outputs"]["__provider"]
        assert len(after[name]["outputs"]["__provider"]) < 120


def test_without_the_passphrase_that_sealed_the_cas_key_nothing_changes_and_the_error_says_what_to_set(
    life: Life,
) -> None:
    before = life.stack.outputs()
    life.stack.configure("generation", "3")
    life.stack.environment["INTERNAL_TLS_SEALING_PASSPHRASE"] = "another one"
    try:
        said = life.stack.refused("up", "--yes", "--skip-preview").output
    finally:
        del life.stack.environment["INTERNAL_TLS_SEALING_PASSPHRASE"]
    assert "Set INTERNAL_TLS_SEALING_PASSPHRASE to the passphrase that was in force when the CA was made" in said
    assert "Traceback" not in said
    assert life.stack.outputs() == before
