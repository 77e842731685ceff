"""`aws:secretsmanager/secretPolicy:SecretPolicy`: who may read a secret (aws_secretsmanager_secret_policy)."""
# ruff: noqa: ARG002  the methods of offline.provider.Resource, whether a type needs every argument or not

from typing import Final

from offline.aws_resource import Client, Schema, check_json, refreshed, same_json
from offline.provider import Call, Diff, Failure
from offline.secretsmanager import BeingDeleted, NotFound
from offline.wire import Properties, plain

TYPE: Final = "aws:secretsmanager/secretPolicy:SecretPolicy"

SCHEMA: Final = Schema(
    type=TYPE,
    inputs=frozenset({"secretArn", "policy", "blockPublicPolicy"}),
    required=frozenset({"secretArn", "policy"}),
    replaces=frozenset({"secretArn"}),
)


class SecretPolicy:
    """The resource type; its id is the secret's ARN."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def check(self, call: Call, olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        return news, [*SCHEMA.check(news), *check_json(news, "policy", TYPE)]

    def diff(self, state: Properties, news: Properties) -> Diff:
        return SCHEMA.diff(state, news)

    async def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        if call.preview:
            return "", {"region": self._client().config.region, **inputs}
        arn: str = plain(inputs["secretArn"])
        return arn, await self._put(arn, inputs)

    async def update(self, call: Call, id: str, state: Properties, news: Properties) -> Properties:
        return {**state, **news} if call.preview else await self._put(id, news)

    async def delete(self, call: Call, id: str, state: Properties) -> None:
        try:
            await self._client().call("delete_resource_policy", SecretId=id)
        except (NotFound, BeingDeleted):
            return

    async def read(self, id: str, state: Properties, inputs: Properties) -> tuple[Properties, Properties] | None:
        try:
            policy = (await self._client().call("get_resource_policy", SecretId=id)).get("ResourcePolicy")
        except (NotFound, BeingDeleted):
            return None
        if not policy:
            return None
        wanted = state.get("policy", inputs.get("policy"))
        found = {
            **state,
            "id": id,
            "secretArn": id,
            "policy": wanted if same_json(plain(wanted), policy) else policy,
            "region": self._client().config.region,
        }
        return found, refreshed(inputs, found)

    async def _put(self, arn: str, inputs: Properties) -> Properties:
        await self._client().call(
            "put_resource_policy",
            SecretId=arn,
            ResourcePolicy=plain(inputs["policy"]),
            BlockPublicPolicy=bool(plain(inputs.get("blockPublicPolicy", False))),
        )
        return {**inputs, "id": arn, "region": self._client().config.region}
