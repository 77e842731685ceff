"""An app's host without Docker: a `docker`, `psql` and `redis-cli` that play the app's replicas and PgBouncer.

The commands share `state.json`. A replica is what it was made with: its environment is the env file of that moment, it
has one session with PgBouncer, in TLS when its DATABASE_SSL_MODE is not `disable`.
"""

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

PASSWORD = "s3cret:/@ word"
URL = "postgresql://voiceai:s3cret%3A%2F%40%20word@db.lab.internal:5432/voiceai"
ADDRESS = "10.0.1.20"
MODE = "DATABASE_SSL_MODE"


def environment(env_file: Path) -> dict[str, str]:
    """What compose gives a container: comments and quotes left out."""
    lines = [line for line in env_file.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return {key.removeprefix("export "): value.strip("'\"") for key, value in (line.split("=", 1) for line in lines)}


def docker(state: dict[str, Any], argv: list[str]) -> int:
    match argv:
        case ["version", *_] | ["compose", "version", *_]:
            print("2.26.0")
        case ["compose", "ps", *_]:
            for name, replica in state["replicas"].items():
                print(name, replica["id"])
        case ["compose", *rest] if "up" in rest:
            return compose_up(state, rest)
        case ["container", "inspect", *_, _, "--"] | ["container", "inspect", "--format", *_]:
            for name, replica in state["replicas"].items():
                if replica["id"] in argv:
                    sys.stdout.write(description(state, name, replica))
        case ["exec", _, "sh", "-c", _, "cat", path]:
            sys.stdout.write(Path(state["files"].get(path, path)).read_text())
        case ["exec", _, "sh", "-c", *_]:
            sys.stdout.write(state["certificate"])
        case ["logs", *_]:
            print(f"FATAL: cannot log in with {PASSWORD}")
        case _:
            raise SystemExit(f"docker {argv}: not played")
    return 0


def compose_up(state: dict[str, Any], argv: list[str]) -> int:
    wanted = environment(Path(state["env_file"]))
    for name in [word for word in argv if word in state["replicas"]]:
        replica = state["replicas"][name]
        changed = replica["env"] != wanted or state["pending"]
        if "--dry-run" in argv:
            print(f" DRY-RUN MODE -  Container c-{name}  {'Recreate' if changed else 'Running'}")
        elif changed:
            replica.update(env=wanted, id=f"{name}-{state['count']}")
            state["count"] += 1
            state["recreated"].append(name)
    return 0


def is_sick(state: dict[str, Any], name: str, replica: dict[str, Any]) -> bool:
    return [name, replica["env"].get(MODE, "")] in state["sick"]


def description(state: dict[str, Any], name: str, replica: dict[str, Any]) -> str:
    health = "unhealthy" if is_sick(state, name, replica) else "healthy"
    fields = [f"id={replica['id']}", f"name=/c-{name}", "state=running", "restarts=0", "image=sha256:1", "tag=app:1"]
    fields += [f"health={health}", f"said=sick with {PASSWORD}", "period=0", "interval=0"]
    fields += [f"env={key}={value}" for key, value in replica["env"].items()]
    return "".join(f"{field}\0" for field in fields) + "\n"


def psql(state: dict[str, Any], argv: list[str]) -> int:
    conninfo, separator = argv[-1], argv[argv.index("-F") + 1]
    state["arguments"].append(" ".join(argv))
    if os.environ.get("PGPASSWORD") != PASSWORD:
        return refused("password authentication failed")
    if "wrong-ca" in conninfo:
        return refused("SSL error: certificate verify failed")
    if state["answer"]:
        return refused(state["answer"])
    if "dbname='pgbouncer'" not in conninfo:
        print("?column?\n1")
        return 0
    if not state["tells"]:
        return refused('FATAL: not allowed to connect to database "pgbouncer"')
    probe = conninfo.rsplit("application_name=", 1)[1].split()[0]
    rows = [["C", "voiceai", "pgbouncer", ADDRESS, probe, "TLSv1.3/x"]]
    for name, replica in state["replicas"].items():
        mode = state["mode_in_url"] or replica["env"].get(MODE, "disable")
        if not is_sick(state, name, replica):
            rows.append(["C", "voiceai", "voiceai", ADDRESS, "api", "" if mode == "disable" else "TLSv1.3/x"])
    for row in (["type", "user", "database", "addr", "application_name", "tls"], *rows):
        print(separator.join(row))
    return 0


def refused(words: str) -> int:
    print(words, file=sys.stderr)
    return 2


def main(path: Path) -> int:
    """Play the command that was called. Some run side by side."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text())
        play = {"docker": docker, "psql": psql}.get(Path(sys.argv[0]).name)
        status = play(state, sys.argv[1:]) if play else 0
        path.write_text(json.dumps(state))
    return status
