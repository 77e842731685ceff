"""An app's flip on a host whose docker, psql and PgBouncer are played: what is refused, what is put back."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.host import fake_app_host
from tests.host.conftest import Roots, Store
from tests.host.fake_app_host import MODE, PASSWORD, URL
from tests.host.issuing import Generation, app_settings, settings_text

ON = {"apps.api.DATABASE_SSL_MODE": "verify-full"}
PLAIN = f"# by hand\nDATABASE_URL={URL}\nDATABASE_SSL_MODE=disable\nDATABASE_SSL_CA_FILE=/ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppHost:
    """A host at generation 1 with one app of two replicas, which uses Postgres alone."""

    roots: Roots
    folder: Path
    generation: Generation

    @property
    def env_file(self) -> Path:
        return self.folder / "app.env"

    def state(self, **changed: Any) -> dict[str, Any]:
        """What the played commands know, after changing it."""
        path = self.folder / "state.json"
        known: dict[str, Any] = {**json.loads(path.read_text()), **changed}
        path.write_text(json.dumps(known))
        return known

    def modes(self) -> list[str]:
        return [replica["env"].get(MODE, "") for replica in self.state()["replicas"].values()]

    def text(self, **changed: str) -> str:
        values = app_settings(**self.generation.settings(), **changed)
        own = {
            "apps.api.USES": "postgres",
            "apps.api.DIRECTORY": str(self.folder),
            "apps.api.ENV_FILE": str(self.env_file),
            "apps.api.DATABASE_SSL_CA_FILE": "/ca.crt",
            "apps.api.APPLICATION_NAME": "api",
        }
        merged = {**values, **own, **changed}
        return settings_text({k: v for k, v in merged.items() if "REDIS" not in k})

    def update(self, fault: str = "", *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        words = arguments or ("--settings", "-")
        return self.roots.run(
            "update.sh",
            *words,
            stdin="" if arguments else self.text(**changed),
            environment={"VOICEAI_FAULT": fault, "WAIT_SECONDS": "3", "RELOAD_SECONDS": "2"},
        )

    def applied(self, **changed: str) -> subprocess.CompletedProcess[str]:
        done = self.update(**changed)
        assert done.returncode == 0, done.stderr
        return done


def place(bin_dir: Path, state: Path) -> None:
    """The played commands."""
    source = Path(fake_app_host.__file__)
    for name in ("docker", "psql", "redis-cli"):
        text = (
            f"#!{sys.executable} -SE\nimport sys\nsys.path.insert(0, {str(source.parent)!r})\n"
            f"from pathlib import Path\nfrom fake_app_host import main\nsys.exit(main(Path({str(state)!r})))\n"
        )
        (bin_dir / name).write_text(text)
        (bin_dir / name).chmod(0o755)


@pytest.fixture
def app(host: Roots, store: Store, generations: dict[int, Generation], tmp_path: Path) -> AppHost:
    folder = tmp_path / "api"
    folder.mkdir()
    made = AppHost(roots=host, folder=folder, generation=generations[1])
    made.env_file.write_text(PLAIN)
    env = fake_app_host.environment(made.env_file)
    state = {
        "env_file": str(made.env_file),
        "replicas": {name: {"id": name, "env": env} for name in ("api-1", "api-2")},
        "files": {"/ca.crt": str(tmp_path / "tls/ca.crt")},
        "certificate": "",
        "pending": False,
        "tells": True,
        "answer": "",
        "mode_in_url": "",
        "sick": [],
        "recreated": [],
        "arguments": [],
        "count": 1,
    }
    (folder / "state.json").write_text(json.dumps(state))
    place(tmp_path / "bin", folder / "state.json")
    store.put(generations[1].secrets())
    made.applied()
    return made


def test_a_flip_and_its_way_back_recreate_each_replica_once_and_restore_the_file(app: AppHost) -> None:
    app.applied(**ON)
    assert app.modes() == ["verify-full", "verify-full"]
    assert app.state()["recreated"] == ["api-1", "api-2"]
    app.applied()
    assert app.env_file.read_text() == PLAIN
    assert app.state()["recreated"] == ["api-1", "api-2"] * 2


def test_the_same_again_and_a_first_run_recreate_nothing(app: AppHost) -> None:
    app.applied()
    assert app.state()["recreated"] == []


def test_no_password_is_in_an_argument_or_in_anything_said(app: AppHost) -> None:
    app.state(sick=[["api-1", "verify-full"]])
    done = app.update(**ON)
    said = done.stderr + done.stdout + app.roots.journal() + "".join(app.state()["arguments"])
    assert done.returncode == 1
    assert "FATAL: cannot log in with ***" in done.stderr
    assert PASSWORD not in said
    assert "s3cret" not in said


def test_a_first_replica_that_fails_is_put_back_and_the_other_one_is_not_touched(app: AppHost) -> None:
    app.state(sick=[["api-1", "verify-full"]])
    done = app.update(**ON)
    assert done.returncode == 1, done.stderr
    assert "the previous settings are back and verified" in done.stderr
    assert app.state()["recreated"] == ["api-1", "api-1"]
    assert app.env_file.read_text() == PLAIN


def test_on_the_way_back_the_replica_that_is_down_comes_first(app: AppHost) -> None:
    """The healthy one is never taken down while the other one is not."""
    app.state(sick=[["api-2", "verify-full"]])
    done = app.update(**ON)
    assert done.returncode == 1, done.stderr
    assert app.state()["recreated"] == ["api-1", "api-2", "api-2", "api-1"]
    assert app.modes() == ["disable", "disable"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sick": [["api-2", "disable"]]}, "api-2 is unhealthy: sick with ***"),
        ({"pending": True}, "docker compose would recreate api-1 api-2 even without this step"),
        ({"files": {"/ca.crt": "/dev/null"}}, "it does not hold the present CA, so it is stale"),
        ({"files": {"/ca.crt": "/nowhere"}}, "cannot read it as its own user"),
        ({"certificate": "/home/app/.postgresql/postgresql.crt"}, "a client certificate in /home/app/.postgresql"),
        ({"answer": "timeout expired"}, "is port 5432 closed between this host and db.lab.internal"),
        ({"answer": "server does not support SSL, but SSL was required"}, "PGBOUNCER_CLIENT_TLS_SSLMODE to allow"),
        ({"tells": False}, "PgBouncer does not show its clients to voiceai"),
    ],
)
def test_what_would_fail_is_refused_before_anything_is_touched(
    app: AppHost, changed: dict[str, Any], words: str
) -> None:
    app.state(**changed)
    done = app.update(**ON)
    assert done.returncode == 3, done.stderr
    assert words in done.stderr
    assert "nothing was changed" in done.stderr
    assert app.state()["recreated"] == []
    assert app.env_file.read_text() == PLAIN


def test_an_app_that_is_down_may_still_go_back(app: AppHost) -> None:
    app.applied(**ON)
    app.state(sick=[["api-1", "verify-full"], ["api-2", "verify-full"]])
    app.applied()
    assert app.modes() == ["disable", "disable"]


def test_one_replica_is_flipped_only_where_its_restart_is_accepted(app: AppHost) -> None:
    one = {"apps.api.SERVICES": "api-1"}
    app.state(replicas={"api-1": app.state()["replicas"]["api-1"]})
    refused = app.update(**ON, **one)
    assert refused.returncode == 3
    assert "34 of 796 requests" in refused.stderr
    app.applied(**ON, **one, **{"apps.api.ACCEPT_RESTART": "true"})


@pytest.mark.parametrize("mode", ["require", "verify-ca", "prefer"])
def test_a_mode_in_the_address_that_no_server_could_tell_is_refused(app: AppHost, mode: str) -> None:
    in_url(app, mode)
    done = app.update(**ON)
    assert done.returncode == 3, done.stderr
    assert f"sslmode={mode}, which wins over DATABASE_SSL_MODE" in done.stderr


def test_a_mode_in_the_address_that_wins_is_seen_by_the_server_and_put_back(app: AppHost) -> None:
    in_url(app, "disable")
    app.state(mode_in_url="disable")
    done = app.update(**ON)
    assert done.returncode == 1, done.stderr
    assert "DATABASE_URL has sslmode=disable, which wins over DATABASE_SSL_MODE: remove it there" in done.stderr
    assert app.modes() == ["disable", "disable"]
    # The canary alone: the second replica was never touched.
    assert app.state()["recreated"] == ["api-1", "api-1"]


def in_url(app: AppHost, mode: str) -> None:
    app.env_file.write_text(PLAIN.replace("/voiceai\n", f"/voiceai?sslmode={mode}\n"))
    env = fake_app_host.environment(app.env_file)
    app.state(replicas={name: {"id": name, "env": env} for name in ("api-1", "api-2")})


def rewritten(app: AppHost) -> None:
    """A deploy that knows nothing of the step."""
    app.env_file.write_text(PLAIN + "\nNEW=1\n")
    env = fake_app_host.environment(app.env_file)
    app.state(replicas={name: {"id": name, "env": env} for name in ("api-1", "api-2")})


def test_a_file_that_a_deploy_rewrote_is_found_and_put_in_again(app: AppHost) -> None:
    app.applied(**ON)
    rewritten(app)
    found = app.update("", "--verify-only")
    assert found.returncode == 4
    assert "says DATABASE_SSL_MODE=disable, wanted is verify-full" in found.stdout + found.stderr
    assert "--restart-only" in found.stdout + found.stderr
    again = app.update("", "--restart-only")
    assert again.returncode == 0, again.stderr
    assert app.modes() == ["verify-full", "verify-full"]
    assert "NEW=1" in app.env_file.read_text()


def test_putting_it_in_again_works_for_an_app_that_is_down_without_it(app: AppHost) -> None:
    """PgBouncer requires TLS by now."""
    app.applied(**ON)
    rewritten(app)
    app.state(sick=[["api-1", "disable"], ["api-2", "disable"]])
    again = app.update("", "--restart-only")
    assert again.returncode == 0, again.stderr


def test_what_is_put_in_again_and_fails_leaves_the_file_of_the_deploy(app: AppHost) -> None:
    app.applied(**ON)
    rewritten(app)
    deployed = app.env_file.read_text()
    app.state(sick=[["api-1", "verify-full"]], recreated=[])
    again = app.update("", "--restart-only")
    assert again.returncode == 4
    assert app.env_file.read_text() == deployed
    assert app.state()["recreated"] == ["api-1", "api-1"]


@pytest.mark.parametrize(
    "point", ["app-env-remembered", "app-env-written", "app-replica-recreated", "app_database-applied"]
)
def test_killed_anywhere_the_next_run_ends_in_the_new_state(app: AppHost, point: str) -> None:
    dead = app.update(point, **ON)
    assert dead.returncode == -9, dead.stderr
    app.applied(**ON)
    assert app.modes() == ["verify-full", "verify-full"]
    app.applied()
    assert app.env_file.read_text() == PLAIN


def test_a_lost_record_changes_nothing_of_an_app_that_already_is_so(app: AppHost) -> None:
    app.applied(**ON)
    app.state(recreated=[])
    for path in app.roots.state.glob("settings*"):
        path.unlink()
    app.applied(**ON)
    assert app.state()["recreated"] == []


def test_the_certificates_cannot_go_while_an_app_uses_them(app: AppHost) -> None:
    app.applied(**ON)
    gone = dict.fromkeys(app.generation.settings(), "") | {"CERTIFICATE_GENERATION": "0"}
    done = app.roots.run("update.sh", "--settings", "-", stdin=settings_with(app, **ON, **gone))
    assert done.returncode == 3, done.stderr
    assert "api on this host uses TLS" in done.stderr


def settings_with(app: AppHost, **changed: str) -> str:
    lines = dict(line.split("=", 1) for line in app.text(**ON).splitlines())
    return settings_text({**lines, **changed})


def test_status_tells_what_the_replicas_run_with_and_what_the_server_sees(app: AppHost) -> None:
    app.applied(**ON)
    said = app.update("", "--status").stdout
    assert "app          api: api-1 running, api-2 running" in said
    assert "DATABASE_SSL_MODE: api-1 verify-full, api-2 verify-full; PgBouncer sees from 10.0.1.20 2 sessions" in said
