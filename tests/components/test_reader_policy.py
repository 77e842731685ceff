"""Who may read which secret, evaluated as IAM evaluates it: an explicit deny wins, else an allow is needed."""

import json
from typing import Any

import pytest

from components.reader_policy import CA, CERTIFICATE, KEY, READ, reader_policy

DATABASE = "arn:aws:iam::123456789012:role/database"
APP = "arn:aws:iam::123456789012:role/app"
ADMIN = "arn:aws:iam::123456789012:role/admin"


def document(variable: str, servers: tuple[str, ...] = (DATABASE,), apps: tuple[str, ...] = (APP,)) -> dict[str, Any]:
    text = reader_policy(variable, server_role_arns=servers, app_role_arns=apps)
    assert text is not None
    return dict(json.loads(text))


def may_read(policy: dict[str, Any], principal: str, *, own_policy_allows: bool) -> bool:
    allowed = own_policy_allows
    for statement in policy["Statement"]:
        assert statement["Action"] == READ
        everybody = statement["Principal"] == "*"
        if not everybody and principal not in statement["Principal"]["AWS"]:
            continue
        if principal in statement.get("Condition", {}).get("StringNotEquals", {}).get("aws:PrincipalArn", []):
            continue
        if statement["Effect"] == "Deny":
            return False
        allowed = True
    return allowed


@pytest.mark.parametrize(("variable", "readers"), [(CA, {DATABASE, APP}), (CERTIFICATE, {DATABASE}), (KEY, {DATABASE})])
def test_roles_read_what_they_need_without_a_policy_of_their_own(variable: str, readers: set[str]) -> None:
    policy = document(variable)
    assert {role for role in (DATABASE, APP, ADMIN) if may_read(policy, role, own_policy_allows=False)} == readers


def test_key_is_read_by_the_servers_role_alone_whatever_others_own_policies_say() -> None:
    policy = document(KEY)
    assert {role for role in (DATABASE, APP, ADMIN) if may_read(policy, role, own_policy_allows=True)} == {DATABASE}


@pytest.mark.parametrize("variable", [CA, CERTIFICATE])
def test_public_material_stays_readable_for_the_deployment_that_refreshes_it(variable: str) -> None:
    assert may_read(document(variable), ADMIN, own_policy_allows=True)


def test_deny_is_for_reading_only_so_that_nobody_is_locked_out_of_managing() -> None:
    denied = [statement["Action"] for statement in document(KEY)["Statement"] if statement["Effect"] == "Deny"]
    assert denied == [READ]


def test_no_role_means_no_policy() -> None:
    assert reader_policy(KEY, server_role_arns=(), app_role_arns=(APP,)) is None
    assert reader_policy(CA, server_role_arns=(), app_role_arns=()) is None
    assert document(CA, servers=())["Statement"][0]["Principal"] == {"AWS": [APP]}


def test_document_does_not_depend_on_the_order_of_roles() -> None:
    assert document(CA, servers=(DATABASE, ADMIN)) == document(CA, servers=(ADMIN, DATABASE))
