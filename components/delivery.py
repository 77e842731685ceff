"""Puts the server's private key into Secrets Manager without the engine ever holding it.

`aws.secretsmanager.SecretVersion` takes the value as an input, and the engine prints inputs in plaintext at `-v=9`,
secret or not. So the key travels sealed (`pki.sealing`) and is opened here, in the provider's process, which writes it
itself, with the same credentials as the AWS provider: AWS's default chain.

The version's id is the certificate's SHA-256: a repeated write is no new version, and one sees which certificate a key
belongs to without reading it.

The engine keeps a reference to the provider class by module and name: do not rename this module or the class.
"""

from __future__ import annotations

import base64
from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from components.secrets_manager import RefusedByAws, connect, put_version

_INPUTS = ("secret_arn", "sealed", "certificate_sha256", "region", "endpoint_url")


class SealedSecretVersionProvider(ResourceProvider):
    """Opens a sealed key and writes it as a secret's current version."""

    # The reference to this class is no secret, and in plaintext it can be seen to stay what it is.
    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Only what is asked for: outputs' placeholders are left out."""
        return CheckResult({key: news[key] for key in _INPUTS}, [])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Another certificate is another version, another secret another resource; sealing anew is neither."""
        replaces = ["secret_arn"] if olds.get("secret_arn") != news["secret_arn"] else []
        changes = bool(replaces) or olds.get("certificate_sha256") != news["certificate_sha256"]
        return DiffResult(changes=changes, replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Writes the version."""
        return CreateResult(props["secret_arn"], _write(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Writes the next version; Secrets Manager keeps the one before as AWSPREVIOUS."""
        return UpdateResult(_write(news))


def _write(props: dict[str, Any]) -> dict[str, Any]:
    from components.key_material import open_server_key

    sha256 = props["certificate_sha256"]
    key_pem = open_server_key(props["sealed"], sha256)
    client = connect(region=props["region"], endpoint_url=props["endpoint_url"])
    try:
        put_version(
            client, secret_id=props["secret_arn"], version_id=sha256, value=base64.b64encode(key_pem.encode()).decode()
        )
    except RefusedByAws as error:
        raise RuntimeError(str(error)) from None
    return {key: props[key] for key in _INPUTS} | {"version_id": sha256}


class SealedSecretVersion(Resource, module="tls", name="SealedSecretVersion"):
    """A secret's current version, from a sealed value. Deleting it leaves the version: the secret itself is deleted."""

    version_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        secret_arn: pulumi.Input[str],
        sealed: pulumi.Input[str],
        certificate_sha256: pulumi.Input[str],
        region: str,
        endpoint_url: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "secret_arn": secret_arn,
            "sealed": sealed,
            "certificate_sha256": certificate_sha256,
            "region": region,
            "endpoint_url": endpoint_url,
        }
        super().__init__(SealedSecretVersionProvider(), name, {"version_id": None, **inputs}, opts)
