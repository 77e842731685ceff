"""init.sh refuses what it cannot trust, names it, and leaves what was there."""

import base64
from pathlib import Path

import pytest

from tests.host.conftest import Roots, SecretsManager, Store, roots_in, system_path
from tests.host.issuing import SECRETS, Generation, authority, server, server_settings, settings_text, wanted

KEY = SECRETS["SECRET_KEY"]
CERT = SECRETS["SECRET_CERT"]
CA = SECRETS["SECRET_CA"]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def bad_secrets(one: Generation) -> dict[str, tuple[dict[str, str], dict[str, str], list[str]]]:
    """name → (settings changed, secrets changed, words of the refusal)."""
    other = Generation(number=1, ca=one.ca, leaf=server(one.ca))
    fake_ca = authority(is_ca=False)
    false_leaf = server(fake_ca)
    foreign = server(authority("another CA"))
    expired = server(one.ca, days=-1)
    narrow = server(one.ca, names=("db.lab.internal", "voiceai-postgres"))
    half = one.secrets()[KEY]
    return {
        "key of another pair": ({}, {KEY: other.secrets()[KEY]}, [f"secret {KEY}", "does not belong"]),
        "another certificate": ({}, other.secrets(), [f"secret {CERT}", "the settings want", one.leaf.sha256]),
        "another CA": ({}, {CA: encoded(authority().pem)}, [f"secret {CA}", "the settings want", one.ca.sha256]),
        "no CA": (
            {"CA_SHA256": fake_ca.sha256, "CERTIFICATE_SHA256": false_leaf.sha256},
            Generation(number=1, ca=fake_ca, leaf=false_leaf).secrets(),
            [f"secret {CA}", "is not a CA"],
        ),
        "another issuer": (
            {"CERTIFICATE_SHA256": foreign.sha256},
            Generation(number=1, ca=one.ca, leaf=foreign).secrets(),
            [f"secret {CERT}", "is not a server certificate of this CA"],
        ),
        "expired": (
            {"CERTIFICATE_SHA256": expired.sha256},
            Generation(number=1, ca=one.ca, leaf=expired).secrets(),
            [f"secret {CERT}", "has expired", "CERTIFICATE_GENERATION"],
        ),
        "name not covered": (
            {"CERTIFICATE_SHA256": narrow.sha256},
            Generation(number=1, ca=one.ca, leaf=narrow).secrets(),
            ["does not cover voiceai-pgbouncer voiceai-redis", "db.lab.internal voiceai-postgres"],
        ),
        "not base64": ({}, {KEY: "!" + half[1:]}, [f"secret {KEY} is corrupt", "not base64"]),
        "cut short": ({}, {KEY: half[: len(half) // 2]}, [f"secret {KEY}"]),
        "not PEM": ({}, {CERT: encoded(b"no certificate at all")}, [f"secret {CERT} is corrupt"]),
        "empty": ({}, {KEY: encoded(b"\n")}, [f"secret {KEY} is corrupt"]),
    }


BAD = list(bad_secrets(Generation(number=1, ca=(_ca := authority()), leaf=server(_ca))))


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("already", [False, True], ids=["first", "reissue"])
def test_a_pair_that_fails_a_check_is_refused_and_what_was_there_stays(
    host: Roots, store: Store, generations: dict[int, Generation], case: str, already: bool
) -> None:
    one = generations[1]
    if already:
        # The generation asked for is a second one then.
        store.put(one.secrets())
        assert host.init(wanted(one)).returncode == 0
        one = generations[2]
    changed, values, words = bad_secrets(one)[case]
    store.put({**one.secrets(), **values})
    before = host.listing()
    done = host.init(settings_text(server_settings(**{**one.settings(), **changed})))
    assert done.returncode == 3, done.stderr
    for word in words:
        assert word in done.stderr
    assert {path for path in host.listing() if "wrong-ca" not in path and not path.endswith("generations")} - {
        str(host.tls)
    } == set(before) - {str(host.tls), str(host.tls / "wrong-ca.crt"), str(host.tls / "generations")}
    if already:
        assert (host.tls / "server.crt").read_bytes() == generations[1].leaf.pem


def test_an_absent_secret_is_named_by_either_reader(
    tmp_path: Path, secrets: SecretsManager, reader: Path, generations: dict[int, Generation]
) -> None:
    secrets.put({name: value for name, value in generations[1].secrets().items() if name != KEY})
    host = roots_in(tmp_path, f"{reader}:{system_path()}", AWS_ENDPOINT_URL=secrets.url)
    done = host.init(wanted(generations[1]))
    assert done.returncode == 3
    assert f"secret {KEY} is not in Secrets Manager (eu-west-1, {secrets.url})" in done.stderr
    assert f"secret {CA}" not in done.stderr
    assert not (host.tls / "current").exists()


@pytest.mark.parametrize("absent", [CA, CERT])
def test_whichever_secret_is_absent_is_the_one_that_is_named(
    host: Roots, store: Store, generations: dict[int, Generation], absent: str
) -> None:
    store.put({name: value for name, value in generations[1].secrets().items() if name != absent})
    done = host.init(wanted(generations[1]))
    assert done.returncode == 3
    assert f"secret {absent} is not in Secrets Manager" in done.stderr


def test_secrets_manager_down_is_said_by_either_reader(
    tmp_path: Path, reader: Path, generations: dict[int, Generation]
) -> None:
    # Port 9 of the loopback: nothing listens there.
    host = roots_in(tmp_path, f"{reader}:{system_path()}", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    done = host.init(wanted(generations[1]))
    assert done.returncode == 3
    assert "Secrets Manager (eu-west-1, http://127.0.0.1:9) does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (host.tls / "current").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--settings"], "needs a value"),
        (["--setings", "x"], "unknown argument --setings"),
        (["--settings", "/no"], "/no"),
    ],
)
def test_a_mistyped_call_is_refused_with_a_sentence(host: Roots, argv: list[str], words: str) -> None:
    done = host.run("init.sh", *argv)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_disk_that_fills_up_while_secrets_are_read_is_said_to_be_full(
    host: Roots, generations: dict[int, Generation]
) -> None:
    """`head`, which probes for room, fails as it does on a full disk; the reader has written nothing."""
    bin_dir = host.etc.parent / "bin"
    for tool in ("head", "aws"):
        (bin_dir / tool).write_text("#!/bin/sh\nexit 1\n")
        (bin_dir / tool).chmod(0o755)
    done = host.init(wanted(generations[1]))
    assert done.returncode == 3
    assert "the disk is full" in done.stderr
    assert not (host.tls / "current").exists()
