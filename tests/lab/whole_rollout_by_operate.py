"""The whole rollout by `operate next` and `operate back` under load: run by `make proof`, not by `make test`.

The load's own clients follow before a server refuses plaintext, as operators' scripts do: so the way is walked in
parts.
"""

from collections.abc import Callable
from typing import Any

import yaml

from lab.figures import Move, failures
from lab.traffic import Traffic
from lab.walk import Walker, follow_after, follow_before
from rollout import path
from tests.lab.operating import config_of, operate, walked
from tests.lab.test_rollout import started

POOLER, REDIS = "PGBOUNCER_CLIENT_TLS_SSLMODE", "REDIS_FORCE_TLS"


def test_next_to_the_end_under_load_fails_no_request(walker: Walker) -> None:
    servers = started(walker)
    with Traffic(walker.lab, "operate-next", seconds=3000) as traffic:
        traffic.wait_until_flowing()
        said = walked(walker, "next", "--to", "apps.ops.DATABASE_SSL_MODE=verify-full")
        assert "asked now" in said
        assert "sslmode=verify-full is accepted" in said
        walked(walker, "next", "--to", "postgres 5")
        # The load's own clients are still in plaintext.
        before = config_of(walker)
        refused = operate(walker, "next", "--yes")
        assert refused.code == 1, refused.said
        assert "connected in plaintext" in refused.said
        assert config_of(walker) == before
        follow_before(Move(key=POOLER, value="require", direction="forward"), traffic)
        walked(walker, "next", "--to", "redis", "3")
        follow_before(Move(key=REDIS, value="true", direction="forward"), traffic)
        walked(walker, "next", "--to", "end")
    assert failures([], traffic.requests()) == []
    assert started(walker) == servers
    # The optional one closed Postgres too.
    assert path.ahead(walker.declared()) == ()
    assert "nothing to do" in walked(walker, "next", "--to", "end")


def edited(walker: Walker, change: Callable[[dict[str, Any]], object]) -> None:
    """The stack's config after `change` of its values, keys without their namespace."""
    file = walker.lab.layout.stack_config
    document = yaml.safe_load(file.read_text())
    values = {key.split(":", 1)[1]: value for key, value in document["config"].items()}
    change(values)
    document["config"] = {f"internal-tls:{key}": value for key, value in values.items()}
    file.write_text(yaml.safe_dump(document, sort_keys=False))


def test_a_host_and_an_app_leave_and_come_where_plaintext_is_refused(walker: Walker) -> None:
    before = config_of(walker)
    apps = yaml.safe_load(before)["config"]["internal-tls:apps"]
    with Traffic(walker.lab, "inventory", seconds=1500) as traffic:
        for key, value in ((POOLER, "require"), (REDIS, "true")):
            follow_before(Move(key=key, value=value, direction="forward"), traffic)
        traffic.wait_until_flowing()
        # One of api's two hosts leaves, is rebuilt (nothing of ours is left there), and comes back.
        edited(walker, lambda values: values["hosts"].pop("api2"))
        walker.up()
        walker.lab.run("api2", "sh", "-c", "rm -rf /var/lib/voiceai/* /opt/voiceai /etc/ssl/internal/*")
        walker.lab.layout.stack_config.write_bytes(before)
        walker.up()
        assert "revision" in walker.lab.run("api2", "/opt/voiceai/update.sh", "--status")
        held = operate(walker, "verify")
        assert held.code == 0, held.said
        # An app leaves by its word alone.
        edited(walker, lambda values: (values["hosts"].pop("worker"), values["apps"].pop("worker")))
        edited(walker, lambda values: values.update(furtherApps=[]))
        refused = walker.pulumi("up", "--yes", "--skip-preview", fails=True)
        assert "remove it with leaving: [worker]" in refused
        edited(walker, lambda values: values.update(leaving=["worker"]))
        walker.up()
        # It comes back as what may stand here, and not otherwise.
        walker.lab.layout.stack_config.write_bytes(before)
        edited(walker, lambda values: values["apps"]["worker"].update(DATABASE_SSL_MODE="disable"))
        assert "PgBouncer would refuse worker" in walker.pulumi("up", "--yes", "--skip-preview", fails=True)
        walker.lab.layout.stack_config.write_bytes(before)
        assert apps["worker"]["DATABASE_SSL_MODE"] == "verify-full"
        walker.up()
        held = operate(walker, "verify")
        assert held.code == 0, held.said
    assert failures([], traffic.requests()) == []
    assert config_of(walker) == before
    assert walker.up() == 0


def test_back_to_the_start_under_load_fails_no_request(walker: Walker) -> None:
    servers = started(walker)
    with Traffic(walker.lab, "operate-back", seconds=3000) as traffic:
        for key, value in ((POOLER, "require"), (REDIS, "true")):
            follow_before(Move(key=key, value=value, direction="forward"), traffic)
        traffic.wait_until_flowing()
        walked(walker, "back")
        follow_after(Move(key=REDIS, value="false", direction="back"), traffic)
        follow_before(Move(key=POOLER, value="allow", direction="back"), traffic)
        walked(walker, "back", "--to", "start")
    assert failures([], traffic.requests()) == []
    assert started(walker) == servers
    assert path.behind(walker.declared()) == ()
