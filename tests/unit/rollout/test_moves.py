"""Moves in words, and the moves that are no step: attributes, inventory, apps that come and leave."""

from dataclasses import replace

import pytest

from rollout.declared import Declared, Deployment, default_app
from rollout.moves import describe
from rollout.rules import move_violations

from .declarations import (
    APPS_FLIPPED,
    CERTIFICATES,
    CLIENT_LEG,
    CLOSED,
    NOTHING,
    POSTGRES_OFFERS,
    PREPARED,
    REDIS_CLOSED,
    REDIS_OFFERS,
    SERVER_LEG,
    declared,
    having,
    with_app,
    with_host,
    with_name,
    without_app,
    without_host,
)


def refusals(previous: Declared, following: Declared) -> str:
    return "\n".join(str(violation) for violation in move_violations(previous, following))


LINES = [
    ({}, PREPARED, "step 0: PREPARED off → on"),
    (PREPARED, {}, "step 0 back: PREPARED on → off"),
    (PREPARED, CERTIFICATES, "postgres 1/7: CERTIFICATE_GENERATION 0 → 1"),
    (CERTIFICATES, {**CERTIFICATES, "gen": "2"}, "postgres 1/7: CERTIFICATE_GENERATION 1 → 2"),
    (CERTIFICATES, POSTGRES_OFFERS, "postgres 2/7: POSTGRES_TLS_ENABLED off → on"),
    (POSTGRES_OFFERS, CERTIFICATES, "postgres 2/7 back: POSTGRES_TLS_ENABLED on → off"),
    (
        SERVER_LEG,
        {**SERVER_LEG, "leg2": "verify-full"},
        "postgres 3/7: PGBOUNCER_SERVER_TLS_SSLMODE verify-ca → verify-full",
    ),
    (SERVER_LEG, CLIENT_LEG, "postgres 4/7: PGBOUNCER_CLIENT_TLS_SSLMODE disable → allow"),
    (CLIENT_LEG, SERVER_LEG, "postgres 4/7 back: PGBOUNCER_CLIENT_TLS_SSLMODE allow → disable"),
    (
        {**CLIENT_LEG, "api": "verify-full"},
        APPS_FLIPPED,
        "postgres 5/7 (web, 2 of 2): apps.web.DATABASE_SSL_MODE disable → verify-full",
    ),
    (
        APPS_FLIPPED,
        {**APPS_FLIPPED, "api": "prefer"},
        "postgres 5/7 (api, 1 of 2) back: apps.api.DATABASE_SSL_MODE verify-full → prefer",
    ),
    (APPS_FLIPPED, CLOSED, "postgres 6/7: PGBOUNCER_CLIENT_TLS_SSLMODE allow → require"),
    (CLOSED, APPS_FLIPPED, "postgres 6/7 back: PGBOUNCER_CLIENT_TLS_SSLMODE require → allow"),
    (CERTIFICATES, REDIS_OFFERS, "redis 2/4: REDIS_TLS_ENABLED false → true"),
    (
        REDIS_OFFERS,
        {**REDIS_OFFERS, "api_redis": "true"},
        "redis 3/4 (api, 1 of 2): apps.api.REDIS_TLS_ENABLED false → true",
    ),
    (
        CERTIFICATES,
        {**POSTGRES_OFFERS, "redis": "true"},
        "POSTGRES_TLS_ENABLED off → on, REDIS_TLS_ENABLED false → true",
    ),
    (CERTIFICATES, CERTIFICATES, ""),
]


@pytest.mark.parametrize(("before", "after", "line"), LINES, ids=[line for *_, line in LINES])
def test_the_line_of_a_move(before: dict[str, str], after: dict[str, str], line: str) -> None:
    assert describe(declared(**before), declared(**after)).line == line


def test_the_line_of_a_reissue_says_why() -> None:
    before = declared(**POSTGRES_OFFERS)
    assert describe(before, with_name(before, "db2.internal")).line == "certificate reissued: SAN added: db2.internal"


def test_the_line_tells_what_changes_beside_a_step() -> None:
    line = describe(declared(**CERTIFICATES), having(declared(**REDIS_OFFERS), REDIS_TLS_PORT="6390")).line
    assert line == "redis 2/4: REDIS_TLS_ENABLED false → true; REDIS_TLS_PORT 6380 → 6390"


# name, what stands, attribute, accepted alone
ATTRIBUTES = [
    ("port before its step", CERTIFICATES, "REDIS_TLS_PORT", "6390", True),
    ("port after its step", REDIS_OFFERS, "REDIS_TLS_PORT", "6390", False),
    ("CA file before its step", SERVER_LEG, "apps__web__DATABASE_SSL_CA_FILE", "/etc/ca.crt", True),
    ("CA file of a flipped app", APPS_FLIPPED, "apps__web__DATABASE_SSL_CA_FILE", "/etc/ca.crt", False),
    ("Redis CA file before its step", REDIS_OFFERS, "apps__web__REDIS_TLS_CA_FILE", "/etc/ca.crt", True),
    ("Redis CA file of a flipped app", REDIS_CLOSED, "apps__web__REDIS_TLS_CA_FILE", "/etc/ca.crt", False),
    ("quiet minutes", REDIS_CLOSED, "QUIET_MINUTES", "0", True),
    ("draining", CLOSED, "DRAIN_STRAGGLERS", "on", True),
    ("restart", CLOSED, "apps__web__acceptRestart", "true", True),
    ("drain seconds", CLOSED, "apps__web__drainSeconds", "5", True),
    ("health", CLOSED, "apps__web__healthCommand", "true", True),
]


@pytest.mark.parametrize(("name", "state", "key", "value", "accepted"), ATTRIBUTES, ids=[row[0] for row in ATTRIBUTES])
def test_an_attribute_alone(name: str, state: dict[str, str], key: str, value: str, accepted: bool) -> None:
    before = declared(**state)
    assert (move_violations(before, having(before, **{key: value})) == ()) is accepted


def test_an_attribute_changes_with_its_step_and_with_no_other() -> None:
    before = declared(**CERTIFICATES)
    port = {"REDIS_TLS_PORT": "6390"}
    assert move_violations(before, having(declared(**REDIS_OFFERS), **port)) == ()
    assert move_violations(having(declared(**REDIS_OFFERS), **port), before) == ()
    assert "2 things change at once" in refusals(before, having(declared(**POSTGRES_OFFERS), **port))
    assert "REDIS_TLS_ENABLED is true" in refusals(
        declared(**REDIS_OFFERS), having(declared(**REDIS_OFFERS, api_redis="true"), **port)
    )


def test_the_refusal_of_an_attribute_says_how_it_may_change() -> None:
    before = declared(**REDIS_OFFERS)
    assert refusals(before, having(before, REDIS_TLS_PORT="6390")) == (
        "REDIS_TLS_PORT 6380 → 6390: REDIS_TLS_ENABLED is true, so the value that it was taken with is in use; keep "
        "REDIS_TLS_PORT at 6380, or set REDIS_TLS_ENABLED back to false first and change it then"
    )


def test_free_attributes_change_with_anything() -> None:
    free = {"QUIET_MINUTES": "0", "apps__api__drainSeconds": "5", "DRAIN_STRAGGLERS": "on"}
    assert move_violations(declared(**APPS_FLIPPED), having(declared(**CLOSED), **free)) == ()
    assert move_violations(declared(**CLOSED), having(with_host(declared(**CLOSED), "spare", "web"), **free)) == ()


def test_a_long_value_is_cut_in_the_line() -> None:
    line = describe(NOTHING, having(NOTHING, apps__web__healthCommand="x" * 500)).line
    assert line.startswith("apps.web.healthCommand none → xxx")
    assert len(line) < 110


BEFORE = declared(**CERTIFICATES)
API = BEFORE.apps["api"]
DEPLOYMENT = Deployment(directory="/srv/db", files=("compose.yaml",), services={"postgres": "db"})

# name, what follows, what the line says
INVENTORIES = [
    ("a host more", with_host(BEFORE, "api3", "api"), "host api3 added"),
    ("a host less", without_host(BEFORE, "api2"), "host api2 removed"),
    (
        "an app moves in",
        with_host(BEFORE, "api1", "api", "web", address="10.0.0.21"),
        "host api1: roles api → api, web",
    ),
    ("another address", with_host(BEFORE, "api1", "api"), "host api1: clientAddresses 10.0.0.21 → 10.0.0.99"),
    (
        "another deployment",
        replace(BEFORE, hosts={**BEFORE.hosts, "database": replace(BEFORE.hosts["database"], deployment=DEPLOYMENT)}),
        "host database: deployment none → {directory: /srv/db, files: compose.yaml, services: {postgres: db}}",
    ),
    ("a new app", with_app(BEFORE, "worker"), "host worker added; app worker added"),
    (
        "another contract",
        replace(BEFORE, apps={**BEFORE.apps, "api": replace(API, services=("a", "b"), env_file="/e")}),
        "app api: envFile /opt/api/.env → /e; app api: services api → a, b",
    ),
    (
        "another order",
        replace(BEFORE, apps={name: BEFORE.apps[name] for name in ("web", "api")}),
        "apps are flipped in the order web, api, was api, web",
    ),
]


@pytest.mark.parametrize(("name", "following", "line"), INVENTORIES, ids=[row[0] for row in INVENTORIES])
def test_an_inventory_change_is_a_move_of_its_own(name: str, following: Declared, line: str) -> None:
    assert move_violations(BEFORE, following) == ()
    assert describe(BEFORE, following).line == line
    step = replace(following, settings={**following.settings, "POSTGRES_TLS_ENABLED": "on"})
    assert f"and {line}: 2 things change at once" in refusals(BEFORE, step)


def test_a_new_app_must_be_usable_where_the_rollout_stands() -> None:
    closed = declared(**CLOSED)
    assert "PgBouncer would refuse worker" in refusals(closed, with_app(closed, "worker"))
    assert move_violations(closed, with_app(closed, "worker", DATABASE_SSL_MODE="verify-full")) == ()
    assert move_violations(closed, with_app(closed, "worker", DATABASE_SSL_MODE="prefer")) == ()


def test_an_app_leaves_only_when_the_leaving_is_said() -> None:
    before = declared(**CLOSED)
    assert refusals(before, without_app(before, "web")) == (
        "app web removed: without it no closing step would look for its clients any more, and nothing shows that they "
        "are gone; stop web on web, then remove it with leaving: [web]"
    )
    assert move_violations(before, without_app(before, "web", leaving=("web",))) == ()
    assert "app web removed" in refusals(before, without_app(before, "web", leaving=("api",)))


def test_the_word_of_leaving_stands_and_goes_freely() -> None:
    before, said = declared(**APPS_FLIPPED), replace(declared(**APPS_FLIPPED), leaving=("web",))
    assert move_violations(before, said) == move_violations(said, before) == ()
    assert move_violations(said, replace(declared(**CLOSED), leaving=())) == ()


def test_a_host_less_of_an_app_that_stays_needs_no_word() -> None:
    before = declared(**CLOSED)
    assert move_violations(before, without_host(before, "api2")) == ()


def test_an_app_that_begins_to_use_a_server_brings_its_variables() -> None:
    only_redis = replace(default_app("web"), uses=("redis",), database_user="")
    settings = {key: value for key, value in BEFORE.settings.items() if key != "apps.web.DATABASE_SSL_MODE"}
    before = replace(BEFORE, apps={**BEFORE.apps, "web": only_redis}, settings=settings)
    assert move_violations(before, BEFORE) == ()
    assert "app web: uses redis → postgres, redis" in describe(before, BEFORE).line
