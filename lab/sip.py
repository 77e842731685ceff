"""Calls in progress: set up through telpro by sipp, held for a while, ended through telpro.

    calls = Calls(lab, count=10, seconds=20)
    calls.start()          # all are established when it returns
    ...                    # whatever happens to telpro meanwhile
    assert calls.finish() == Outcome(calls=10, completed=10)

Caller and gateway are both sipp's, in the container `load`; its UDP retransmissions are RFC 3261's. The unit of failure
is the call.
"""

import csv
from dataclasses import dataclass

from lab import containers
from lab.errors import LabError
from lab.hosts import wait_until
from lab.lab import Lab
from lab.layout import GATEWAY, SIP, dns

_SCENARIOS = "/usr/share/lab-sip"
_FOLDER = "calls"
_CALLER = 5071
_SETUP_SECONDS = 40.0
# An end of a call that finds nobody is sent again for 32 s (RFC 3261, timer F).
_END_SECONDS = 45.0
_CALLS_A_SECOND = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How many calls were made, and how many went from their set-up to their end as they should."""

    calls: int
    completed: int


class Calls:
    """A number of calls through a lab's telpro, held for some seconds. One such group at a time."""

    def __init__(self, lab: Lab, *, count: int, seconds: float) -> None:
        self._lab = lab
        self._count = count
        self._seconds = seconds
        self._folder = lab.layout.load / _FOLDER

    def start(self) -> None:
        """Set the calls up. Raises LabError, with sipp's words, when one is not established."""
        containers.exec_in(self._lab.layout.load_container, "rm", "-rf", f"/lab/load/{_FOLDER}")
        self._folder.mkdir(parents=True)
        containers.docker("exec", "--detach", self._lab.layout.load_container, "sh", "-c", self._script())

        def established() -> bool:
            if (self._folder / "ended").exists():
                raise LabError(f"the calls ended while they were set up; sipp said:\n{self._said()}")
            return len(self._text("established").splitlines()) == self._count

        wait_until(established, what=f"{self._count} calls to be established", seconds=_SETUP_SECONDS)

    def finish(self) -> Outcome:
        """Wait until the calls have ended and count them."""
        ended = self._folder / "ended"
        wait_until(ended.exists, what="the calls to end", seconds=self._seconds + _END_SECONDS + 5)
        completed = completed_calls(self._text("statistics.csv"))
        # sipp's own word: 0 when all calls were successful, 1 when one was not.
        if (completed == self._count) is not (self._text("ended").strip() == "0"):
            raise LabError(f"sipp ended with status {self._text('ended').strip()}; it said:\n{self._said()}")
        return Outcome(calls=self._count, completed=completed)

    def _script(self) -> str:
        """The gateway in the background, then the caller; the gateway ends with it."""
        own = "-i $(hostname -i) -nostdin"
        results = "-trace_stat -stf statistics.csv -trace_logs -log_file established -trace_err -error_file errors"
        caller = (
            f"sipp -sf {_SCENARIOS}/uac.xml {own} -p {_CALLER} {dns('telpro')}:{SIP} -m {self._count} -l {self._count}"
            f" -r {_CALLS_A_SECOND} -d {self._seconds * 1000:.0f} {results}"
        )
        lines = (
            f"cd /lab/load/{_FOLDER} || exit",
            f"sipp -sf {_SCENARIOS}/uas.xml {own} -p {GATEWAY} >gateway.log 2>&1 & gateway=$!",
            f"timeout {self._seconds + _END_SECONDS:.0f} {caller} >caller.log 2>&1; echo $? >ended.new",
            # Written last, and whole: whoever sees it finds the rest complete.
            "kill $gateway; mv ended.new ended",
        )
        return "\n".join(lines)

    def _text(self, name: str) -> str:
        path = self._folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def _said(self) -> str:
        lines = (self._text("errors") or self._text("caller.log")).splitlines()[-10:]
        return "\n".join(lines) or "(nothing)"


def completed_calls(statistics: str) -> int:
    """The successful calls in sipp's statistics, from the last of its lines."""
    rows = list(csv.DictReader(statistics.splitlines(), delimiter=";"))
    return int(rows[-1]["SuccessfulCall(C)"]) if rows else 0
