"""Reports of the example environment's hosts with all that a start would do, as `update.sh --report --restart` prints
them: everything as it was verified. Tests change one thing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from operate.served import HostReport, read_report
from rollout.declared import Declared
from rollout.steps import app_of

LEAF, CA = "1f" * 32, "ca" * 32
ENDS, CA_ENDS = "Dec 27 10:00:00 2026 GMT", "Nov 20 10:00:00 2036 GMT"
JSON = dict[str, Any]


def certificate(sha256: str = LEAF, ends: str = ENDS) -> JSON:
    return {"serial": sha256[:16].upper(), "notAfter": ends, "sha256": sha256, "names": ["db.example"]}


def host(declared: Declared, name: str) -> JSON:
    """What this host of the declaration says of itself."""
    spec, settings = declared.hosts[name], declared.settings
    own = {key: value for key, value in settings.items() if not app_of(key) or app_of(key) in spec.roles}
    servers = {role: _server(role, settings) for role in ("postgres", "pgbouncer", "redis") if role in spec.roles}
    if "otel" in spec.roles:
        servers["otel"] = _collector(settings)
    files: JSON = {"generation": "1-1f1f1f1f1f1f", "ca": certificate(CA, CA_ENDS)}
    if servers:
        files["server"] = certificate()
    return {
        "format": 1,
        "time": "2026-11-25T18:00:00Z",
        "underWay": False,
        "handChanges": [],
        "record": {
            "revision": "7",
            "environment": declared.site.environment,
            "roles": list(spec.roles),
            "settings": own,
            "certificateSha256": LEAF,
            "caSha256": CA,
            "redisTlsPort": "6380",
            "edited": False,
        },
        "files": files,
        **({"servers": servers} if servers else {}),
        "apps": [_app(declared, app) for app in declared.apps if app in spec.roles],
    }


def read(plain: JSON) -> HostReport:
    """The report, as the command reads it."""
    return read_report(json.dumps(plain))


def _container(name: str, **more: Any) -> JSON:
    started = "2026-11-20T09:00:00Z"
    return {"container": name, "state": "running", "startedAt": started, "restartPolicy": "unless-stopped", **more}


def _server(role: str, settings: Mapping[str, str]) -> JSON:
    tls, closed = {
        "postgres": (settings["POSTGRES_TLS_ENABLED"] == "on", settings["POSTGRES_FORCE_SSL"] == "on"),
        "pgbouncer": (
            settings["PGBOUNCER_CLIENT_TLS_SSLMODE"] != "disable",
            settings["PGBOUNCER_CLIENT_TLS_SSLMODE"] == "require",
        ),
        "redis": (settings["REDIS_TLS_ENABLED"] == "true", settings["REDIS_FORCE_TLS"] == "true"),
    }[role]
    handshake = {
        "protocol": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "verify": "0 (ok)",
        "certificate": certificate(),
    }
    made = _container(
        f"voiceai-{role}",
        rendered={"path": f"/etc/voiceai/{role}/tls.conf", "asVerified": True},
        served=handshake if tls else None,
        facts={},
        sources={},
        over={},
        problems=[],
        plaintext={"verdict": "refused" if closed else "accepted", "answer": ""},
        clients=[],
        start={"reads": {}, "dials": {}, "problems": []},
    )
    start = made["start"]
    if role == "postgres":
        made["plaintextRules"] = 0 if closed else 4
        made["sources"] = {"ssl": "configuration file"}
        start["proof"] = "postgres -C"
        start["reads"] = {
            "ssl": "on" if tls else "off",
            "ssl_cert_file": "/etc/ssl/internal/server.crt",
            "ssl_key_file": "/etc/ssl/internal/server.key",
        }
        return made
    start["proof"] = "scratch process"
    if role == "pgbouncer":
        leg = "f" if settings["PGBOUNCER_SERVER_TLS_SSLMODE"] == "disable" else "t"
        start["dials"] = {
            "plain": "FATAL:  SSL required" if closed else leg,
            "tls": leg if tls else "server does not support SSL, but SSL was required",
        }
        return made
    start["reads"] = {"port": "0" if closed else "6379", "tls-port": "6380" if tls else "0"}
    start["dials"] = {**({} if closed else {"plain": "PONG "}), **({"tls": "PONG "} if tls else {})}
    return made


def _collector(settings: Mapping[str, str]) -> JSON:
    tls = settings["REDIS_TLS_ENABLED"] == "true"
    return _container(
        "voiceai-otel",
        address="172.18.0.6",
        runsWith={"REDIS_ENDPOINT": "voiceai-redis:6380", "REDIS_TLS_INSECURE": "false" if tls else "true"},
        asRendered=True,
        asVerified=True,
        scrapes=True,
        why="",
        start={
            "proof": "handshake" if tls else "files",
            "reads": {},
            "dials": {"redis": "accepted"} if tls else {},
            "problems": [],
        },
    )


def _app(declared: Declared, name: str) -> JSON:
    contract = declared.apps[name]
    modes = {key.rpartition(".")[2]: value for key, value in declared.settings.items() if app_of(key) == name}
    return {
        "name": name,
        "kind": contract.kind,
        "uses": list(contract.uses),
        "envFile": {"path": contract.env_file, "readable": True, "modes": dict(modes)},
        "replicas": [
            _container(f"{name}-{service}-1", service=service, health="healthy", modes=dict(modes))
            for service in contract.services
        ],
        "sessions": {track: {"tls": 1, "plaintext": 0, "by": "10.0.1.20"} for track in contract.uses},
        "start": {
            "proof": "login",
            "reads": {},
            "dials": dict.fromkeys(contract.uses, "accepted"),
            "problems": [],
        },
    }
