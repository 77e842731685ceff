"""Reports (reports.py) with all that a start would do as it was verified. Tests change one thing."""

from __future__ import annotations

import json

from rollout.declared import Declared
from tests.operate.reports import CERTIFICATE, Plain, plain_of

LEAF, OTHER = CERTIFICATE["sha256"], "2e" * 32


def certificate(sha256: str, ends: str = CERTIFICATE["notAfter"]) -> Plain:
    return {**CERTIFICATE, "sha256": sha256, "notAfter": ends}


def host(declared: Declared, name: str) -> Plain:
    """What this host of the declaration answers to `--report --restart`."""
    # Nothing in it is shared: an env file is not the environment of a container.
    plain: Plain = json.loads(json.dumps(plain_of(declared, name)))
    if "ca" in plain["files"]:
        plain["files"]["ca"]["notAfter"] = "Nov 20 17:00:00 2036 GMT"
    for role, server in plain.get("servers", {}).items():
        if role == "otel":
            tls = server["runsWith"]["REDIS_TLS_INSECURE"] == "false"
            server["start"] = start("handshake", redis="accepted") if tls else start("files")
        else:
            server["start"]["dials"] = _dials(role, server, declared.settings["PGBOUNCER_SERVER_TLS_SSLMODE"])
    for app in plain["apps"]:
        app["start"] = start("login", **dict.fromkeys(app["uses"], "accepted"))
    return plain


def start(proof: str, **dials: str) -> Plain:
    return {"proof": proof, "reads": {}, "dials": dials, "problems": []}


def _dials(role: str, server: Plain, leg: str) -> dict[str, str]:
    closed = server["plaintext"]["verdict"] == "refused"
    if role == "pgbouncer":
        good = "f" if leg == "disable" else "t"
        none = "server does not support SSL, but SSL was required"
        return {"plain": "FATAL:  SSL required" if closed else good, "tls": good if server["served"] else none}
    if role == "redis":
        return ({} if closed else {"plain": "PONG "}) | ({"tls": "PONG "} if server["served"] else {})
    return {}
