"""A first deployment on hosts that stand on the way: revision 0 asks each to run its settings, and changes nothing."""

import pytest

from tests.host.real.real_host import ROLES, RealHost, must
from tests.host.real.walking import assert_wire, go

TAKEN_OVER = {"REVISION": "0"}


def forget(real: RealHost) -> None:
    """The host's record is lost, as on a host that was set up by other means."""
    for name in ("settings", "settings.verified"):
        (real.root / "state" / name).unlink(missing_ok=True)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_host_that_runs_its_settings_is_taken_over_as_it_is(
    real: RealHost, path: list[dict[str, str]], recorded: bool
) -> None:
    go(real, path, 3)
    servers, key = real.started(), (real.root / "tls/server.key").stat()
    if not recorded:
        forget(real)
    done = real.update({**path[3], **TAKEN_OVER})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0"
    assert ("taken over" in done.stderr) is not recorded
    assert_wire(real, path[3])
    assert real.started() == servers
    assert (real.root / "tls/server.key").stat() == key
    # From there it is a rollout like any other.
    real.applied(path[2])


@pytest.mark.parametrize("recorded", [True, False])
def test_a_host_that_runs_something_else_refuses_and_stays(
    real: RealHost, path: list[dict[str, str]], recorded: bool
) -> None:
    go(real, path, 2)
    if not recorded:
        forget(real)
    done = real.update({**path[3], **TAKEN_OVER})
    assert done.returncode == 3, done.stderr
    assert "a first deployment is taken over where hosts run it already" in done.stderr
    assert_wire(real, path[2])
    done = real.update({**path[2], **TAKEN_OVER})
    assert done.returncode == 0, done.stderr


def test_a_new_host_comes_to_them(real: RealHost, path: list[dict[str, str]]) -> None:
    must("rm", "--force", "--volumes", *(real.container(role) for role in ROLES))
    must("volume", "rm", *must("volume", "ls", "--quiet", "--filter", f"name=^{real.name}").split())
    forget(real)
    done = real.update({**path[3], **TAKEN_OVER})
    assert done.returncode == 0, done.stderr
    assert_wire(real, path[3])
