"""The vendor's installer is fetched, run and believed only when what it leaves is complete. Against a local server."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from toolchain import engine, engine_vendor, versions
from toolchain.engine import Declined
from toolchain.errors import SetupError
from toolchain.process import CommandFailed

# Installs a `pulumi` that knows its version and installs plugins, and the language host beside it.
INSTALLER = """#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --version) version=$2; shift ;; --install-root) root=$2; shift ;; esac
  shift
done
mkdir -p "$root/bin"
cat >"$root/bin/pulumi" <<END
#!/bin/sh
[ "\\$1" = version ] && echo v$version
[ "\\$1" = plugin ] && mkdir -p "\\$PULUMI_HOME/plugins/resource-\\$4-\\$5"
true
END
touch "$root/bin/pulumi-language-python"
chmod +x "$root/bin/pulumi" "$root/bin/pulumi-language-python"
"""


def silent(_title: str) -> AbstractContextManager[None]:
    return nullcontext()


class Vendor:
    """A web server with one page."""

    def __init__(self) -> None:
        self.page = INSTALLER
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(vendor.page.encode())

            def log_message(self, *_arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    one = Vendor()
    thread = threading.Thread(target=one.server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(engine_vendor, "_INSTALLER", f"http://127.0.0.1:{one.server.server_port}/")
    monkeypatch.setattr(engine_vendor, "ENGINE", tmp_path / "engine")
    monkeypatch.setattr(engine_vendor, "LOGS", tmp_path / "log")
    monkeypatch.setattr(engine, "LOGS", tmp_path / "log")
    monkeypatch.setattr(engine, "PULUMI_HOME", tmp_path / "home")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


@pytest.mark.usefixtures("vendor")
def test_the_installer_gives_the_pinned_engine_with_its_plugins(tmp_path: Path) -> None:
    found = engine_vendor.install(silent)
    assert (found.variant, found.version) == ("official", versions.show(engine.pinned_version()))
    assert found.bin == tmp_path / "engine" / "vendor" / "bin"
    assert len(list((tmp_path / "home" / "plugins").iterdir())) == 2


def test_an_answer_that_is_no_script_is_never_run(vendor: Vendor, tmp_path: Path) -> None:
    vendor.page = "<html>log in to the hotel's network</html>"
    with pytest.raises(Declined, match="no script"):
        engine_vendor.install(silent)
    assert not (tmp_path / "engine").exists()


def test_an_installer_that_fails_is_shown_with_its_words(vendor: Vendor) -> None:
    vendor.page = "#!/bin/sh\necho no such version >&2\nexit 1\n"
    with pytest.raises(CommandFailed, match="no such version"):
        engine_vendor.install(silent)


def test_an_installer_that_leaves_nothing_is_declined(vendor: Vendor) -> None:
    vendor.page = "#!/bin/sh\nexit 0\n"
    with pytest.raises(Declined, match="left no"):
        engine_vendor.install(silent)


@pytest.mark.usefixtures("vendor")
def test_a_vendor_that_is_out_of_reach_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_vendor, "_INSTALLER", "http://127.0.0.1:1/")
    with pytest.raises(SetupError, match="can't be reached"):
        engine.first_that_provides({"the vendor's installer": lambda: engine_vendor.install(silent)})
