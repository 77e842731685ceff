"""The settings text: parsed whole, every problem said with its key."""

import subprocess
from collections.abc import Callable

import pytest

from tests.host.issuing import app_settings, server_settings, settings_text

Bash = Callable[..., subprocess.CompletedProcess[str]]
PARSE = 'declare -A GOT; parse_settings "$TEXT" GOT'
ISSUED = {
    "CERTIFICATE_GENERATION": "1",
    "CERTIFICATE_REQUEST": "0123456789abcdef",
    "CERTIFICATE_SHA256": "a" * 64,
    "CA_SHA256": "b" * 64,
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"POSTGRES_TLS_ENABLD": "on"}, "unknown key POSTGRES_TLS_ENABLD"),
        ({"POSTGRES_TLS_ENABLED": "maybe"}, "POSTGRES_TLS_ENABLED=maybe: must be one of off, on"),
        (
            {"PGBOUNCER_SERVER_TLS_SSLMODE": "allow"},
            "PGBOUNCER_SERVER_TLS_SSLMODE=allow: must be one of disable, prefer",
        ),
        ({"REVISION": "three"}, "REVISION=three: must be a whole number"),
        ({"CERTIFICATE_GENERATION": "-1"}, "CERTIFICATE_GENERATION=-1: must be a whole number"),
        ({"CERTIFICATE_GENERATION": "1"}, "CERTIFICATE_SHA256 is missing"),
        ({**ISSUED, "CA_SHA256": ""}, "CA_SHA256 is missing"),
        ({**ISSUED, "CA_SHA256": "xyz"}, "CA_SHA256=xyz: must be 64 hex digits"),
        ({**ISSUED, "DIALED_NAMES": ""}, "DIALED_NAMES is missing"),
        ({"ROLES": "postgres,pgbouncer,redis,db"}, "no role is called db"),
        ({"ROLES": "pgbouncer,redis"}, "POSTGRES_TLS_ENABLED is for hosts with role postgres"),
        ({"ENVIRONMENT": "$(reboot)"}, "the value of ENVIRONMENT has a character other than"),
        ({"ENVIRONMENT": ""}, "ENVIRONMENT is missing"),
    ],
)
def test_a_bad_value_is_refused_with_its_key(bash: Bash, changed: dict[str, str], words: str) -> None:
    done = bash(PARSE, TEXT=settings_text(server_settings(**changed)))
    assert done.returncode == 1
    assert words in done.stderr


def test_every_problem_is_said_at_once(bash: Bash) -> None:
    text = settings_text(server_settings(POSTGRES_TLS_ENABLED="maybe", REVISION="x", ENVIRONMENT=""))
    done = bash(PARSE, TEXT=text)
    assert done.returncode == 1
    for key in ("POSTGRES_TLS_ENABLED", "REVISION", "ENVIRONMENT"):
        assert key in done.stderr


@pytest.mark.parametrize("line", ["no equals sign", "A B=1", "=1"])
def test_a_line_that_is_no_setting_is_refused_with_its_number(bash: Bash, line: str) -> None:
    done = bash(PARSE, TEXT=f"REVISION=1\n{line}\n")
    assert done.returncode == 1
    assert "line 2: not KEY=VALUE" in done.stderr


def test_a_key_given_twice_is_refused(bash: Bash) -> None:
    done = bash(PARSE, TEXT=settings_text(server_settings()) + "REVISION=2\n")
    assert done.returncode == 1
    assert "REVISION is there twice" in done.stderr


@pytest.mark.parametrize("values", [server_settings(), server_settings(**ISSUED), app_settings()])
def test_parsed_settings_print_as_they_came(bash: Bash, values: dict[str, str]) -> None:
    done = bash(PARSE + "; settings_text GOT", TEXT=settings_text(values))
    assert done.returncode == 0, done.stderr
    printed = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {key: value for key, value in printed.items() if value} == values


def test_generation_zero_has_no_certificate_whatever_the_text_says(bash: Bash) -> None:
    text = settings_text(server_settings())
    done = bash(PARSE + '; printf "%s" "${GOT[CERTIFICATE_SHA256]}"', TEXT=text + f"CERTIFICATE_SHA256={'a' * 64}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({}, {}, ""),
        ({}, {"REVISION": "9", "DIALED_NAMES": "other", "AWS_REGION": "x"}, ""),
        ({}, {"POSTGRES_TLS_ENABLED": "on"}, "POSTGRES_TLS_ENABLED"),
        ({}, ISSUED, "CERTIFICATE_GENERATION"),
        (ISSUED, {**ISSUED, "CERTIFICATE_SHA256": "c" * 64}, "CERTIFICATE_GENERATION"),
        (
            {"POSTGRES_TLS_ENABLED": "on"},
            {"PGBOUNCER_SERVER_TLS_SSLMODE": "verify-ca"},
            "POSTGRES_TLS_ENABLED PGBOUNCER_SERVER_TLS_SSLMODE",
        ),
    ],
)
def test_the_certificates_keys_count_as_one_variable_and_attributes_as_none(
    bash: Bash, before: dict[str, str], after: dict[str, str], changed: str
) -> None:
    done = bash(
        'declare -A A B; parse_settings "$BEFORE" A; parse_settings "$AFTER" B; changed_variables A B | xargs',
        BEFORE=settings_text(server_settings(**before)),
        AFTER=settings_text(server_settings(**after)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == changed


@pytest.mark.parametrize(
    ("target", "order"),
    [
        (
            {**ISSUED, "POSTGRES_TLS_ENABLED": "on", "PGBOUNCER_SERVER_TLS_SSLMODE": "verify-ca"},
            "CERTIFICATE_GENERATION POSTGRES_TLS_ENABLED PGBOUNCER_SERVER_TLS_SSLMODE",
        ),
        ({}, "PGBOUNCER_SERVER_TLS_SSLMODE POSTGRES_TLS_ENABLED CERTIFICATE_GENERATION"),
    ],
)
def test_what_needs_tls_is_raised_last_and_lowered_first(bash: Bash, target: dict[str, str], order: str) -> None:
    done = bash(
        'declare -A TO; parse_settings "$TEXT" TO; in_safe_order TO $(step_variables TO) | xargs',
        TEXT=settings_text(server_settings(**target)),
    )
    assert [word for word in done.stdout.split() if word in order.split()] == order.split()
