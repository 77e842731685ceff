"""Certificates for the tests, made anew each time, with every defect that a host must notice.

On purpose not `pki/`: the host's checks are tested against an issuer of its own.
"""

import base64
import datetime
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("db.lab.internal", "voiceai-postgres", "voiceai-pgbouncer", "voiceai-redis")
SECRETS = {
    "SECRET_CA": "voiceai/lab/INTERNAL_CA_CRT_B64",
    "SECRET_CERT": "voiceai/lab/INTERNAL_TLS_CERT_B64",
    "SECRET_KEY": "voiceai/lab/INTERNAL_TLS_KEY_B64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the DER."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def authority(name: str = "lab CA", *, is_ca: bool = True) -> Pair:
    """A self-signed CA, or with `is_ca=False` something that only looks like one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key.public_key(), days=3650).add_extension(
        x509.BasicConstraints(ca=is_ca, path_length=None), critical=True
    )
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return Pair(certificate=builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key=key)


def server(ca: Pair, *, names: tuple[str, ...] = NAMES, days: int = 397) -> Pair:
    """A server certificate; a negative number of days makes one that has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = (
        _builder(subject, ca.certificate.subject, key.public_key(), days=days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
    )
    return Pair(certificate=builder.sign(ca.key, hashes.SHA256()), key=key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days) if days > 0 else now - datetime.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What one certificate generation puts into Secrets Manager, and what the settings say of it."""

    number: int
    ca: Pair
    leaf: Pair

    def settings(self) -> dict[str, str]:
        """The certificate's keys of a host's settings."""
        return {
            "CERTIFICATE_GENERATION": str(self.number),
            "CERTIFICATE_REQUEST": f"{self.number:016x}",
            "CERTIFICATE_SHA256": self.leaf.sha256,
            "CA_SHA256": self.ca.sha256,
        }

    def secrets(self) -> dict[str, str]:
        """Secret name to SecretString."""
        values = (self.ca.pem, self.leaf.pem, self.leaf.key_pem)
        return {name: base64.b64encode(pem).decode() for name, pem in zip(SECRETS.values(), values, strict=True)}


def settings_text(values: dict[str, str], **changed: str) -> str:
    """Settings as the program writes them."""
    return "".join(f"{key}={value}\n" for key, value in {**values, **changed}.items())


def server_settings(**changed: str) -> dict[str, str]:
    """A database host before any step."""
    return {
        "REVISION": "1",
        "ENVIRONMENT": "lab",
        "ROLES": "postgres,pgbouncer,redis",
        "CERTIFICATE_GENERATION": "0",
        "DIALED_NAMES": ",".join(NAMES),
        "PREPARED": "on",
        "POSTGRES_TLS_ENABLED": "off",
        "PGBOUNCER_SERVER_TLS_SSLMODE": "disable",
        "PGBOUNCER_CLIENT_TLS_SSLMODE": "disable",
        "POSTGRES_FORCE_SSL": "off",
        "REDIS_TLS_ENABLED": "false",
        "REDIS_FORCE_TLS": "false",
        "REDIS_TLS_PORT": "6380",
        "QUIET_MINUTES": "0",
        "DRAIN_STRAGGLERS": "off",
        **SECRETS,
        "AWS_REGION": "eu-west-1",
        **changed,
    }


def wanted(generation: Generation, **changed: str) -> str:
    """The settings text of a database host that has this generation."""
    return settings_text(server_settings(**generation.settings(), **changed))


def app_settings(**changed: str) -> dict[str, str]:
    """An app host before any step."""
    return {
        "REVISION": "1",
        "ENVIRONMENT": "lab",
        "ROLES": "app",
        "APPS": "api",
        "CERTIFICATE_GENERATION": "0",
        "REDIS_TLS_PORT": "6380",
        "apps.api.DATABASE_SSL_MODE": "disable",
        "apps.api.DATABASE_SSL_CA_FILE": "/etc/ssl/internal/ca.crt",
        "apps.api.REDIS_TLS_ENABLED": "false",
        "apps.api.REDIS_TLS_CA_FILE": "/etc/ssl/internal/ca.crt",
        "apps.api.USES": "postgres,redis",
        "apps.api.KIND": "service",
        # A directory and a file that are there; before any step nothing is written to them.
        "apps.api.DIRECTORY": "/etc",
        "apps.api.ENV_FILE": "/etc/hostname",
        "apps.api.SERVICES": "api-1,api-2",
        "apps.api.DRAIN_SECONDS": "30",
        "apps.api.ACCEPT_RESTART": "false",
        "SECRET_CA": SECRETS["SECRET_CA"],
        "AWS_REGION": "eu-west-1",
        **changed,
    }
