"""Secrets Manager for the `aws` stand-in: the provider's configuration, a client with bounded waits, AWS's errors.

pulumi-aws 7 sends structured and boolean configuration as JSON text (`endpoints`, `defaultTags`, `skip…`).
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from offline.provider import Failure, ProviderError
from offline.wire import Properties, has_unknown, plain

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 20
DEFAULT_ATTEMPTS: Final = 3

IGNORED: Final = frozenset(
    {"skipCredentialsValidation", "skipMetadataApiCheck", "skipRegionValidation", "skipRequestingAccountId"}
    | {"s3UsePathStyle", "version", "pluginDownloadURL"}
)
"""Accepted without effect: this provider makes none of the calls that they switch off or shape."""

KNOWN_CONFIG: Final = IGNORED | {
    "region",
    "endpoints",
    "accessKey",
    "secretKey",
    "token",
    "profile",
    "maxRetries",
    "defaultTags",
}

WHAT: Final = "pulumi:providers:aws"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsConfig:
    """Where to call, as whom, and the tags that every resource gets. Empty text means: boto3's own lookup."""

    region: str
    endpoint_url: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    profile: str = ""
    attempts: int = DEFAULT_ATTEMPTS
    default_tags: Mapping[str, str] = field(default_factory=dict)


def structured(value: Any) -> Any:
    """A value that may have been sent as JSON text. Raises ValueError where the text is no JSON."""
    return json.loads(value) if isinstance(value, str) else value


def check_config(config: Properties) -> list[Failure]:
    """What is wrong with a provider's configuration; values that are not known yet pass."""
    failures = [
        Failure(f"{WHAT}: {key!r} is not implemented by the stand-in provider (see offline/README.md)")
        for key in config
        if key not in KNOWN_CONFIG
    ]
    if "region" not in config:
        failures.append(Failure(f"{WHAT}: missing region configuration: set aws:region, AWS_REGION or `region`"))
    for key in ("endpoints", "defaultTags", "maxRetries"):
        if key not in config or has_unknown(config[key]):
            continue
        try:
            structured(plain(config[key]))
        except ValueError:
            failures.append(Failure(f"{WHAT}: {key!r} is not valid JSON"))
    return failures


def parse_config(config: Properties) -> AwsConfig:
    """A checked configuration."""
    settings = plain(config)
    endpoints = structured(settings.get("endpoints", [])) or []
    urls = [entry["secretsmanager"] for entry in endpoints if entry.get("secretsmanager")]
    tags = (structured(settings.get("defaultTags", {})) or {}).get("tags") or {}
    return AwsConfig(
        region=settings["region"],
        endpoint_url=urls[-1] if urls else "",
        access_key=settings.get("accessKey", ""),
        secret_key=settings.get("secretKey", ""),
        token=settings.get("token", ""),
        profile=settings.get("profile", ""),
        attempts=int(structured(settings.get("maxRetries", DEFAULT_ATTEMPTS))),
        default_tags=tags,
    )


class NotFound(ProviderError):
    """There is no such secret, version or policy."""


class BeingDeleted(ProviderError):
    """The secret is in its recovery window: reads and writes are refused until it is restored or gone."""


class SecretsManager:
    """Calls Secrets Manager in a thread; what AWS answers to a bad request becomes a ProviderError."""

    def __init__(self, config: AwsConfig) -> None:
        self.config = config
        self._client: Any = None
        self._lock = asyncio.Lock()

    async def call(self, operation: str, **parameters: object) -> dict[str, Any]:
        """`operation` is a boto3 method (`create_secret`). Waits at most attempts × (connect + read) seconds."""
        async with self._lock:
            if self._client is None:
                self._client = await asyncio.to_thread(make_client, self.config)
        return await asyncio.to_thread(self._call, operation, parameters)

    def _call(self, operation: str, parameters: dict[str, object]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        except ClientError as error:
            raise provider_error(operation, parameters, dict(error.response["Error"])) from None
        except BotoCoreError as error:
            where = self.config.endpoint_url or f"AWS region {self.config.region}"
            raise ProviderError(f"secretsmanager {operation} at {where}: {botocore_reason(error)}") from None
        return answer


def make_client(config: AwsConfig) -> Any:
    """boto3's client; importing it takes half a second, so only what calls AWS pays for it."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.session.Session(
            aws_access_key_id=config.access_key or None,
            aws_secret_access_key=config.secret_key or None,
            aws_session_token=config.token or None,
            profile_name=config.profile or None,
            region_name=config.region,
        )
        return session.client(
            "secretsmanager",
            endpoint_url=config.endpoint_url or None,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": max(1, config.attempts), "mode": "standard"},
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise ProviderError(f"{WHAT}: {error}") from None


def botocore_reason(error: Exception) -> str:
    """Why no answer came. A parameter that botocore refuses is named by its type alone: its text has the value."""
    from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ParamValidationError

    if isinstance(error, ParamValidationError):
        return "a parameter was refused before it was sent"
    if isinstance(error, NoCredentialsError):
        return "no credentials: set accessKey and secretKey, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
    if isinstance(error, EndpointConnectionError):
        return "the endpoint can't be reached; see the provider's `endpoints` and `region`"
    return str(error)


def provider_error(operation: str, parameters: Mapping[str, object], error: Mapping[str, object]) -> ProviderError:
    """AWS's code and message, with the secret that they are about."""
    code, message = str(error.get("Code", "?")), str(error.get("Message", ""))
    subject = parameters.get("SecretId", parameters.get("Name", ""))
    text = f"secretsmanager {operation} {subject}: {code}: {message}"
    if code == "ResourceNotFoundException":
        return NotFound(text)
    if code == "InvalidRequestException" and ("deleted" in message or "deletion" in message):
        return BeingDeleted(text)
    return ProviderError(text)
