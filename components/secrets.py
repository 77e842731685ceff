"""The three secrets that hosts read: base64 of PEM, one each, so that an app host never sees the key.

The secrets themselves (name, KMS key, tags, who may read) exist from the first `up` on, empty until certificates are
issued. When CERTIFICATE_GENERATION goes back to 0 they stay, with the last values in them (Secrets Manager has no way
to empty a secret), and the next generation writes the next values: the recovery window that follows a deletion is
never met on the way. It is met after `pulumi destroy`: see `RecoveryWindow`.

The CA and the certificate are ordinary `SecretVersion`s. The private key is written by `components.delivery`, because
an input of a resource is printed by the engine at `-v=9`.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.delivery import SealedSecretVersion
from components.reader_policy import CA, CERTIFICATE, KEY, reader_policy
from components.secrets_manager import connect, deletion_date

if TYPE_CHECKING:
    from components.certificates import Certificates
    from rollout.config import SecretsManager

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        CA: "Base64 PEM of the internal CA.",
        CERTIFICATE: "Base64 PEM of the server certificate.",
        KEY: "Base64 PEM of the server private key. Decoded with mode 0600, owner 70:70.",
    }
)
"""The variables, each a secret, and what is in it."""

_PREFIX = re.compile(r"[A-Za-z0-9/_+=.@-]{0,480}")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_RECOVERY_DAYS = (0, *range(7, 31))
"""What Secrets Manager accepts; 0 deletes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsArgs:
    """Where the secrets are kept and who reads them. Raises ValueError with every problem, each with its config key.

    `endpoint_url` "" means AWS itself, `kms_key_id` "" the account's default key. Without role ARNs it is left to
    identity policies who reads what.
    """

    prefix: str
    region: str
    endpoint_url: str = ""
    kms_key_id: str = ""
    recovery_window_in_days: int = 30
    server_role_arns: tuple[str, ...] = ()
    app_role_arns: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        if not _PREFIX.fullmatch(self.prefix):
            yield f"secrets.prefix: {self.prefix!r} has characters that a secret's name can't have"
        if self.recovery_window_in_days not in _RECOVERY_DAYS:
            yield f"secrets.recoveryWindowDays: {self.recovery_window_in_days!r} is neither 0 nor 7 to 30"
        for key, arns in (("serverRoleArns", self.server_role_arns), ("appRoleArns", self.app_role_arns)):
            for arn in arns:
                if not _ROLE_ARN.fullmatch(arn):
                    yield f"secrets.{key}: {arn!r} is no role's ARN, such as arn:aws:iam::123456789012:role/database"

    @classmethod
    def from_config(cls, config: SecretsManager) -> SecretsArgs:
        """From the stack's parsed config."""
        return cls(
            prefix=config.prefix,
            region=config.region,
            endpoint_url=config.endpoint,
            kms_key_id=config.kms_key_id,
            recovery_window_in_days=config.recovery_days,
            server_role_arns=config.server_role_arns,
            app_role_arns=config.app_role_arns,
            tags=config.tags,
        )

    def name(self, variable: str) -> str:
        """The secret's name in Secrets Manager: `voiceai/staging/INTERNAL_CA_CRT_B64`."""
        return f"{self.prefix}{variable}"


class RecoveryWindow:
    """Says what to do where a secret that is to be created was deleted and its name is not free yet.

    Secrets Manager keeps a deleted secret, and its name, for the recovery window; creating it again then fails with
    a message that leaves the way out open. This asks beforehand, at preview too. Where it can't ask (no credentials,
    no permission, no network) it says nothing: the creation itself will.
    """

    def __init__(self, args: SecretsArgs) -> None:
        self._args = args

    async def before_create(self, hook: pulumi.ResourceHookArgs) -> None:
        """Raises where the name is taken by a deleted secret."""
        name = (hook.new_inputs or {}).get("name")
        if isinstance(name, str) and (refusal := await asyncio.to_thread(self.refusal, name)):
            raise RuntimeError(refusal)

    def refusal(self, name: str) -> str | None:
        """What is so and what to do; None where the name is free, or it can't be told."""
        try:
            deleted = deletion_date(connect(region=self._args.region, endpoint_url=self._args.endpoint_url), name)
        except Exception:  # whatever keeps us from asking: the creation itself will tell
            return None
        if deleted is None:
            return None
        where = f" --region {self._args.region}" if self._args.region else ""
        where += f" --endpoint-url {self._args.endpoint_url}" if self._args.endpoint_url else ""
        return (
            f"{name} was deleted (Secrets Manager's date: {deleted:%Y-%m-%d}) and its name is taken until the recovery "
            "window is over. Its old values are of no use, a new CA is issued: delete it for good with "
            f"`aws secretsmanager delete-secret --secret-id {name} --force-delete-without-recovery{where}`, "
            "or set another secrets.prefix"
        )


class Secrets(pulumi.ComponentResource):
    """The three secrets, empty; `store` gives them their values. The AWS provider comes in `opts.providers`."""

    arns: Mapping[str, pulumi.Output[str]]
    """Each secret's ARN by variable."""

    def __init__(self, name: str, args: SecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("internal-tls:index:Secrets", name, None, opts)
        self._name = name
        self._args = args
        free = pulumi.ResourceHook(
            f"{name}.recovery-window", RecoveryWindow(args).before_create, pulumi.ResourceHookOptions(on_dry_run=True)
        )
        secrets = {variable: self._secret(variable, free) for variable in DESCRIPTIONS}
        self._policies = [policy for variable in DESCRIPTIONS if (policy := self._policy(variable, secrets[variable]))]
        self.arns = {variable: secret.arn for variable, secret in secrets.items()}
        self.register_outputs({"arns": dict(self.arns)})

    def store(self, certificates: Certificates) -> None:
        """The secrets' values. Policies stand before the first value does."""
        for variable, pem in ((CA, certificates.ca_pem), (CERTIFICATE, certificates.certificate_pem)):
            aws.secretsmanager.SecretVersion(
                f"{self._name}.{variable}.value",
                secret_id=self.arns[variable],
                secret_string=pem.apply(_base64),
                opts=pulumi.ResourceOptions(parent=self, depends_on=self._policies),
            )
        SealedSecretVersion(
            f"{self._name}.{KEY}.value",
            secret_arn=self.arns[KEY],
            sealed=certificates.key_sealed,
            certificate_sha256=certificates.certificate_sha256,
            region=self._args.region,
            endpoint_url=self._args.endpoint_url,
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._policies),
        )

    def _secret(self, variable: str, free: pulumi.ResourceHook) -> aws.secretsmanager.Secret:
        return aws.secretsmanager.Secret(
            f"{self._name}.{variable}",
            name=self._args.name(variable),
            description=DESCRIPTIONS[variable],
            kms_key_id=self._args.kms_key_id or None,
            recovery_window_in_days=self._args.recovery_window_in_days,
            tags=dict(self._args.tags) or None,
            opts=pulumi.ResourceOptions(parent=self, hooks=pulumi.ResourceHookBinding(before_create=[free])),
        )

    def _policy(self, variable: str, secret: aws.secretsmanager.Secret) -> aws.secretsmanager.SecretPolicy | None:
        document = reader_policy(
            variable, server_role_arns=self._args.server_role_arns, app_role_arns=self._args.app_role_arns
        )
        if document is None:
            return None
        return aws.secretsmanager.SecretPolicy(
            f"{self._name}.{variable}.readers",
            secret_arn=secret.arn,
            policy=document,
            block_public_policy=True,
            opts=pulumi.ResourceOptions(parent=self),
        )


def _base64(pem: str) -> str:
    return base64.b64encode(pem.encode("ascii")).decode("ascii")
