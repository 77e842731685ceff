"""`aws:secretsmanager/secret:Secret`: a secret's metadata. Semantics of Terraform's aws_secretsmanager_secret (6.x)."""
# ruff: noqa: ARG002  the methods of offline.provider.Resource, whether a type needs every argument or not

import secrets
from typing import Any, Final

from offline.aws_resource import Client, Schema, check_json, refreshed, same_json, tag_list, tag_map
from offline.provider import Call, Diff, Failure, ProviderError
from offline.secretsmanager import BeingDeleted, NotFound
from offline.wire import UNKNOWN, Properties, has_unknown, plain

TYPE: Final = "aws:secretsmanager/secret:Secret"

SCHEMA: Final = Schema(
    type=TYPE,
    inputs=frozenset(
        {"name", "description", "kmsKeyId", "policy", "recoveryWindowInDays", "tags"} | {"forceOverwriteReplicaSecret"}
    ),
    computed=frozenset({"name", "policy", "forceOverwriteReplicaSecret"}),
    replaces=frozenset({"name"}),
)

DEFAULT_RECOVERY_DAYS: Final = 30

RECOVERY_DAYS: Final = (0, *range(7, 31))


class Secret:
    """The resource type."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def check(self, call: Call, olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        failures = [*SCHEMA.check(news), *check_json(news, "policy", TYPE)]
        days = news.get("recoveryWindowInDays", DEFAULT_RECOVERY_DAYS)
        if not has_unknown(days) and days not in RECOVERY_DAYS:
            failures.append(Failure(f"{TYPE}: expected recoveryWindowInDays to be 0 or in the range (7 - 30)"))
        if news.get("forceOverwriteReplicaSecret"):
            failures.append(
                Failure(
                    f"{TYPE}: input 'forceOverwriteReplicaSecret' is not implemented by the stand-in provider"
                    " (see offline/README.md)"
                )
            )
        defaults = {
            "name": olds.get("name") or f"{call.name}-{secrets.token_hex(4)[:7]}",
            "recoveryWindowInDays": DEFAULT_RECOVERY_DAYS,
            "forceOverwriteReplicaSecret": False,
        }
        return {**defaults, **news}, failures

    def diff(self, state: Properties, news: Properties) -> Diff:
        diff = SCHEMA.diff(state, news)
        if not has_unknown(news.get("tags")) and plain(state.get("tagsAll", {})) != self._all_tags(news):
            return Diff(changes={**diff.changes, "tagsAll": "update"}, replaces=diff.replaces)
        return diff

    def _all_tags(self, inputs: Properties) -> dict[str, str]:
        return {**self._client().config.default_tags, **plain(inputs.get("tags", {}))}

    async def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        region = self._client().config.region
        if call.preview:
            unknown = dict.fromkeys(("arn", "policy", "replicas"), UNKNOWN)
            tags = UNKNOWN if has_unknown(inputs.get("tags")) else self._all_tags(inputs)
            return "", {**unknown, "region": region, "tagsAll": tags, **inputs}
        values = plain(inputs)
        parameters: dict[str, object] = {"Name": values["name"]}
        if values.get("description"):
            parameters["Description"] = values["description"]
        if values.get("kmsKeyId"):
            parameters["KmsKeyId"] = values["kmsKeyId"]
        if tags := self._all_tags(inputs):
            parameters["Tags"] = tag_list(tags)
        created = await self._client().call("create_secret", **parameters)
        arn: str = created["ARN"]
        if values.get("policy"):
            try:
                await self._put_policy(arn, values["policy"])
            except ProviderError:
                # The original keeps a half-made secret in its state; here none is left behind.
                await self._client().call("delete_secret", SecretId=arn, ForceDeleteWithoutRecovery=True)
                raise
        return arn, await self._required_state(arn, inputs)

    async def update(self, call: Call, id: str, state: Properties, news: Properties) -> Properties:
        if call.preview:
            tags = UNKNOWN if has_unknown(news.get("tags")) else self._all_tags(news)
            return {**state, **news, "tagsAll": tags}
        old, new = plain(state), plain(news)
        if any((old.get(key) or "") != (new.get(key) or "") for key in ("description", "kmsKeyId")):
            key_id = {"KmsKeyId": new["kmsKeyId"]} if new.get("kmsKeyId") else {}
            await self._client().call("update_secret", SecretId=id, Description=new.get("description") or "", **key_id)
        if new.get("policy") and not same_json(old.get("policy"), new["policy"]):
            await self._put_policy(id, new["policy"])
        old_tags, new_tags = old.get("tagsAll", {}), self._all_tags(news)
        if gone := [key for key in old_tags if key not in new_tags]:
            await self._client().call("untag_resource", SecretId=id, TagKeys=gone)
        if changed := {key: value for key, value in new_tags.items() if old_tags.get(key) != value}:
            await self._client().call("tag_resource", SecretId=id, Tags=tag_list(changed))
        return await self._required_state(id, news)

    async def delete(self, call: Call, id: str, state: Properties) -> None:
        days = int(plain(state.get("recoveryWindowInDays", DEFAULT_RECOVERY_DAYS)))
        how: dict[str, object] = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        try:
            await self._client().call("delete_secret", SecretId=id, **how)
        except NotFound:
            return

    async def read(self, id: str, state: Properties, inputs: Properties) -> tuple[Properties, Properties] | None:
        found = await self._state(id, {**state, **inputs})
        return None if found is None else (found, refreshed(inputs, found))

    async def _put_policy(self, arn: str, policy: str) -> None:
        await self._client().call("put_resource_policy", SecretId=arn, ResourcePolicy=policy)

    async def _required_state(self, arn: str, inputs: Properties) -> Properties:
        state = await self._state(arn, inputs)
        if state is None:
            raise ProviderError(f"{TYPE}: {arn} was written but can't be read back: someone else deletes it")
        return state

    async def _state(self, arn: str, inputs: Properties) -> Properties | None:
        """What AWS says; None where the secret is gone or in its recovery window."""
        try:
            described: dict[str, Any] = await self._client().call("describe_secret", SecretId=arn)
            if described.get("DeletedDate"):
                return None
            policy = (await self._client().call("get_resource_policy", SecretId=arn)).get("ResourcePolicy", "")
        except (NotFound, BeingDeleted):
            return None
        tags = tag_map(described.get("Tags", []))
        defaults = self._client().config.default_tags
        given = plain(inputs.get("tags", {}))
        wanted = inputs.get("policy")
        return {
            "arn": arn,
            "id": arn,
            "name": described["Name"],
            "description": described.get("Description", ""),
            "kmsKeyId": described.get("KmsKeyId", ""),
            "policy": wanted if same_json(plain(wanted), policy) else policy,
            "replicas": [],
            "region": self._client().config.region,
            "tags": {key: value for key, value in tags.items() if key in given or defaults.get(key) != value},
            "tagsAll": tags,
            "recoveryWindowInDays": inputs.get("recoveryWindowInDays", DEFAULT_RECOVERY_DAYS),
            "forceOverwriteReplicaSecret": False,
        }
