"""The whole rollout by `operate next` and `operate back` under load: run by `make proof`, not by `make test`.

The load's own clients follow before a server refuses plaintext, as operators' scripts do: so the way is walked in
parts.
"""

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
