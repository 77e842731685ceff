"""`settings-are-declared` and `commands-are-safe`: every rule with what it lets through and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policy.command_rules import commands_are_safe, settings_are_declared
from policy.inputs import UNKNOWN, Resource
from tests.policy.resources import (
    APPLY,
    CA_SHA256,
    CERTIFICATE_SHA256,
    HOST_KEY,
    INSTALL,
    bundle,
    command,
    record,
    seen,
    settings,
)
from tests.unit.rollout.declarations import CERTIFICATES, POSTGRES_OFFERS, PREPARED

FIRST = record()
ISSUED = record(PREPARED, CERTIFICATES)
OFFERED = record(PREPARED, CERTIFICATES, POSTGRES_OFFERS)


def good(host: str = "web", of: Any = ISSUED, **changes: Any) -> Resource:
    return command(f"hosts.{host}", **{"stdin": settings(of, host)} | changes)


@pytest.mark.parametrize("host", ["api1", "database", "web"])
@pytest.mark.parametrize("of", [FIRST, ISSUED, OFFERED], ids=["first", "issued", "offered"])
def test_what_the_ledger_declares_passes(host: str, of: Any) -> None:
    assert settings_are_declared(good(host, of), seen(of)) == []
    assert commands_are_safe(good(host, of)) == []


def test_the_bundle_passes_before_any_ledger() -> None:
    assert settings_are_declared(bundle(), seen()) == []
    assert commands_are_safe(bundle()) == []


@pytest.mark.parametrize("user", ["", "sudo -n "])
def test_other_users_pass(user: str) -> None:
    assert settings_are_declared(good(create=user + APPLY, update=user + APPLY), seen(ISSUED)) == []
    assert settings_are_declared(bundle(create=user + INSTALL, update=user + INSTALL), seen()) == []


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("POSTGRES_FORCE_SSL=off", "POSTGRES_FORCE_SSL=on", "POSTGRES_FORCE_SSL"),
        ("REVISION=", "REVISION=9", "REVISION"),
        ("ENVIRONMENT=test\n", "", "ENVIRONMENT"),
        ("PREPARED=on\n", "PREPARED=on\nSMUGGLED=1\n", "no setting"),
        ("PREPARED=on\n", "PREPARED=on\n; rm -rf /\n", "no setting"),
        ("PREPARED=on\nQUIET_MINUTES=60\n", "QUIET_MINUTES=60\nPREPARED=on\n", "their order"),
        ("CERTIFICATE_REQUEST=", "CERTIFICATE_REQUEST=0", "CERTIFICATE_REQUEST"),
    ],
)
def test_a_setting_that_is_not_declared_is_refused_by_its_key_alone(old: str, new: str, key: str) -> None:
    text = settings(ISSUED, "database")
    assert old in text
    (told,) = settings_are_declared(good("database", stdin=text.replace(old, new, 1)), seen(ISSUED))
    assert key in told
    assert "rm -rf" not in told


def test_another_hosts_settings_are_refused() -> None:
    assert settings_are_declared(good("web", stdin=settings(ISSUED, "api1")), seen(ISSUED))


def test_settings_of_the_move_before_are_refused() -> None:
    (told,) = settings_are_declared(good("database", ISSUED), seen(OFFERED))
    assert "--target" in told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (CERTIFICATE_SHA256, ""),
        (CA_SHA256, ""),
        (CERTIFICATE_SHA256, CERTIFICATE_SHA256.upper()),
        (CERTIFICATE_SHA256, "ab"),
    ],
    ids=["no certificate", "no CA", "capitals", "short"],
)
def test_fingerprints_go_with_the_generation(old: str, new: str) -> None:
    text = settings(ISSUED, "web").replace(old, new)
    assert settings_are_declared(good(stdin=text), seen(ISSUED))


def test_fingerprints_at_generation_0_are_refused() -> None:
    text = settings(FIRST, "web").replace("CA_SHA256=", f"CA_SHA256={CA_SHA256}")
    assert settings_are_declared(good(stdin=text), seen(FIRST))


def test_hosts_are_told_of_one_certificate() -> None:
    memory = seen(ISSUED)
    assert settings_are_declared(good("web"), memory) == []
    other = settings(ISSUED, "api1").replace(CERTIFICATE_SHA256, "ef" * 32)
    assert "not that of the certificate" in settings_are_declared(good("api1", stdin=other), memory)[0]


def test_the_certificate_that_is_stored_is_the_one_that_hosts_are_told_of() -> None:
    memory = seen(ISSUED)
    memory.certificate_sha256, memory.ca_sha256 = CERTIFICATE_SHA256, CA_SHA256
    assert settings_are_declared(good(), memory) == []
    memory.ca_sha256 = "12" * 32
    assert "CA_SHA256" in settings_are_declared(good(), memory)[0]


def test_a_command_before_any_ledger_is_refused() -> None:
    assert "no accepted ledger" in settings_are_declared(good(), seen())[0]


def test_a_host_that_the_ledger_does_not_know_is_refused() -> None:
    stranger = replace(good(), name="hosts.stranger")
    assert "stranger is no host of the ledger" in settings_are_declared(stranger, seen(ISSUED))[0]


def test_unknown_settings_pass_in_a_preview_of_a_certificate_and_nowhere_else() -> None:
    preview = seen(ISSUED, at_up=False)
    assert settings_are_declared(good(stdin=UNKNOWN), preview) == []
    assert "compared with the ledger there" in preview.take_notices()[0]
    assert settings_are_declared(good("api1", stdin=UNKNOWN), preview) == []
    assert preview.take_notices() == []
    assert "not known" in settings_are_declared(good(stdin=UNKNOWN), seen(FIRST, at_up=False))[0]
    assert "not known" in settings_are_declared(good(stdin=UNKNOWN), seen(ISSUED, at_up=True))[0]


@pytest.mark.parametrize("stdin", [None, "", 3, [], {}], ids=str)
def test_no_settings_at_all_are_refused(stdin: Any) -> None:
    assert settings_are_declared(good(stdin=stdin), seen(ISSUED))


@pytest.mark.parametrize(
    "text",
    [
        APPLY + " && true",
        APPLY.replace("--settings -", "--set POSTGRES_FORCE_SSL on"),
        "POSTGRES_FORCE_SSL=on " + APPLY,
        APPLY.replace("/opt/voiceai", "/tmp"),
        "true",
        UNKNOWN,
        None,
        INSTALL,
    ],
    ids=str,
)
def test_another_command_text_is_refused(text: Any) -> None:
    for key in ("create", "update"):
        assert settings_are_declared(good(**{key: text}), seen(ISSUED))


@pytest.mark.parametrize(
    "changes",
    [
        {"create": INSTALL.replace("install: ", "installed: ")},
        dict.fromkeys(("create", "update"), INSTALL.replace("install: ", "installed: ")),
        {"update": INSTALL[:-64] + "0" * 64},
        {"create": INSTALL[:-64] + "0" * 64, "update": INSTALL[:-64] + "0" * 64},
        {"create": INSTALL + "; true"},
        {"create": APPLY},
        {"stdin": "bm90IHRoaXM="},
        {"stdin": "?"},
        {"stdin": UNKNOWN},
        {"stdin": None},
    ],
    ids=[
        "another script",
        "another script in both",
        "two digests",
        "another digest",
        "more",
        "apply",
        "another archive",
        "no base64",
        "unknown",
        "none",
    ],
)
def test_another_bundle_is_refused(changes: dict[str, Any]) -> None:
    assert settings_are_declared(bundle(**changes), seen())


def test_an_environment_is_refused() -> None:
    assert "environment" in settings_are_declared(good(environment={"X": "1"}), seen(ISSUED))[0]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("command:remote:Command", "extra"),
        ("command:remote:Command", "hosts.web.more"),
        ("command:remote:CopyToRemote", "hosts.web"),
        ("command:local:Command", "hosts.web"),
    ],
)
def test_another_way_to_hosts_is_refused_unless_it_is_named(kind: str, name: str) -> None:
    extra = replace(good(), kind=kind, name=name)
    assert "of its own" in settings_are_declared(extra, seen(ISSUED))[0]
    assert settings_are_declared(extra, seen(ISSUED), other=(name,)) == []


def test_other_resources_are_none_of_its_business() -> None:
    other = Resource(kind="aws:s3/bucket:Bucket", name="hosts.web", inputs={})
    assert settings_are_declared(other, seen()) == []
    assert commands_are_safe(other) == []


def connection(**changes: Any) -> dict[str, Any]:
    return {"connection": {"host": "10.0.0.1", "hostKey": HOST_KEY, **changes}}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"connection": None}, "not known"),
        ({"connection": UNKNOWN}, "not known"),
        ({"connection": {"host": "10.0.0.1"}}, "no hostKey"),
        (connection(hostKey=""), "no hostKey"),
        (connection(hostKey=UNKNOWN), "no hostKey"),
        (connection(hostKey="ssh-ed25519 x"), "no public key"),
        (connection(hostKey="ssh-ed25519 " + "A" * 68), "no public key"),
        (connection(hostKey=HOST_KEY.replace("ssh-ed25519", "ssh-rsa")), "no public key"),
        (connection(hostKey="* " + HOST_KEY), "no public key"),
        (connection(proxy={"host": "10.0.0.9"}), "connection.proxy has no hostKey"),
        ({"triggers": ["1"]}, "triggers"),
        ({"triggers": UNKNOWN}, "triggers"),
        ({"delete": "true"}, "delete"),
        ({"addPreviousOutputInEnv": True}, "addPreviousOutputInEnv"),
        ({"addPreviousOutputInEnv": None}, "addPreviousOutputInEnv"),
        ({"create": "/opt/voiceai/update.sh --settings -"}, "`create` is not bounded"),
        ({"update": APPLY.replace("300", "3601")}, "`update` is not bounded"),
        ({"update": APPLY.replace("300", "0")}, "`update` is not bounded"),
        ({"update": None}, "`update` is not bounded"),
        ({"update": "timeoutless; " + APPLY}, "`update` is not bounded"),
    ],
)
def test_an_unsafe_command_is_refused(changes: dict[str, Any], why: str) -> None:
    told = commands_are_safe(good(**changes))
    assert any(why in sentence for sentence in told), told


def test_a_pinned_proxy_and_a_commented_key_pass() -> None:
    assert commands_are_safe(good(**connection(proxy={"host": "10.0.0.9", "hostKey": HOST_KEY}))) == []
    assert commands_are_safe(good(**connection(hostKey=f"{HOST_KEY} root@db"))) == []


def test_the_bound_is_configurable() -> None:
    assert commands_are_safe(good(), maximum_seconds=300) == []
    assert commands_are_safe(good(), maximum_seconds=299)


def test_other_ways_are_safe_or_refused_too() -> None:
    copy = replace(good(), kind="command:remote:CopyToRemote", inputs={"connection": {"host": "10.0.0.1"}})
    assert "no hostKey" in commands_are_safe(copy)[0]
    local = Resource(kind="command:local:Command", name="x", inputs={"create": "true"})
    assert commands_are_safe(local) == []
    assert commands_are_safe(replace(local, inputs={"create": "true", "delete": "false"}))
