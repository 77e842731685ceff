"""What each host is told, and which hosts a move touches."""

from dataclasses import replace

from rollout.render import host_content, host_settings, touched_hosts

from .declarations import START, declared, with_name


def lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_database_host_is_told_every_variable_of_its_roles() -> None:
    told = lines(host_content(declared("1", "on", "verify-ca"), "database"))
    assert told == {
        "AWS_REGION": "eu-west-1",
        "CERTIFICATE_GENERATION": "1",
        "CERTIFICATE_REQUEST": "0123456789abcdef",
        "DIALED_NAMES": "db.internal,voiceai-postgres,voiceai-pgbouncer,voiceai-redis",
        "ENVIRONMENT": "test",
        "PGBOUNCER_SERVER_TLS_SSLMODE": "verify-ca",
        "POSTGRES_TLS_ENABLED": "on",
        "ROLES": "postgres,pgbouncer,redis",
        "SECRET_CA": "voiceai/test/INTERNAL_CA_CRT_B64",
        "SECRET_CERT": "voiceai/test/INTERNAL_TLS_CERT_B64",
        "SECRET_KEY": "voiceai/test/INTERNAL_TLS_KEY_B64",
    }


def test_an_app_host_is_not_told_where_the_key_is_nor_any_server_variable() -> None:
    told = lines(host_content(declared("1", "on", "verify-ca"), "api"))
    assert told["ROLES"] == "app"
    assert told["SECRET_CA"] == "voiceai/test/INTERNAL_CA_CRT_B64"
    assert not {"SECRET_KEY", "SECRET_CERT", "POSTGRES_TLS_ENABLED", "PGBOUNCER_SERVER_TLS_SSLMODE"} & told.keys()


def test_a_server_on_a_host_of_its_own_is_only_another_inventory() -> None:
    apart = {"database": ("postgres",), "pool": ("pgbouncer",), "cache": ("redis",)}
    state = declared("1", "on", hosts=apart)
    assert "PGBOUNCER_SERVER_TLS_SSLMODE" not in lines(host_content(state, "database"))
    assert "POSTGRES_TLS_ENABLED" not in lines(host_content(state, "pool"))
    assert touched_hosts(state, declared("1", "on", "verify-ca", hosts=apart)) == ("pool",)


def test_the_revision_and_fingerprints_frame_the_content() -> None:
    content = host_content(declared("1"), "api")
    text = host_settings(content, revision="7", certificate_sha256="ab" * 32, ca_sha256="cd" * 32)
    assert text.startswith("REVISION=7\n")
    assert lines(text) == lines(content) | {
        "REVISION": "7",
        "CERTIFICATE_SHA256": "ab" * 32,
        "CA_SHA256": "cd" * 32,
    }


def test_nothing_is_asked_for_at_generation_0() -> None:
    assert lines(host_content(START, "database"))["CERTIFICATE_REQUEST"] == ""
    assert touched_hosts(START, with_name(START, "later.internal")) == ()


def test_which_hosts_a_move_touches() -> None:
    every = ("api", "database", "web")
    assert touched_hosts(START, declared("1")) == every
    assert touched_hosts(declared("1"), declared("1", "on")) == ("database",)
    assert touched_hosts(declared("1"), with_name(declared("1"), "db2.internal")) == every
    moved = replace(declared("1"), hosts={**START.hosts, "new": ("voice",)})
    assert touched_hosts(declared("1"), moved) == ("new",)
