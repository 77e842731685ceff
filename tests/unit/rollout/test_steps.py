"""The table of steps is whole: what it refers to is there, and comes before what needs it."""

import pytest

from rollout.steps import (
    ATTRIBUTES,
    ROLES,
    ROWS,
    TRACKS,
    VARIABLES,
    Row,
    app_of,
    for_app,
    generic,
    initial_settings,
    rank,
    stages,
)

ROWS_BY_TRACK = [(track, number, row) for track, rows in TRACKS.items() for number, row in enumerate(rows)]


def test_the_tracks_are_the_seeds_rollouts() -> None:
    assert [(row.key, row.target) for row in TRACKS["postgres"]] == [
        ("PREPARED", "on"),
        ("CERTIFICATE_GENERATION", "1"),
        ("POSTGRES_TLS_ENABLED", "on"),
        ("PGBOUNCER_SERVER_TLS_SSLMODE", "verify-ca"),
        ("PGBOUNCER_CLIENT_TLS_SSLMODE", "allow"),
        ("apps.<app>.DATABASE_SSL_MODE", "verify-full"),
        ("PGBOUNCER_CLIENT_TLS_SSLMODE", "require"),
        ("POSTGRES_FORCE_SSL", "on"),
    ]
    assert [(row.key, row.target) for row in TRACKS["redis"]] == [
        ("PREPARED", "on"),
        ("CERTIFICATE_GENERATION", "1"),
        ("REDIS_TLS_ENABLED", "true"),
        ("apps.<app>.REDIS_TLS_ENABLED", "true"),
        ("REDIS_FORCE_TLS", "true"),
    ]
    assert [row.key for row in ROWS if row.optional] == ["POSTGRES_FORCE_SSL"]


@pytest.mark.parametrize(("track", "number", "row"), ROWS_BY_TRACK, ids=lambda value: getattr(value, "key", value))
def test_a_row_needs_only_what_its_track_has_before_it(track: str, number: int, row: Row) -> None:
    variable = VARIABLES[row.key]
    assert variable.rank(row.target) > variable.rank(variable.initial) == 0
    earlier = {one.key: one for one in TRACKS[track][:number]}
    for need in row.needs:
        assert variable.rank(need.at) > 0
        assert VARIABLES[need.key].rank(need.least) <= VARIABLES[need.key].rank(earlier[need.key].target)
    for limit in row.limits:
        assert limit.key in {one.key for one in TRACKS[track][number:]}


def test_every_variable_has_a_row_and_every_attribute_a_step_that_exists() -> None:
    assert {row.key for row in ROWS} == set(VARIABLES)
    for attribute in ATTRIBUTES.values():
        assert not attribute.step or VARIABLES[attribute.step].uses == attribute.uses
        assert set(attribute.roles) <= {*ROLES, "app"}
    for variable in VARIABLES.values():
        assert set(variable.roles) <= set(ROLES)


def test_rows_of_one_variable_grow_along_the_track() -> None:
    targets = [row.target for row in TRACKS["postgres"] if row.key == "PGBOUNCER_CLIENT_TLS_SSLMODE"]
    assert [rank("PGBOUNCER_CLIENT_TLS_SSLMODE", target) for target in targets] == [1, 3]


def test_an_apps_keys_come_and_go_between_table_and_config() -> None:
    assert generic("apps.web.REDIS_TLS_ENABLED") == "apps.<app>.REDIS_TLS_ENABLED"
    assert generic("REDIS_TLS_ENABLED") == "REDIS_TLS_ENABLED"
    assert for_app(generic("apps.web.REDIS_TLS_ENABLED"), "web") == "apps.web.REDIS_TLS_ENABLED"
    assert (app_of("apps.web.REDIS_TLS_ENABLED"), app_of("REDIS_TLS_ENABLED")) == ("web", "")


def test_an_app_has_the_variables_of_the_servers_that_it_uses_in_the_inventorys_order() -> None:
    settings = initial_settings({"web": ("postgres",), "telpro": ("redis",), "batch": ("postgres", "redis")})
    assert [key for key in settings if app_of(key)] == [
        "apps.web.DATABASE_SSL_MODE",
        "apps.batch.DATABASE_SSL_MODE",
        "apps.telpro.REDIS_TLS_ENABLED",
        "apps.batch.REDIS_TLS_ENABLED",
    ]
    assert set(settings.values()) == {"off", "0", "disable", "false"}


def test_taking_a_second_row_of_a_variable_back_leads_to_its_first() -> None:
    lower = {(stage.number, stage.key): stage.lower for stage in stages("postgres", initial_settings({}))}
    assert lower[4, "PGBOUNCER_CLIENT_TLS_SSLMODE"] == "disable"
    assert lower[6, "PGBOUNCER_CLIENT_TLS_SSLMODE"] == "allow"
