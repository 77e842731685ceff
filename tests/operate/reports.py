"""Reports as hosts give them (`update.sh --report --restart`), for an environment that does exactly what it declares.

Tests plant in them what somebody did by hand. The shape is that of reports recorded from the real servers of
tests/host/real/test_report.py, where the same judgements are made on what those say.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from operate.served import HostReport, read_report
from rollout.declared import Declared
from rollout.render import host_content
from rollout.steps import SERVER_ROLES

Plain = dict[str, Any]

SERVER_SHA, OLD_SHA, CA_SHA = "a1" * 32, "0d" * 32, "ca" * 32
CERTIFICATE: Plain = {
    "serial": "5B0C33D1E9A2447E8F0D6A1B2C3D4E5F60718293",
    "notAfter": "Dec 26 17:00:00 2027 GMT",
    "sha256": SERVER_SHA,
    "names": ["db.staging.internal.example", "voiceai-postgres"],
}
OLD: Plain = {**CERTIFICATE, "serial": "01DEAD00", "notAfter": "Jan  5 17:00:00 2027 GMT", "sha256": OLD_SHA}
CA: Plain = {**CERTIFICATE, "serial": "77", "sha256": CA_SHA, "names": []}

PATHS = {
    "postgres": "/etc/voiceai/postgres/conf.d/tls.conf",
    "pgbouncer": "/etc/voiceai/pgbouncer/tls.ini",
    "redis": "/etc/voiceai/redis/tls.conf",
}


def settings_of(declared: Declared, host: str) -> dict[str, str]:
    """The step variables that the host is told."""
    told = dict(line.split("=", 1) for line in host_content(declared, host).splitlines())
    return {key: told[key] for key in declared.settings if key in told}


def plain_of(declared: Declared, host: str, revision: str = "9") -> Plain:
    """The host's report."""
    settings, roles = settings_of(declared, host), declared.hosts[host].roles
    issued = settings["CERTIFICATE_GENERATION"] != "0"
    servers = any(role in roles for role in SERVER_ROLES)
    files: Plain = {"generation": f"{settings['CERTIFICATE_GENERATION']}-{SERVER_SHA[:12]}" if issued else ""}
    if issued:
        files |= {"ca": CA, **({"server": CERTIFICATE} if servers else {})}
    report: Plain = {
        "format": 1,
        "time": "2026-11-25T18:00:00Z",
        "underWay": False,
        "handChanges": [],
        "record": {
            "revision": revision,
            "environment": declared.site.environment,
            "roles": [role if role in (*SERVER_ROLES, "otel") else "app" for role in roles],
            "settings": settings,
            "certificateSha256": SERVER_SHA if issued else "",
            "caSha256": CA_SHA if issued else "",
            "redisTlsPort": "6380" if "redis" in roles else "",
            "edited": False,
        },
        "files": files,
        "apps": [_app(declared, app, settings) for app in declared.apps if app in roles],
    }
    if servers or "otel" in roles:
        report["servers"] = {role: _server(role, settings) for role in SERVER_ROLES if role in roles}
    if "otel" in roles:
        report["servers"]["otel"] = _collector(settings)
    return copy.deepcopy(report)


def plains(declared: Declared) -> dict[str, Plain]:
    """Every host's."""
    return {host: plain_of(declared, host) for host in declared.hosts}


def read(plains: Mapping[str, Plain]) -> dict[str, HostReport]:
    """As the command reads them."""
    return {host: read_report(json.dumps(plain)) for host, plain in plains.items()}


def _container(name: str, **more: Any) -> Plain:
    return {
        "container": name,
        "state": "running",
        "startedAt": "2026-11-20T10:00:00Z",
        "restartPolicy": "unless-stopped",
        **more,
    }


def _client(way: str, address: str, apps: list[str], sessions: int = 1, application: str = "") -> Plain:
    return {
        "way": way,
        "address": address,
        "user": "voiceai",
        "application": application,
        "sessions": sessions,
        "apps": apps,
    }


def _server(role: str, settings: Mapping[str, str]) -> Plain:
    offers = {
        "postgres": settings.get("POSTGRES_TLS_ENABLED") == "on",
        "pgbouncer": settings.get("PGBOUNCER_CLIENT_TLS_SSLMODE", "disable") != "disable",
        "redis": settings.get("REDIS_TLS_ENABLED") == "true",
    }[role]
    refuses = {
        "postgres": settings.get("POSTGRES_FORCE_SSL") == "on",
        "pgbouncer": settings.get("PGBOUNCER_CLIENT_TLS_SSLMODE") == "require",
        "redis": settings.get("REDIS_FORCE_TLS") == "true",
    }[role]
    answers = {
        "postgres": ("f", "FATAL:  no pg_hba.conf entry, no encryption"),
        "pgbouncer": ("t", "FATAL:  SSL required"),
        "redis": ("PONG", "Could not connect to Redis at 127.0.0.1:6379: Connection refused"),
    }[role]
    served = {"protocol": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "verify": "0 (ok)", "certificate": CERTIFICATE}
    leg = settings.get("PGBOUNCER_SERVER_TLS_SSLMODE", "disable")
    way = "tls" if offers else "plaintext"
    owns: dict[str, Plain] = {
        "postgres": {
            "facts": {"ssl": settings.get("POSTGRES_TLS_ENABLED", ""), "hba_file": "/data/pg_hba.conf"},
            "sources": {"ssl": "configuration file"},
            "plaintextRules": 0 if refuses else 4,
            "clients": [_client("plaintext" if leg == "disable" else "tls", "172.18.0.12", [], 3)],
            "start": {"proof": "postgres -C", "reads": {"ssl": settings.get("POSTGRES_TLS_ENABLED", "")}, "dials": {}},
        },
        "pgbouncer": {
            "facts": {
                "server_tls_sslmode": leg,
                "client_tls_sslmode": settings.get("PGBOUNCER_CLIENT_TLS_SSLMODE", ""),
            },
            "leg": {"tls": 0 if leg == "disable" else 3, "plaintext": 3 if leg == "disable" else 0, "old": 0},
            "clients": [_client(way, "10.0.1.20", ["api"], 2), _client(way, "10.0.1.30", ["voice"], 1, "voice")],
            "start": {"proof": "scratch process", "reads": {}, "dials": {}},
        },
        "redis": {
            "facts": {"port": "0" if refuses else "6379", "tls-port": "6380" if offers else "0"}
            | ({"tls-auth-clients": "no"} if offers else {}),
            "clients": [_client(way, "10.0.1.20", ["api"], 2), _client(way, "172.18.0.14", [])],
            "start": {
                "proof": "scratch process",
                "reads": {"port": "0" if refuses else "6379", "tls-port": "6380" if offers else "0"},
                "dials": {},
            },
        },
    }
    own = owns[role]
    own["start"]["problems"] = []
    return _container(
        f"voiceai-{role}",
        rendered={"path": PATHS[role], "asVerified": True},
        served=served if offers else None,
        plaintext={"verdict": "refused" if refuses else "accepted", "answer": answers[refuses]},
        over={},
        problems=[],
        **({"sources": {}} if role != "postgres" else {}),
        **own,
    )


def _collector(settings: Mapping[str, str]) -> Plain:
    tls = settings["REDIS_TLS_ENABLED"] == "true"
    return _container(
        "voiceai-otel",
        address="172.18.0.14",
        runsWith={
            "REDIS_ENDPOINT": f"voiceai-redis:{6380 if tls else 6379}",
            "REDIS_TLS_INSECURE": "false" if tls else "true",
        },
        asRendered=True,
        asVerified=True,
        scrapes=True,
        why="",
    )


def _app(declared: Declared, app: str, settings: Mapping[str, str]) -> Plain:
    contract = declared.apps[app]
    modes = {key.rpartition(".")[2]: value for key, value in settings.items() if key.startswith(f"apps.{app}.")}
    if modes.get("REDIS_TLS_ENABLED") == "true":
        modes |= {"REDIS_TLS_PORT": "6380", "REDIS_TLS_CA_FILE": "/etc/ssl/internal/ca.crt"}
    sessions: Plain = {}
    for track, name, plaintext in (
        ("postgres", "DATABASE_SSL_MODE", "disable"),
        ("redis", "REDIS_TLS_ENABLED", "false"),
    ):
        if track in contract.uses:
            tls = modes[name] != plaintext
            sessions[track] = {"tls": 2 if tls else 0, "plaintext": 0 if tls else 2, "by": "PgBouncer's side"}
    return {
        "name": app,
        "kind": contract.kind,
        "uses": list(contract.uses),
        "replicas": [
            _container(f"{app}-{service}", service=service, health="healthy", modes=modes)
            for service in contract.services
        ],
        "envFile": {"path": contract.env_file, "readable": True, "modes": modes},
        "sessions": sessions,
    }
