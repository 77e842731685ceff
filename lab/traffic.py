"""Starting, watching, steering and stopping the load from the machine."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from lab import containers, load
from lab.containers import DockerError
from lab.errors import LabError
from lab.files import write
from lab.hosts import wait_until
from lab.lab import Lab
from lab.layout import APP_OF, DATABASE_DNS, PROXY, SIP, dns
from lab.load.control import Control, parse
from lab.load.profiles import KINDS, chosen
from lab.measure import LoadInvalid, Request, Window, check_kinds, parse_requests

_MOUNT = "/lab/load"
_PROGRAM = "program"
_START_SECONDS = 20.0
_FLOW_SECONDS = 60.0
_STOP_SECONDS = 60.0
# A client follows before its next request: the slowest sends one in 15 s.
_SWITCH_SECONDS = 40.0
# How often the container is asked whether the program lives: asking costs it a process.
_ASK_SECONDS = 1.0
# More than the load writes: some hundred requests a second, each a line of some 120 bytes.
_BYTES_A_SECOND = 100_000


def targets() -> dict[str, Any]:
    """Where the load sends what: the database host, each app's proxies, telpro."""
    http: dict[str, list[str]] = {}
    for host, app in APP_OF.items():
        if app != "telpro":
            http.setdefault(f"http-{app}", []).append(f"{dns(host)}:{PROXY}")
    return {"database": DATABASE_DNS, "http": http, "sip": f"{dns('telpro')}:{SIP}"}


class Traffic:
    """One run of the load on a lab. Use as a context manager, so that it is stopped whatever happens.

    with Traffic(lab, "demo") as traffic:
        traffic.wait_until_flowing()
        ...
    requests = traffic.requests()

    `kinds` are all of `lab.load.profiles` unless fewer are asked for.
    """

    def __init__(self, lab: Lab, name: str, *, seconds: float = 3600.0, kinds: Iterable[str] = KINDS) -> None:
        self._lab = lab
        self._name = name
        self._seconds = seconds
        self.kinds = [profile.kind for profile in chosen(kinds)]
        self._folder = lab.layout.load / name
        self._asked = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        # What went wrong in the block is what the caller wants to see.
        with contextlib.suppress(*((LabError, LoadInvalid) if kind else ())):
            self.stop()

    def start(self) -> None:
        """Start sending, in the background. Raises LabError when a run of that name is under way."""
        if self._is_alive():
            raise LabError(f"the load {self._name} runs already")
        self._clear()
        place_program(self._lab.layout.load / _PROGRAM)
        write(self._folder / "targets.json", json.dumps(targets(), indent=2) + "\n")
        directory = f"{_MOUNT}/{self._name}"
        program = (
            f"python3 -u -m load --directory {directory} --passwords {_MOUNT} --targets {directory}/targets.json "
            f"--kinds {','.join(self.kinds)} --seconds {self._seconds:.0f}"
        )
        # The status that the program ended with tells a crash from work.
        script = f"cd {_MOUNT}/{_PROGRAM} && {program} >{directory}/log 2>&1; echo $? >{directory}/ended"
        containers.docker("exec", "--detach", self._lab.layout.load_container, "sh", "-c", script)
        wait_until(
            lambda: (self._folder / "ended").exists() or self._is_alive(),
            what=f"the load {self._name} to start",
            seconds=_START_SECONDS,
        )

    def wait_until_flowing(self, seconds: float = _FLOW_SECONDS) -> None:
        """Wait until every kind of client has had an answer. Raises LabError with the load's log when none comes."""

        def flowing() -> bool:
            self._raise_if_ended()
            answered = {request.kind for request in self.requests() if request.ok}
            return answered >= set(self.kinds)

        wait_until(flowing, what=f"every kind of client of the load {self._name} to get an answer", seconds=seconds)

    def quiet(self, seconds: float) -> Window:
        """Let the load run undisturbed for a while and return that window. Raises LabError when the load ends in it."""
        start = time.time()
        while time.time() < start + seconds:
            self._raise_if_ended()
            time.sleep(min(0.2, max(0.0, start + seconds - time.time())))
        return Window(start=start, end=start + seconds)

    def switch_redis(self, *, tls: bool) -> None:
        """Have the clients of Redis connect in TLS, verified, or in plaintext; wait until each does, unless all do."""
        self._switch(replace(self._control(), redis_tls=tls))

    def switch_postgres(self, sslmode: str) -> None:
        """The same for clients of PgBouncer and PostgreSQL, by libpq's sslmode."""
        self._switch(replace(self._control(), sslmode=sslmode))

    def stop(self) -> list[Request]:
        """Ask the load to end, wait until it has, and return all requests. May be called again.

        Raises LabError when it does not end, or had ended before it was asked to; LoadInvalid when clients were silent.
        """
        if not self._folder.exists():
            return []
        stop = self._folder / "stop"
        early = self._ended() and not stop.exists()
        stop.touch()
        wait_until(self._ended, what=f"the load {self._name} to end", seconds=_STOP_SECONDS)
        if self._status().get("state") != "finished" or early:
            raise LabError(f"the load {self._name} ended by itself; it said:\n{self._log()}")
        found = self.requests()
        check_kinds(found, self.kinds)
        return found

    def requests(self) -> list[Request]:
        """The requests that have ended until now."""
        path = self._folder / "requests.jsonl"
        return parse_requests(path.read_text()) if path.exists() else []

    def recent(self, seconds: float) -> list[Request]:
        """The requests that ended within the last `seconds`; what came before is not read."""
        path = self._folder / "requests.jsonl"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - int(seconds * _BYTES_A_SECOND)))
            whole = file.tell() == 0
            text = file.read().decode(errors="replace")
        since = time.time() - seconds
        # What was begun in the middle of a line is none.
        lines = text if whole else text.partition("\n")[2]
        return [request for request in parse_requests(lines) if request.end > since]

    def worst_lag_ms(self, window: Window) -> float:
        """How late the load's own process was at worst in the window, milliseconds."""
        path = self._folder / "lag.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        # Each entry stands for the second before it.
        return max((e["ms"] for e in entries if window.start <= e["start"] <= window.end + 1), default=0.0)

    def _control(self) -> Control:
        path = self._folder / "control.json"
        return parse(path.read_text()) if path.exists() else Control()

    def _switch(self, wanted: Control) -> None:
        if wanted == self._control():
            return
        numbered = replace(wanted, number=wanted.number + 1)
        # Checked here: the load must not end by a misspelled mode.
        parse(numbered.text())
        write(self._folder / "control.json", numbered.text())

        def followed() -> bool:
            self._raise_if_ended()
            return self._status().get("control") == numbered.number

        what = f"the clients of the load {self._name} to connect anew ({numbered.text().strip()})"
        wait_until(followed, what=what, seconds=_SWITCH_SECONDS)

    def _is_alive(self) -> bool:
        try:
            self._run("pgrep", "--full", "--", f"--directory {_MOUNT}/{self._name} ")
        except DockerError:
            return False
        return True

    def _run(self, *argv: str) -> str:
        return containers.exec_in(self._lab.layout.load_container, *argv)

    def _clear(self) -> None:
        self._run("rm", "-rf", f"{_MOUNT}/{self._name}")
        self._folder.mkdir(parents=True)

    def _status(self) -> dict[str, Any]:
        path = self._folder / "status.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def _ended(self) -> bool:
        """Whether the program ended, also when it was killed together with the shell that would have said so."""
        if (self._folder / "ended").exists():
            return True
        if time.monotonic() - self._asked < _ASK_SECONDS:
            return False
        self._asked = time.monotonic()
        return not self._is_alive()

    def _raise_if_ended(self) -> None:
        if self._ended():
            raise LabError(f"the load {self._name} ended by itself; it said:\n{self._log()}")

    def _log(self) -> str:
        path = self._folder / "log"
        lines = path.read_text(errors="replace").splitlines()[-15:] if path.exists() else []
        return "\n".join(lines) or "(nothing)"


def place_program(folder: Path) -> None:
    """The load's package as it is now, where its container finds it."""
    source = Path(load.__file__).parent
    target = folder / source.name
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.py"):
        shutil.copyfile(path, target / path.name)
