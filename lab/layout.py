"""A lab's names and the places of its files. Pure: nothing here touches the disk.

Several labs live side by side on one Docker daemon (the demo's, the tests'), also from several checkouts: a lab's name
carries a digest of the checkout's path and of the lab's own id.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ID = "lab"

APP_OF = {
    "api1": "api",
    "api2": "api",
    "web": "web",
    "voice": "voice",
    "ops": "ops",
    "worker": "worker",
    "telpro": "telpro",
}
"""Each app host, and the app that runs there. `worker` is one that the seed does not know; `telpro` is Kamailio."""

APP_HOSTS = tuple(APP_OF)
HOSTS = ("database", *APP_HOSTS)
HTTP_APPS = tuple(dict.fromkeys(app for app in APP_OF.values() if app != "telpro"))

# Ports inside the containers.
SSH = 22
MOTO = 5000
PGBOUNCER, POSTGRES, REDIS, REDIS_TLS = 5432, 5433, 6379, 6380
SERVER_PORTS = (PGBOUNCER, POSTGRES, REDIS, REDIS_TLS)
PROXY = 8000
REPLICAS = (8001, 8002)
SIP, GATEWAY = 5060, 5070

# Names inside the lab's network.
DATABASE_DNS = "db.lab.internal"
LOAD_DNS = "load.lab.internal"
SECRETS_DNS = "secretsmanager.lab.internal"

# The last part of each address in the lab's subnet. The upper half is left to whatever else is started there.
ADDRESSES = {
    "database": 2,
    "voiceai-postgres": 11,
    "voiceai-pgbouncer": 12,
    "voiceai-redis": 13,
    **{host: 21 + number for number, host in enumerate(APP_HOSTS)},
    "load": 41,
    "moto": 42,
}
REGION = "eu-west-1"
SECRETS_PREFIX = "voiceai/lab/"
STACK = "lab"

# Labels on everything that a lab creates, by which it is found again.
LABEL_LAB = "internal-tls.lab"
LABEL_ID = "internal-tls.lab-id"
LABEL_CHECKOUT = "internal-tls.checkout"
COMPOSE_LABEL = "com.docker.compose.project"

_ID = re.compile(r"[a-z][a-z0-9-]{0,19}")


def checkout_digest(project: Path) -> str:
    """Eight hex digits that tell this checkout from others on the machine."""
    return hashlib.sha256(str(project).encode()).hexdigest()[:8]


def dns(host: str) -> str:
    """A host's name in the lab's network."""
    return DATABASE_DNS if host == "database" else f"{host}.lab.internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where one lab keeps what."""

    lab_id: str
    project: Path

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.lab_id) is None:
            raise ValueError(
                f"lab id {self.lab_id!r}: lower-case letters, digits and dashes, at most 20, a letter first"
            )

    @property
    def name(self) -> str:
        """The lab's name in Docker: its network, its compose project, the first part of its containers' names."""
        digest = hashlib.sha256(f"{self.project}\0{self.lab_id}".encode()).hexdigest()
        return f"tlslab-{digest[:8]}"

    @property
    def container_prefix(self) -> str:
        """Before the servers' container names. Empty for the demo's lab, so that the documented commands work in it."""
        return "" if self.lab_id == DEFAULT_ID else f"{self.name}-"

    def server(self, service: str) -> str:
        """The container name of a compose service (`voiceai-postgres`, …)."""
        return f"{self.container_prefix}{service}"

    def host(self, host: str) -> str:
        """The container name of a host."""
        return f"{self.name}-{host}"

    def project_of(self, host: str) -> str:
        """The compose project of what runs on a host."""
        return self.name if host == "database" else f"{self.name}-{host}"

    @property
    def load_container(self) -> str:
        """The container name of what sends the load."""
        return f"{self.name}-load"

    @property
    def moto(self) -> str:
        """The container name of the stand-in for Secrets Manager."""
        return f"{self.name}-moto"

    @property
    def build(self) -> Path:
        """The ignored folder that all labs and reports share."""
        return self.project / "build"

    @property
    def root(self) -> Path:
        """This lab's own folder, removed with it."""
        return self.build / self.lab_id

    @property
    def lock(self) -> Path:
        """Held by whoever builds or removes this lab. Outside of `root`, which goes away."""
        return self.build / f".{self.lab_id}.lock"

    @property
    def ssh_key(self) -> Path:
        """The private key that the hosts accept."""
        return self.root / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys as ssh(1) wants them."""
        return self.root / "ssh" / "known_hosts"

    @property
    def ports(self) -> Path:
        """The machine's ports, chosen once, so that a reboot of a host does not change its address."""
        return self.root / "ports.json"

    @property
    def subnet(self) -> Path:
        """The lab's subnet, chosen once."""
        return self.root / "subnet"

    @property
    def state(self) -> Path:
        """Pulumi's local backend."""
        return self.root / "state"

    @property
    def passphrase(self) -> Path:
        """The passphrase that encrypts the state's secrets."""
        return self.root / "passphrase"

    @property
    def stack_config(self) -> Path:
        """The stack's configuration file."""
        return self.root / f"Pulumi.{STACK}.yaml"

    @property
    def env_file(self) -> Path:
        """`. build/<lab>/env` gives a shell in which `pulumi` works on this lab."""
        return self.root / "env"

    def etc(self, host: str) -> Path:
        """The host's /etc/voiceai."""
        return self.root / "hosts" / host / "etc-voiceai"

    def tls(self, host: str) -> Path:
        """The host's /etc/ssl/internal."""
        return self.root / "hosts" / host / "etc-ssl-internal"

    def ssh(self, host: str) -> Path:
        """The host's own key and whom it lets in."""
        return self.root / "hosts" / host / "ssh"

    def opt(self, host: str) -> Path:
        """An app host's /opt/<app>: its compose file, `.env` and the app's env file."""
        return self.root / "hosts" / host / f"opt-{APP_OF[host]}"

    @property
    def load(self) -> Path:
        """What sends the load has it as /lab/load: the program, passwords, results."""
        return self.root / "load"
