"""Who may read which of the three secrets, as resource policies: plain data.

What a resource policy can and cannot do, in one account:

* `Allow` lets the roles read without a policy of their own. It takes nothing away from others: a role or user whose
  *own* (identity) policy grants `secretsmanager:GetSecretValue` on these secrets reads them all the same.
* Only `Deny` takes away. The private key has one: every principal but the server hosts' roles is denied reading it,
  administrators and the deploying identity included. Nobody is locked out by it: the deployment only ever *writes* the
  key (`components.delivery`), and who may manage the secret may still change or delete this policy.
* The CA and the certificate are public by nature (every TLS handshake shows them), so theirs only allow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

CA = "INTERNAL_CA_CRT_B64"
CERTIFICATE = "INTERNAL_TLS_CERT_B64"
KEY = "INTERNAL_TLS_KEY_B64"

READ = "secretsmanager:GetSecretValue"


def reader_policy(variable: str, *, server_role_arns: Sequence[str], app_role_arns: Sequence[str]) -> str | None:
    """The policy document (JSON) of one secret; None where no role is given that concerns it.

    Servers read all three, apps the CA alone.
    """
    readers = sorted({*server_role_arns, *(app_role_arns if variable == CA else ())})
    if not readers:
        return None
    statements = [_statement("ReadByRoles", "Allow", principal={"AWS": readers})]
    if variable == KEY:
        # A role's session has the role's ARN as aws:PrincipalArn.
        others = {"StringNotEquals": {"aws:PrincipalArn": readers}}
        statements.append(_statement("ReadByNobodyElse", "Deny", principal="*", condition=others))
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, sort_keys=True)


def _statement(
    sid: str, effect: str, *, principal: str | dict[str, list[str]], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": effect, "Principal": principal, "Action": READ, "Resource": "*"}
    return statement if condition is None else statement | {"Condition": condition}
