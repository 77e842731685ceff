"""What a real host reports, read as the operator's command reads it."""

import subprocess
from collections.abc import Callable
from urllib.parse import quote

from operate.differences import ways_of
from operate.outlook import Verdict
from operate.served import HostReport, read_report
from operate.server_start import server_outlook
from tests.host.real.real_host import PASSWORD

Run = Callable[..., subprocess.CompletedProcess[str]]


def reported(run: Run, *options: str, **environment: str) -> HostReport:
    """`update.sh --report` there; no password is in what it prints."""
    done = run("/opt/voiceai/update.sh", "--report", *options, environment=environment)
    assert done.returncode == 0, done.stderr
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "telpro-s3cret"):
        assert secret not in done.stdout + done.stderr
    return read_report(done.stdout)


def starts(report: HostReport) -> dict[str, Verdict]:
    """What a start of each server would come to, as `operate forecast` judges it."""
    ways = ways_of("lab", None, report.record)
    return {role: server_outlook("database", report, one, (), ways).verdict for role, one in report.servers.items()}
