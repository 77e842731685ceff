"""Postgres and Redis serve the certificate; libpq and redis-cli verify it. Each claim has a refused twin.

One container runs both servers from the lab's image. Files go in over stdin and are written by the servers' own user,
so that the key is 0600 70:70 without this test being root.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from lab.containers import DockerError, docker, exec_in, image_exists, published_port, remove
from lab.images import servers_image
from pki.issue import KeyPair, create_authority, issue_server
from pki.request import CertificateRequest
from tests.unit.pki.clock import now

_START_SECONDS = 30.0

POSTGRES = """
set -eu
initdb --pgdata=/data/pg --username=voiceai --auth=trust --no-sync >/dev/null
echo 'hostssl all all all trust' >>/data/pg/pg_hba.conf
exec postgres -D /data/pg -c listen_addresses='*' -c unix_socket_directories=/data \
  -c ssl=on -c ssl_cert_file=/tls/server.crt -c ssl_key_file=/tls/server.key
"""
REDIS = """
exec redis-server --dir /data --port 0 --tls-port 6380 --tls-auth-clients no \
  --tls-cert-file /tls/server.crt --tls-key-file /tls/server.key --tls-ca-cert-file /tls/ca.crt
"""


@dataclass(frozen=True, kw_only=True)
class Servers:
    container: str
    postgres_port: int
    ca: Path
    stranger: Path

    def logs(self) -> str:
        return exec_in(self.container, "sh", "-c", "tail -n 20 /data/*.log")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    image = servers_image()
    if not image_exists(image):
        pytest.skip(f"the lab's image {image} is missing: run `make setup`")
    authority = create_authority("lab CA", now=now())
    stranger = create_authority("lab CA", now=now())
    pair = issue_server(authority, CertificateRequest(names=("db.lab.internal", "127.0.0.1")), now=now())
    name = f"internal-tls-pki-{secrets.token_hex(4)}"
    writable = [argument for path in ("/tls", "/data") for argument in ("--tmpfs", f"{path}:uid=70,gid=70,mode=0700")]
    docker(
        *("run", "--rm", "--detach", "--name", name, "--user", "70:70", *writable),
        *("--publish", "127.0.0.1::5432", "--entrypoint", "sleep", image, "600"),
    )
    try:
        _write(name, pair, authority, stranger)
        for server, script in (("postgres", POSTGRES), ("redis", REDIS)):
            docker("exec", "--detach", name, "sh", "-c", f"({script}) >/data/{server}.log 2>&1")
        folder = tmp_path_factory.mktemp("trusted")
        (folder / "ca.crt").write_text(authority.certificate_pem)
        (folder / "stranger.crt").write_text(stranger.certificate_pem)
        found = Servers(
            container=name,
            postgres_port=published_port(name, 5432),
            ca=folder / "ca.crt",
            stranger=folder / "stranger.crt",
        )
        _await_both(found)
        yield found
    finally:
        remove("container", [name])


def _write(container: str, pair: KeyPair, authority: KeyPair, stranger: KeyPair) -> None:
    for name, text in {
        "ca.crt": authority.certificate_pem,
        "stranger.crt": stranger.certificate_pem,
        "server.crt": pair.certificate_pem,
        "server.key": pair.key_pem,
    }.items():
        exec_in(container, "sh", "-c", f"umask 077; cat >/tls/{name}", stdin=text.encode())


def _await_both(servers: Servers) -> None:
    """Until both servers answer in TLS, or the bound is over: then with what they logged."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            connect(servers, host="db.lab.internal", ca=servers.ca, sslmode="require").close()
            redis_ping(servers, "ca.crt")
            return
        except (psycopg.OperationalError, DockerError) as error:
            if time.monotonic() > deadline:
                pytest.fail(f"the servers do not answer after {_START_SECONDS:.0f} s: {error}\n{servers.logs()}")
            time.sleep(0.1)


def connect(
    servers: Servers, *, host: str, ca: Path, sslmode: str = "verify-full"
) -> "psycopg.Connection[tuple[object, ...]]":
    """`host` is what libpq verifies; where it connects to is this machine."""
    return psycopg.connect(
        host=host,
        hostaddr="127.0.0.1",
        port=servers.postgres_port,
        user="voiceai",
        dbname="postgres",
        sslmode=sslmode,
        sslrootcert=str(ca),
        connect_timeout=10,
    )


def redis_ping(servers: Servers, ca: str) -> str:
    command = f"timeout 10 redis-cli -p 6380 --tls --cacert /tls/{ca} ping"
    return exec_in(servers.container, "sh", "-c", f"{command} 2>&1")


@pytest.mark.parametrize("host", ["db.lab.internal", "127.0.0.1"])
def test_libpq_verify_full_accepts_postgres_under_every_san(servers: Servers, host: str) -> None:
    with connect(servers, host=host, ca=servers.ca) as connection:
        row = connection.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert row == (True, "TLSv1.3")


def test_libpq_verify_full_refuses_the_wrong_name(servers: Servers) -> None:
    with pytest.raises(psycopg.OperationalError, match=r'does not match host name "db2\.lab\.internal"'):
        connect(servers, host="db2.lab.internal", ca=servers.ca)


def test_libpq_verify_full_refuses_the_wrong_ca(servers: Servers) -> None:
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        connect(servers, host="db.lab.internal", ca=servers.stranger)


def test_redis_cli_accepts_redis_with_the_right_ca(servers: Servers) -> None:
    assert redis_ping(servers, "ca.crt") == "PONG"


def test_redis_cli_refuses_redis_with_the_wrong_ca(servers: Servers) -> None:
    # No twin for a wrong name: redis-cli checks none.
    said = exec_in(
        servers.container, "sh", "-c", "timeout 10 redis-cli -p 6380 --tls --cacert /tls/stranger.crt ping 2>&1 || true"
    )
    assert "certificate verify failed" in said
    assert "PONG" not in said
