"""The apps' files as a site has them, and what the stack says of them: both of one piece."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import apps
from lab.layout import APP_OF, HTTP_APPS, PROXY, REPLICAS, Layout

PASSWORDS = {"postgres_password": "one-secret", "redis_password": "another-secret"}


def composed(app: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(apps.compose_file(app))["services"]
    return found


def variables(app: str) -> dict[str, str]:
    lines = apps.settings(app, PASSWORDS).splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("app", HTTP_APPS)
def test_an_app_has_two_replicas_behind_a_proxy(app: str) -> None:
    services = composed(app)
    assert list(services) == [f"{app}-1", f"{app}-2", "proxy"]
    ports = [services[name]["environment"]["PORT"] for name in apps.services(app)]
    assert ports == [str(port) for port in REPLICAS]
    environment = services["proxy"]["environment"]
    assert environment == {"PROXY_PORT": str(PROXY), "REPLICA_1": ports[0], "REPLICA_2": ports[1]}


def test_telpro_has_one_replica_whose_restart_is_accepted() -> None:
    assert list(composed("telpro")) == apps.services("telpro") == ["telpro"]
    declared = apps.declared("telpro")
    assert declared["acceptRestart"] is True
    assert declared["uses"] == ["redis"]
    assert declared["kind"] == "kamailio"


@pytest.mark.parametrize("app", sorted(set(APP_OF.values())))
def test_what_the_stack_says_of_an_app_is_what_its_host_has(app: str) -> None:
    declared = apps.declared(app)
    assert set(declared["services"]) <= set(composed(app))
    assert all(composed(app)[name]["env_file"] == declared["envFile"] for name in declared["services"])
    assert declared["directory"] == f"/opt/{app}"
    assert declared["REDIS_TLS_ENABLED"] == variables(app)["REDIS_TLS_ENABLED"] == "false"
    assert declared.get("DATABASE_SSL_MODE") == variables(app).get("DATABASE_SSL_MODE")


@pytest.mark.parametrize("app", HTTP_APPS)
def test_a_replica_is_asked_for_its_health_at_its_own_port(app: str) -> None:
    command = apps.health_command(app)
    for number, port in enumerate(REPLICAS, start=1):
        assert f":{port}/health" in command.replace("$REPLICA", str(number))


@pytest.mark.parametrize("app", sorted(set(APP_OF.values())))
def test_everything_runs_in_the_hosts_namespace_and_no_path_of_the_host_is_mounted(app: str) -> None:
    for service in composed(app).values():
        assert service["network_mode"] == "container:${HOST_CONTAINER}"
        # The machine's daemon resolves mounts, so only a variable can name them.
        assert all(mount.startswith("${") for mount in service.get("volumes", []))


def test_a_password_is_in_no_file_but_the_apps_settings(tmp_path: Path) -> None:
    layout = Layout(lab_id="tests", project=tmp_path)
    assert variables("web")["DATABASE_URL"] == "postgresql://voiceai:one-secret@db.lab.internal:5432/voiceai"
    for host, app in APP_OF.items():
        text = apps.compose_file(app) + str(apps.dot_env(layout, host))
        assert not [secret for secret in PASSWORDS.values() if secret in text]


def test_each_host_is_a_compose_project_of_its_own(tmp_path: Path) -> None:
    layout = Layout(lab_id="tests", project=tmp_path)
    projects = {apps.dot_env(layout, host)["COMPOSE_PROJECT_NAME"] for host in APP_OF}
    assert len(projects) == len(APP_OF)
    assert layout.project_of("database") not in projects
