"""`aws:secretsmanager/secretVersion:SecretVersion`: a secret's value, a secret in every input, output and message.

Semantics of Terraform's aws_secretsmanager_secret_version (6.x): another value is another version, so it *replaces*:
the new one takes the label AWSCURRENT, then the old one is removed, which for AWS means losing its labels; AWSCURRENT
can't be taken from a version, so removing the last version leaves the value in place until the secret goes.
"""
# ruff: noqa: ARG002  the methods of offline.provider.Resource, whether a type needs every argument or not

import uuid
from typing import Final

from offline import wire
from offline.aws_resource import Client, Schema, refreshed
from offline.provider import Call, Diff, Failure, ProviderError
from offline.secretsmanager import BeingDeleted, NotFound
from offline.wire import UNKNOWN, Properties, plain

TYPE: Final = "aws:secretsmanager/secretVersion:SecretVersion"

SCHEMA: Final = Schema(
    type=TYPE,
    inputs=frozenset({"secretId", "secretString"}),
    required=frozenset({"secretId", "secretString"}),
    replaces=frozenset({"secretId", "secretString"}),
)

CURRENT: Final = "AWSCURRENT"


def hidden(value: wire.Property) -> wire.Secret:
    return value if isinstance(value, wire.Secret) else wire.Secret(value)


class SecretVersion:
    """The resource type."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def check(self, call: Call, olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        inputs = dict(news)
        if "secretString" in inputs:
            inputs["secretString"] = hidden(inputs["secretString"])
        return inputs, SCHEMA.check(news)

    def diff(self, state: Properties, news: Properties) -> Diff:
        return SCHEMA.diff(state, news)

    async def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        if call.preview:
            unknown = dict.fromkeys(("arn", "secretArn", "versionId", "versionStages"), UNKNOWN)
            region = self._client().config.region
            return "", {**unknown, "region": region, "hasSecretStringWo": False, **inputs}
        secret_id: str = plain(inputs["secretId"])
        created = await self._client().call(
            "put_secret_value",
            SecretId=secret_id,
            SecretString=plain(inputs["secretString"]),
            ClientRequestToken=str(uuid.uuid4()),
        )
        id = f"{secret_id}|{created['VersionId']}"
        state = await self._state(id)
        if state is None:
            raise ProviderError(f"{TYPE}: {id} was written but can't be read back: someone else deletes it")
        return id, state

    async def update(self, call: Call, id: str, state: Properties, news: Properties) -> Properties:
        raise ProviderError(f"{TYPE}: every change replaces the version; the engine asked for an update")

    async def delete(self, call: Call, id: str, state: Properties) -> None:
        secret_id, version_id = id.rsplit("|", 1)
        for label in plain(state.get("versionStages", [])):
            if label == CURRENT:
                continue
            try:
                await self._client().call(
                    "update_secret_version_stage",
                    SecretId=secret_id,
                    VersionStage=label,
                    RemoveFromVersionId=version_id,
                )
            except (NotFound, BeingDeleted):
                return

    async def read(self, id: str, state: Properties, inputs: Properties) -> tuple[Properties, Properties] | None:
        found = await self._state(id)
        return None if found is None else (found, refreshed(inputs, found))

    async def _state(self, id: str) -> Properties | None:
        secret_id, version_id = id.rsplit("|", 1)
        try:
            found = await self._client().call("get_secret_value", SecretId=secret_id, VersionId=version_id)
        except (NotFound, BeingDeleted):
            return None
        return {
            "id": id,
            "arn": found["ARN"],
            "secretArn": found["ARN"],
            "secretId": secret_id,
            "secretString": hidden(found.get("SecretString", "")),
            "versionId": version_id,
            "versionStages": sorted(found.get("VersionStages", [])),
            "region": self._client().config.region,
            "hasSecretStringWo": False,
        }
