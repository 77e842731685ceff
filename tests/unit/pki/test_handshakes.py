"""Real handshakes: what the certificates are for. Each claim has a refused twin."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pki.issue import KeyPair, create_authority, issue_server
from pki.request import KEY_TYPES, CertificateRequest
from tests.unit.pki.clock import now

REQUEST = CertificateRequest(names=("db.lab.internal", "*.pods.internal", "127.0.0.1"))
_SECONDS = 10.0


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return create_authority("lab CA", now=now())


@pytest.fixture(scope="module")
def stranger() -> KeyPair:
    """Another CA under the very same name."""
    return create_authority("lab CA", now=now())


def written(folder: Path, pair: KeyPair, name: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_text(pair.certificate_pem)
    key.touch(mode=0o600)
    key.write_text(pair.key_pem)
    return certificate, key


def strict_context(ca_pem: str) -> ssl.SSLContext:
    """Python 3.13's default, spelled out for the versions before it."""
    context = ssl.create_default_context(cadata=ca_pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


@contextmanager
def serving(folder: Path, pair: KeyPair) -> Iterator[int]:
    """A TLS server that says `hello` to whoever completes a handshake; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*written(folder, pair, "served"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.settimeout(_SECONDS)
                with connection:
                    try:
                        with context.wrap_socket(connection, server_side=True) as tls:
                            tls.sendall(b"hello")
                    except OSError:
                        continue  # the client refused us, which is half of what is tested

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            # Wakes `accept`, which closing the socket under it would not.
            socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=_SECONDS).close()
            thread.join(_SECONDS)


def greeting(port: int, *, ca_pem: str, dialled: str) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as plain,
        strict_context(ca_pem).wrap_socket(plain, server_hostname=dialled) as tls,
    ):
        return tls.recv(5)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_strict_python_client_accepts_the_chain_for_every_name(
    tmp_path: Path, authority: KeyPair, key_type: str
) -> None:
    request = CertificateRequest(names=REQUEST.names, key_type=key_type)
    with serving(tmp_path, issue_server(authority, request, now=now())) as port:
        for dialled in ("db.lab.internal", "redis.pods.internal", "127.0.0.1"):
            assert greeting(port, ca_pem=authority.certificate_pem, dialled=dialled) == b"hello"


def test_strict_python_client_refuses_the_wrong_ca_and_the_wrong_name(
    tmp_path: Path, authority: KeyPair, stranger: KeyPair
) -> None:
    with serving(tmp_path, issue_server(authority, REQUEST, now=now())) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            greeting(port, ca_pem=stranger.certificate_pem, dialled="db.lab.internal")
        for dialled in ("db2.lab.internal", "pods.internal", "127.0.0.2"):
            with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
                greeting(port, ca_pem=authority.certificate_pem, dialled=dialled)


def test_a_reissued_certificate_is_accepted_by_those_who_trust_the_ca_already(
    tmp_path: Path, authority: KeyPair
) -> None:
    trusted = authority.certificate_pem
    for names in (("db.lab.internal",), ("db.lab.internal", "db2.lab.internal")):
        reissued = issue_server(authority, CertificateRequest(names=names), now=now())
        with serving(tmp_path, reissued) as port:
            assert greeting(port, ca_pem=trusted, dialled=names[-1]) == b"hello"


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *arguments], capture_output=True, text=True, input="", timeout=_SECONDS, check=False
    )


def verified(ca: Path, leaf: Path, dialled: str) -> subprocess.CompletedProcess[str]:
    return openssl(
        *("verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", dialled),
        *("-CAfile", str(ca), "-no-CApath", "-no-CAstore", str(leaf)),
    )


def test_openssl_verifies_the_chain_strictly_and_refuses_wrong_ca_and_name(
    tmp_path: Path, authority: KeyPair, stranger: KeyPair
) -> None:
    leaf, _ = written(tmp_path, issue_server(authority, REQUEST, now=now()), "server")
    ca, _ = written(tmp_path, authority, "ca")
    other, _ = written(tmp_path, stranger, "stranger")
    accepted = verified(ca, leaf, "db.lab.internal")
    assert (accepted.returncode, accepted.stdout.strip()) == (0, f"{leaf}: OK"), accepted.stderr
    wrong_name, wrong_ca = verified(ca, leaf, "db2.lab.internal"), verified(other, leaf, "db.lab.internal")
    assert "hostname mismatch" in wrong_name.stderr
    assert "authority and subject key identifier mismatch" in wrong_ca.stderr or "unable to get" in wrong_ca.stderr
    assert wrong_name.returncode != 0
    assert wrong_ca.returncode != 0


def test_openssl_s_client_completes_a_verified_handshake_and_refuses_the_wrong_name(
    tmp_path: Path, authority: KeyPair
) -> None:
    ca, _ = written(tmp_path, authority, "ca")
    with serving(tmp_path, issue_server(authority, REQUEST, now=now())) as port:

        def connect(dialled: str) -> subprocess.CompletedProcess[str]:
            return openssl(
                *("s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(ca), "-verify_return_error"),
                *("-verify_hostname", dialled, "-servername", dialled, "-brief"),
            )

        accepted, refused = connect("db.lab.internal"), connect("db2.lab.internal")
    assert "Verification: OK" in accepted.stderr, accepted.stderr
    assert "Verified peername: db.lab.internal" in accepted.stderr
    assert refused.returncode != 0
    assert "ostname mismatch" in refused.stderr, refused.stderr
