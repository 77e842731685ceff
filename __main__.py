"""The program: reads config, builds the components, exports outputs. The rules are in `rollout/`."""

import os
import signal

import pulumi

from components.aws_provider import secrets_manager_provider
from components.certificates import Certificates
from components.hosts import Hosts
from components.ledger import CertificatesInUse, Ledger, announce, own_receipts
from components.secrets import Secrets, SecretsArgs
from components.stack_config import read_configuration
from rollout.render import generation

# When the engine gives up it interrupts the program; without this the user sees a page of KeyboardInterrupt.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

config = read_configuration()

receipts = own_receipts()
ledger = Ledger("ledger", declared=config.declared, receipts=receipts)
announce(ledger, receipts)

provider = secrets_manager_provider("secrets-manager", config.secrets)
opts = pulumi.ResourceOptions(providers=[provider], depends_on=[ledger])  # so that a refused move creates nothing
secrets = Secrets("secrets", SecretsArgs.from_config(config.secrets), opts=opts)
certificates = None
if generation(config.declared.settings) > 0:
    certificates = Certificates("certificates", config.request, generation=ledger.generation)
    secrets.store(certificates)

hosts = Hosts(
    "hosts",
    hosts=config.hosts,
    ssh=config.ssh,
    contents=ledger.contents,
    revisions=ledger.revisions,
    order=ledger.order,
    certificate_sha256=certificates.certificate_sha256 if certificates else "",
    ca_sha256=certificates.ca_sha256 if certificates else "",
    after=[secrets],
)
everything = [resource for resource in (ledger, secrets, certificates, hosts) if resource]
CertificatesInUse(
    "certificates-in-use", generation=ledger.generation, opts=pulumi.ResourceOptions(depends_on=everything)
)

# Everything that tells where the rollout stands depends on the receipts, so that a failed `up` leaves it as it was.
pulumi.export("receipts", hosts.receipts)
standing = pulumi.Output.all(ledger.standing, hosts.receipts).apply(lambda known: known[0])
pulumi.export("postgres", standing["postgres"])
pulumi.export("redis", standing["redis"])
pulumi.export(
    "certificate",
    {"sha256": certificates.certificate_sha256, "notAfter": certificates.not_after, "names": certificates.names}
    if certificates
    else {},
)
