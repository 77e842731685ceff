"""A rollout on the real engine with the pack: the program's own components, hosts over SSH, Secrets Manager by moto.

`twist` is Python that the program runs before it builds anything: how somebody would change the program to get past.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pki.issue import create_authority
from tests.engine.leaks import hits
from tests.engine.ssh_hosts import SshHosts
from tests.engine.stacks import ROOT, Ran, Stack

PACK = ("--policy-pack", str(ROOT / "policy"))

PLANTED = create_authority("planted", now=datetime.now(UTC)).key_pem
"""A private key that tests put where none belongs."""

PROGRAM = f"""
import json, os, sys
sys.path[:0] = [{str(ROOT)!r}]
from dataclasses import replace
import pulumi
import components.hosts, components.ledger, components.secrets
from components.aws_provider import secrets_manager_provider
from components.certificates import Certificates
from components.ledger import CertificatesInUse, Ledger, announce, own_receipts
from components.secrets import Secrets, SecretsArgs
from pki.request import CertificateRequest
from pulumi_command import local, remote
from rollout.config import SecretsManager, Ssh
from rollout.inventory import Host
from rollout.render import generation
from tests.unit.rollout.declarations import declared, having

given = json.loads(os.environ["GIVEN"])
components.secrets.RecoveryWindow.refusal = lambda *_: None
state = dict(word.split("=") for word in given["state"].split(",") if word)
plain = declared(**state)
request = CertificateRequest(names=plain.certificate.names, **given.get("request", {{}}))
certificate = replace(plain.certificate, days=request.days, key_type=request.key_type, request=request.digest())
site = replace(plain.site, protected=given.get("protected", False))
wanted = replace(plain, certificate=certificate, site=site)
where = SecretsManager(prefix=site.secrets_prefix, region="eu-west-1", endpoint=given["endpoint"], server_role_arns=(),
                       app_role_arns=(), tags={{}}, **given.get("secrets", {{"kms_key_id": "", "recovery_days": 30}}))
ssh = Ssh(private_key_file="", private_key=given["private_key"], timeout_seconds=60)
machines = tuple(
    Host(name=name, address="127.0.0.1", port=given["ports"][name], user="root", host_key=given["host_key"])
    for name in wanted.hosts
)
exec(given.get("twist", ""))
own_receipts = globals().get("faked_receipts") or own_receipts
receipts = own_receipts()
ledger = Ledger("ledger", declared=wanted, receipts=receipts)
announce(ledger, receipts)
provider = secrets_manager_provider("secrets-manager", where)
opts = pulumi.ResourceOptions(providers=[provider], depends_on=[ledger])
secrets = Secrets("secrets", SecretsArgs.from_config(where), opts=opts)
certificates = None
if generation(wanted.settings) > 0:
    certificates = Certificates("certificates", request, generation=ledger.generation)
    secrets.store(certificates)
hosts = components.hosts.Hosts(
    "hosts", hosts=machines, ssh=ssh, contents=ledger.contents, revisions=ledger.revisions, order=ledger.order,
    certificate_sha256=certificates.certificate_sha256 if certificates else "",
    ca_sha256=certificates.ca_sha256 if certificates else "",
    after=[secrets],
)
everything = [resource for resource in (ledger, secrets, certificates, hosts) if resource]
CertificatesInUse("certificates-in-use", generation=ledger.generation,
                  opts=pulumi.ResourceOptions(depends_on=everything))
pulumi.export("receipts", hosts.receipts)
"""


@dataclass(slots=True, kw_only=True)
class Trial:
    """A stack, its hosts, and what the program is given."""

    stack: Stack
    hosts: SshHosts
    given: dict[str, Any]

    @classmethod
    def begun(cls, folder: Path, hosts: SshHosts, endpoint: str) -> Trial:
        given = {
            "state": "",
            "endpoint": endpoint,
            "ports": hosts.ports,
            "host_key": hosts.host_key,
            "private_key": hosts.private_key,
        }
        stack = Stack(folder=folder, program=PROGRAM)
        aws = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
        stack.environment |= aws
        return cls(stack=stack, hosts=hosts, given=given)

    def copy(self, folder: Path) -> Trial:
        return Trial(stack=self.stack.copy(folder), hosts=self.hosts, given=dict(self.given))

    def run(self, *arguments: str, **changes: Any) -> Ran:
        """One command; `changes` of what the program is given hold for it alone. No output ever holds a key."""
        self.stack.environment["GIVEN"] = json.dumps(self.given | changes)
        ran = self.stack.run(*arguments)
        printed = ran.output.encode()
        for name, key in (("the SSH key", self.hosts.private_key), ("the planted key", PLANTED)):
            found = [line for line in key.encode().splitlines()[1:-1] if line in printed]
            assert not found, f"{name} is in the output of pulumi {arguments[0]}"
        assert hits({"output": printed}, PLANTED) == []
        return ran

    def ok(self, *arguments: str, **changes: Any) -> Ran:
        ran = self.run(*arguments, **changes)
        assert ran.returncode == 0, ran.output[-8000:]
        return ran

    def refused(self, *arguments: str, **changes: Any) -> Ran:
        ran = self.run(*arguments, **changes)
        assert ran.returncode != 0, ran.output[-8000:]
        return ran

    def up(self, state: str, *arguments: str) -> Ran:
        """Applied with the pack, from now on in that state."""
        self.given["state"] = state
        return self.ok("up", "--yes", "--skip-preview", *PACK, *arguments)

    def urn(self, name: str) -> str:
        return str(self.stack.resources()[name]["urn"])


def violations(output: str) -> dict[str, str]:
    """What each policy said in a command's output: `{"rollout-move": "…"}`, advisory ones among them."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in output.partition("\nPolicies:")[2].partition("\nDiagnostics:")[0].splitlines():
        text = line.strip()
        if text.startswith(("- [mandatory]", "- [advisory]")):
            name = text.split("]", 1)[1].split()[0]
        elif name:
            found.setdefault(name, []).append(text)
    return {name: "\n".join(lines) for name, lines in found.items()}
