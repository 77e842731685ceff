"""The CA in a directory by its hash, where OpenSSL looks it up: Kamailio's ca_path."""

import shutil
import subprocess
from pathlib import Path

from tests.host.conftest import Roots, Store
from tests.host.issuing import Generation, app_settings, authority, server, settings_text


def asked(generation: Generation) -> str:
    return settings_text(app_settings(**generation.settings()))


def trusts(host: Roots, generation: Generation) -> str:
    """What OpenSSL says of the generation's server certificate, knowing only the directory."""
    leaf = host.etc / "leaf.pem"
    leaf.write_bytes(generation.leaf.pem)
    done = subprocess.run(
        ["openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath", host.tls / "hashed", leaf],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_directory_makes_openssl_trust_this_ca_and_no_other(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    store.put(generations[1].secrets())
    assert host.init(asked(generations[1])).returncode == 0
    assert trusts(host, generations[1]).endswith(": OK\n")
    other = authority("another CA")
    refused = trusts(host, Generation(number=1, ca=other, leaf=server(other)))
    assert "unable to get local issuer certificate" in refused
    before = host.listing()
    assert host.init(asked(generations[1])).returncode == 0
    assert host.listing() == before


def test_a_reissue_and_the_way_back_keep_it(host: Roots, store: Store, generations: dict[int, Generation]) -> None:
    for number in (1, 2, 1):
        store.put(generations[number].secrets())
        done = host.run("update.sh", "--settings", "-", stdin=asked(generations[number]))
        assert done.returncode == 0, done.stderr
        assert trusts(host, generations[number]).endswith(": OK\n")
    assert (host.tls / "hashed").readlink() == Path("current/hashed")


def test_a_generation_that_an_older_bundle_made_gets_it_without_asking_anybody(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    store.put(generations[1].secrets())
    assert host.run("update.sh", "--settings", "-", stdin=asked(generations[1])).returncode == 0
    store.remove_all()
    shutil.rmtree(host.tls / "current" / "hashed")
    (host.tls / "hashed").unlink()
    assert host.run("update.sh", "--verify-only").returncode == 4
    done = host.run("update.sh", "--settings", "-", stdin=asked(generations[1]))
    assert done.returncode == 0, done.stderr
    assert trusts(host, generations[1]).endswith(": OK\n")


def test_a_hash_that_leads_elsewhere_does_not_hold_and_is_put_right(
    host: Roots, store: Store, generations: dict[int, Generation]
) -> None:
    store.put(generations[1].secrets())
    assert host.run("update.sh", "--settings", "-", stdin=asked(generations[1])).returncode == 0
    (link,) = (host.tls / "hashed").iterdir()
    link.unlink()
    link.symlink_to("../server.crt")
    done = host.run("update.sh", "--verify-only")
    assert done.returncode == 4
    assert "hashed does not lead to ca.crt by its hash" in done.stderr
    assert host.run("update.sh", "--settings", "-", stdin=asked(generations[1])).returncode == 0
    assert trusts(host, generations[1]).endswith(": OK\n")
