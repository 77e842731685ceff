"""The two calls to Secrets Manager that this project makes itself, and what they may say.

boto3 is imported where it is used: half a second that a preview which asks nothing does not pay. Every wait is bounded.
No message carries a secret's value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_secretsmanager import SecretsManagerClient

_CONNECT_SECONDS = 3
_READ_SECONDS = 10
_ATTEMPTS = 3


class RefusedByAws(RuntimeError):
    """Secrets Manager could not be asked, or said no."""


def connect(*, region: str, endpoint_url: str) -> SecretsManagerClient:
    """A client; `endpoint_url` "" means AWS itself. Credentials come from AWS's default chain."""
    import boto3
    from botocore.config import Config

    bounded = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
    )
    return boto3.client("secretsmanager", region_name=region or None, endpoint_url=endpoint_url or None, config=bounded)


def put_version(client: SecretsManagerClient, *, secret_id: str, version_id: str, value: str) -> None:
    """Writes a secret's value as its current version. Raises RefusedByAws.

    `version_id` has 32 to 64 characters; writing the same value under it again changes nothing.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.put_secret_value(SecretId=secret_id, ClientRequestToken=version_id, SecretString=value)
    except ClientError as error:
        raise RefusedByAws(f"Secrets Manager did not store {secret_id}: {error.response['Error']['Code']}") from None
    except BotoCoreError as error:
        # A parameter's validation error quotes the parameter; the type alone says enough.
        raise RefusedByAws(f"Secrets Manager could not be asked to store {secret_id}: {type(error).__name__}") from None


def deletion_date(client: SecretsManagerClient, secret_id: str) -> datetime | None:
    """The `DeletedDate` of a secret that is in its recovery window; None where it is not, or does not exist.

    Raises RefusedByAws.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return client.describe_secret(SecretId=secret_id).get("DeletedDate")
    except client.exceptions.ResourceNotFoundException:
        return None
    except (BotoCoreError, ClientError) as error:
        raise RefusedByAws(f"Secrets Manager could not be asked about {secret_id}: {type(error).__name__}") from None
