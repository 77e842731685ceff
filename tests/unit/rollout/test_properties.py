"""What holds for inventories, walks and configs of any shape."""

import json
import re
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.config import Configuration, parse
from rollout.declared import Declared
from rollout.ledger import Record, Refused, advance, unconfirmed_hosts
from rollout.path import Moves, ahead, behind
from rollout.reader import ConfigError, Problem
from rollout.render import host_content
from rollout.rules import move_violations, state_violations
from rollout.steps import APP_ORDER, variable_of

from .test_config import HOST_KEY

# The same examples every time: a failure is the change's, not the day's.
CHECKED = settings(
    deadline=None, derandomize=True, database=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow]
)

FURTHER = ("worker", "batch")
USES: Any = st.sampled_from([["postgres"], ["redis"], ["postgres", "redis"]])


@st.composite
def inventories(draw: st.DrawFn) -> Declared:
    """A declaration at its start: any apps, each using something, on one to three hosts of its own."""
    apps = draw(st.lists(st.sampled_from((*APP_ORDER, *FURTHER)), unique=True, max_size=5))
    hosts = {"database": ["postgres", "pgbouncer", "redis", *draw(st.sampled_from([[], ["otel"]]))]}
    for app in apps:
        hosts |= {f"{app}-{number}": [app] for number in range(draw(st.integers(1, 3)))}
    return parse(
        written(
            furtherApps=[app for app in FURTHER if app in apps],
            apps={app: {"uses": draw(USES)} for app in apps},
            hosts={
                name: {"address": f"10.0.0.{number}", "hostKey": HOST_KEY, "roles": roles}
                for number, (name, roles) in enumerate(hosts.items())
            },
        )
    ).declared


def written(**values: Any) -> dict[str, str]:
    """A config as the engine hands it over."""
    base = {"environment": "test", "databaseDns": "db.internal", "secrets": {"region": "eu-west-1"}}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in (base | values).items()}


def draw_move(draw: st.DrawFn, declared: Declared) -> Declared:
    """`declared` with one variable at any of its values."""
    key = draw(st.sampled_from([*declared.settings]))
    value = draw(st.sampled_from(variable_of(key).values or ("0", "1", "2", "3")))
    return replace(declared, settings={**declared.settings, key: value})


@st.composite
def reached(draw: st.DrawFn) -> Declared:
    """A state that some legal moves led to: along the way for a while, then wherever a single move may lead."""
    declared = draw(inventories())
    for key, value in ahead(declared)[: draw(st.integers(0, 24))]:
        declared = replace(declared, settings={**declared.settings, key: value})
    for _ in range(draw(st.integers(0, 8))):
        following = draw_move(draw, declared)
        if move_violations(declared, following) == ():
            declared = following
    return declared


def walk(declared: Declared, moves: Moves) -> Declared:
    for key, value in moves:
        following = replace(declared, settings={**declared.settings, key: value})
        violations = move_violations(declared, following)
        assert violations == (), (dict(declared.settings), key, value)
        declared = following
    return declared


@CHECKED
@given(reached())
def test_from_wherever_legal_moves_lead_the_rollout_can_be_finished_and_taken_back(declared: Declared) -> None:
    assert state_violations(declared.settings) == ()
    assert ahead(walk(declared, ahead(declared))) == ()
    start = walk(declared, behind(declared))
    assert all(value == variable_of(key).initial for key, value in start.settings.items())


@CHECKED
@given(reached())
def test_a_declaration_survives_the_trip_through_the_engines_json(declared: Declared) -> None:
    assert Declared.from_plain(json.loads(json.dumps(declared.to_plain(), sort_keys=True))) == declared


@CHECKED
@given(st.data(), inventories())
def test_the_ledger_moves_on_only_over_confirmed_moves(data: st.DataObject, declared: Declared) -> None:
    record = advance(None, declared, {})
    receipts = dict(record.revisions)
    for _ in range(data.draw(st.integers(1, 15))):
        way = (*ahead(record.attempted)[:1], *behind(record.attempted)[:1])
        key, value = data.draw(st.sampled_from(way))
        following = replace(record.attempted, settings={**record.attempted.settings, key: value})
        record = _judged(record, following, receipts)
        if data.draw(st.booleans()):
            receipts = dict(record.revisions)


def _judged(record: Record, following: Declared, receipts: dict[str, str]) -> Record:
    pending = unconfirmed_hosts(record, receipts)
    try:
        accepted = advance(record, following, receipts)
    except Refused:
        assert pending, "only a pending move holds up the next on the way"
        assert following != record.confirmed, "the way back is always open"
        return record
    assert not pending or following == record.confirmed
    assert accepted.confirmed == (record.confirmed if pending else record.attempted)
    assert all(int(accepted.revisions[host]) >= int(record.revisions[host]) for host in record.revisions)
    assert set(accepted.order) <= {host for host in accepted.revisions if host in unconfirmed_hosts(accepted, receipts)}
    return accepted


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
APP_FIELDS = ("uses", "kind", "directory", "envFile", "services", "databaseUser", "applicationName", "healthCommand")
HOST_FIELDS = ("address", "port", "user", "hostKey", "roles", "clientAddresses", "deployment")
SAFE_LINE = re.compile(r"[A-Za-z0-9_.-]+=[A-Za-z0-9_./:,@-]*|apps\.[a-z0-9-]+\.HEALTH_COMMAND=[\x20-\x7e]+")


def parsed(config: dict[str, str]) -> Configuration | None:
    """What is read, or None where it is refused with at least one problem that has a key."""
    refused: tuple[Problem, ...] = ()
    try:
        return parse(config)
    except ConfigError as error:
        refused = error.problems
    assert refused
    assert all(problem.key and problem.text for problem in refused)
    return None


@CHECKED
@given(
    st.dictionaries(st.sampled_from(("hosts", "apps", "furtherApps", "leaving", "secrets", "certificate")), JSON),
    st.dictionaries(st.sampled_from(APP_FIELDS), JSON, max_size=3),
    st.dictionaries(st.sampled_from(HOST_FIELDS), JSON, max_size=3),
)
def test_a_config_of_any_shape_is_read_or_refused_with_its_keys(
    values: dict[str, Any], app: dict[str, Any], host: dict[str, Any]
) -> None:
    database = {"address": "db", "hostKey": HOST_KEY, "roles": ["postgres", "pgbouncer", "redis", "api"]}
    base = {"apps": {"api": app}, "hosts": {"database": database | host}}
    parsed(written(**(base | values)))


ODD = st.text(alphabet=st.sampled_from([*"a/._-,:@=+ \n\r\t\0$'\"#é\x7f\x85\u2028"]), max_size=2)
TEXT = st.builds("{}{}{}".format, st.sampled_from(["", "a", "/a"]), ODD, st.sampled_from(["", "b"]))
PLACES = (
    *(f"apps.api.{name}" for name in ("directory", "envFile", "databaseUser", "applicationName", "redisClientName")),
    *("apps.api.healthCommand", "apps.api.DATABASE_SSL_CA_FILE", "apps.api.REDIS_TLS_CA_FILE", "apps.api.services"),
    *("hosts.database.address", "hosts.database.clientAddresses", "hosts.database.deployment.directory"),
    *("hosts.database.deployment.files", "hosts.database.deployment.services.redis", "secrets.prefix"),
    *("environment", "databaseDns", "secrets.region", "furtherApps", "QUIET_MINUTES", "REDIS_TLS_PORT"),
)
LISTS = ("services", "clientAddresses", "files", "furtherApps")


@settings(CHECKED, max_examples=2000)
@given(st.sampled_from(PLACES), TEXT)
def test_no_value_leaves_its_line_in_a_hosts_settings(place: str, text: str) -> None:
    database = {"address": "db", "hostKey": HOST_KEY, "roles": ["postgres", "pgbouncer", "redis", "api"]}
    deployment = {"directory": "/srv", "services": {}}
    config: dict[str, Any] = {
        "secrets": {"region": "eu-west-1"},
        "apps": {"api": {}},
        "hosts": {"database": database | {"deployment": deployment}},
    }
    *path, last = place.split(".")
    inner = config
    for key in path:
        inner = inner[key]
    inner[last] = [text] if last in LISTS else text
    read = parsed(written(**config))
    if read is not None:
        lines = host_content(read.declared, "database").split("\n")[:-1]
        assert [line for line in lines if not SAFE_LINE.fullmatch(line)] == []
