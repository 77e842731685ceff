"""`operate forecast`: what hosts prove of a start becomes a verdict, the hops that break and the command that mends."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from operate import forecast as command
from operate import stacks
from operate.cli import main
from operate.forecast_text import as_text
from operate.forecasting import Forecast, forecast
from operate.outlook import Outlook
from operate.palette import Palette
from operate.remote import Answer, Remote
from operate.stacks import Stacks
from rollout.declared import Declared
from tests.operate import starts
from tests.operate.conftest import Ended, Repository
from tests.operate.pull_requests import (
    ALL_FLIPPED,
    CLIENT_LEG,
    CLOSED,
    EXAMPLE,
    REDIS_UP_TO_TELPRO,
    SERVER_LEG,
    declared,
    edited,
)
from tests.operate.reports import Plain, read

NOW = datetime(2026, 11, 25, 18, tzinfo=UTC)
FINISHED = {
    **CLOSED,
    **REDIS_UP_TO_TELPRO,
    "apps.worker.REDIS_TLS_ENABLED": "true",
    "apps.telpro.REDIS_TLS_ENABLED": "true",
    "REDIS_FORCE_TLS": "true",
    "POSTGRES_FORCE_SSL": "on",
}
MEND = "/opt/voiceai/update.sh --restart-only"

Plant = Callable[[Plain], object]


def of(settings: dict[str, str]) -> Declared:
    return declared("staging", edited(EXAMPLE, settings))


def seen(
    settings: dict[str, str], plant: Plant = lambda _: None, *, on: str = "database", now: datetime = NOW
) -> Forecast:
    """The forecast of every host in this state, after something was planted in one host's report."""
    here = of(settings)
    plain = {name: starts.host(here, name) for name in here.hosts}
    plant(plain[on])
    return forecast(here, read(plain), now=now, stack="staging")


def about(found: Forecast, container: str) -> Outlook:
    return next(one for one in found.outlooks if one.container == container)


def hops(outlook: Outlook) -> str:
    return " ".join(str(hop) for finding in outlook.findings for hop in finding.hops)


@pytest.mark.parametrize("settings", [{}, SERVER_LEG, CLIENT_LEG, ALL_FLIPPED, CLOSED, FINISHED])
def test_where_all_is_as_verified_nothing_stands_against_a_start(settings: dict[str, str]) -> None:
    found = seen(settings)
    assert found.holds
    assert found.certain
    assert [one.findings for one in found.outlooks if one.findings] == []
    assert {one.host for one in found.outlooks} == set(of(settings).hosts)


SSL_OFF = {"reads": {"ssl": "off"}}
HAND_EDITED = {"rendered": {"path": "/etc/voiceai/postgres/conf.d/tls.conf", "asVerified": False}}
OTHER_SERVED = {
    "protocol": "TLSv1.3",
    "cipher": "TLS_AES_256_GCM_SHA384",
    "verify": "0 (ok)",
    "certificate": starts.certificate(starts.OTHER),
}


def server(role: str, start: Plain | None = None, **more: object) -> Plant:
    def plant(report: Plain) -> None:
        one = report["servers"][role]
        one["start"] |= start or {}
        one |= more

    return plant


@pytest.mark.parametrize(
    ("settings", "plant", "container", "verdict", "would", "breaks", "spares"),
    [
        pytest.param(
            ALL_FLIPPED,
            server("postgres", SSL_OFF, **HAND_EDITED),
            "voiceai-postgres",
            "fails",
            "it would not take TLS (ssl = off); /etc/voiceai/postgres/conf.d/tls.conf is not as it was verified",
            ["pgbouncer → postgres (verify-ca)", "web → pgbouncer (verify-full)"],
            ["redis"],
            id="an edited file turns Postgres's TLS off, and all behind PgBouncer goes with it",
        ),
        pytest.param(
            {**ALL_FLIPPED, "PGBOUNCER_SERVER_TLS_SSLMODE": "disable"},
            server("postgres", SSL_OFF),
            "voiceai-postgres",
            "otherwise",
            "it would not take TLS",
            [],
            ["pgbouncer"],
            id="nobody uses Postgres's TLS yet",
        ),
        pytest.param(
            ALL_FLIPPED,
            server("postgres", {"problems": ["/etc/ssl/internal/server.key is not readable by uid 70"]}),
            "voiceai-postgres",
            "fails",
            "server.key is not readable",
            ["pgbouncer → postgres", "api → pgbouncer"],
            ["redis"],
            id="Postgres does not start with a key that it can't read",
        ),
        pytest.param(
            FINISHED,
            server("postgres", plaintextRules=1),
            "voiceai-postgres",
            "otherwise",
            "it would take plaintext, which was verified to be refused",
            [],
            ["pgbouncer"],
            id="pg_hba.conf lets plaintext in again",
        ),
        pytest.param(
            CLOSED,
            server(
                "pgbouncer", {"dials": {}, "problems": ["pgbouncer does not start: FATAL cannot load"]}, **HAND_EDITED
            ),
            "voiceai-pgbouncer",
            "fails",
            "pgbouncer does not start",
            ["ops → pgbouncer", "worker → pgbouncer"],
            ["redis", "→ postgres"],
            id="PgBouncer does not start",
        ),
        pytest.param(
            CLIENT_LEG,
            server("pgbouncer", {"dials": {"plain": "FATAL: SSL required", "tls": "t"}}),
            "voiceai-pgbouncer",
            "fails",
            "it would not take plaintext; a login is answered: FATAL: SSL required",
            ["api → pgbouncer (disable)"],
            ["redis"],
            id="PgBouncer would refuse the apps that are not flipped",
        ),
        pytest.param(
            CLOSED,
            server("pgbouncer", {"dials": {"plain": "FATAL: SSL required", "tls": "f"}}),
            "voiceai-pgbouncer",
            "otherwise",
            "its connections to Postgres would be in plaintext",
            [],
            ["pgbouncer"],
            id="PgBouncer's leg to Postgres would lose its TLS",
        ),
        pytest.param(
            CLOSED,
            server("pgbouncer", {"dials": {"plain": "FATAL: no route", "tls": "FATAL: no route"}}),
            "voiceai-pgbouncer",
            "fails",
            "it would take neither TLS nor plaintext; a login is answered: FATAL: no route",
            ["api → pgbouncer"],
            ["redis"],
            id="nothing comes through PgBouncer",
        ),
        pytest.param(
            FINISHED,
            server("redis", {"reads": {"port": "6379", "tls-port": "0"}, "dials": {"plain": "PONG"}}),
            "voiceai-redis",
            "fails",
            "it would not take TLS where clients dial it (tls-port 0)",
            ["telpro → redis (TLS)", "otel → redis (TLS)"],
            ["pgbouncer"],
            id="Redis would come back in plaintext alone",
        ),
        pytest.param(
            FINISHED,
            server("redis", {"reads": {"port": "0", "tls-port": "6390"}}),
            "voiceai-redis",
            "fails",
            "tls-port 6390",
            ["api → redis (TLS)"],
            ["pgbouncer"],
            id="Redis would listen where nobody dials it",
        ),
        pytest.param(
            CLOSED,
            server("redis", state="exited"),
            "voiceai-redis",
            "fails",
            "it serves nobody now",
            ["api → redis (plaintext)"],
            ["pgbouncer"],
            id="a server that does not run",
        ),
        pytest.param(
            ALL_FLIPPED,
            server("redis", {"proof": "none", "dials": {}, "problems": ["the command line does not tell"]}),
            "voiceai-redis",
            "unknown",
            "the command line does not tell",
            [],
            ["redis"],
            id="a start that can't be proved is not known, and breaks nothing",
        ),
    ],
)
def test_what_a_server_would_serve_is_judged_by_who_dials_it(
    settings: dict[str, str],
    plant: Plant,
    container: str,
    verdict: str,
    would: str,
    breaks: list[str],
    spares: list[str],
) -> None:
    found = seen(settings, plant)
    outlook = about(found, container)
    assert outlook.verdict == verdict
    assert would in outlook.findings[0].would
    for words in breaks:
        assert words in hops(outlook)
    for words in spares:
        assert words not in hops(outlook)
    assert found.holds is (verdict == "unknown")
    assert found.certain is (verdict != "unknown")
    assert {one.verdict for one in found.outlooks if one is not outlook} == {"serves"}


@pytest.mark.parametrize(
    ("plant", "mend"),
    [
        (server("postgres", SSL_OFF, **HAND_EDITED), MEND),
        (
            server("postgres", SSL_OFF, over={"ssl": "ALTER SYSTEM"}),
            "docker exec -e PGHOST= voiceai-postgres psql -U voiceai -c 'ALTER SYSTEM RESET ssl' "
            "-c 'SELECT pg_reload_conf()'",
        ),
        (
            server("postgres", SSL_OFF, sources={"ssl": "command line"}),
            "cd /opt/voiceai && docker compose up --detach voiceai-postgres",
        ),
        (
            server("redis", {"reads": {"port": "6390", "tls-port": "0", "command line": "--port"}, "dials": {}}),
            "cd /opt/voiceai && docker compose up --detach voiceai-redis",
        ),
        (
            server("redis", {"problems": ["/x/server.crt has expired (notAfter=Nov 1 2026)"]}),
            "python -m operate next --stack staging --to CERTIFICATE_GENERATION=2",
        ),
    ],
)
def test_the_command_mends_what_wins_over_the_file(plant: Plant, mend: str) -> None:
    found = seen(ALL_FLIPPED, plant)
    (outlook,) = (one for one in found.outlooks if one.findings)
    assert {finding.mend for finding in outlook.findings} == {mend}


def test_an_edit_that_was_not_applied_is_taken_back_first() -> None:
    def plant(report: Plain) -> None:
        server("postgres", SSL_OFF, **HAND_EDITED)(report)
        report["record"]["edited"] = True

    (finding,) = about(seen(ALL_FLIPPED, plant), "voiceai-postgres").findings
    assert finding.mend == f"cp /var/lib/voiceai/settings.verified /var/lib/voiceai/settings && {MEND}"


@pytest.mark.parametrize(
    "plant",
    [
        server("postgres", over={"ssl": "ALTER SYSTEM"}),
        server("postgres", sources={"ssl": "command line"}),
        server("postgres", **HAND_EDITED),
        server("redis", restartPolicy="no"),
        server("redis", restartPolicy="on-failure"),
        server("redis", served=OTHER_SERVED),
    ],
)
def test_what_changes_no_hop_today_is_a_note(plant: Plant) -> None:
    found = seen(FINISHED, plant)
    (outlook,) = (one for one in found.outlooks if one.findings)
    assert [one.weight for one in outlook.findings] == ["note"]
    assert outlook.verdict == "serves"
    assert found.holds


def test_a_deployment_of_the_sites_own_is_judged_by_its_files_alone() -> None:
    files = starts.start("files")
    untouched = about(seen(FINISHED, server("redis", files)), "voiceai-redis")
    assert (untouched.verdict, untouched.serves) == ("serves", "not tried: the site's own deployment")
    assert about(seen(FINISHED, server("redis", files, **HAND_EDITED)), "voiceai-redis").verdict == "otherwise"


def app(**more: object) -> Plant:
    return lambda report: report["apps"][0].update(more)


def in_file(**modes: str) -> Plant:
    return lambda report: report["apps"][0]["envFile"]["modes"].update(modes)


def test_an_env_file_that_a_deploy_rewrote_breaks_the_app_once_it_is_made_anew() -> None:
    found = seen(CLOSED, in_file(DATABASE_SSL_MODE="disable"), on="web")
    for container in ("web-web-1", "web-web-2"):
        (finding,) = about(found, container).findings
        assert (finding.weight, finding.mend) == ("fails", MEND)
        assert [str(hop) for hop in finding.hops] == ["web → pgbouncer (verify-full)"]
        assert "made anew, it would run with DATABASE_SSL_MODE=disable" in finding.would
    assert not found.holds
    # While PgBouncer takes both, it goes on, in plaintext.
    found = seen(ALL_FLIPPED, in_file(DATABASE_SSL_MODE="disable"), on="web")
    (finding,) = about(found, "web-web-1").findings
    assert (finding.weight, finding.hops) == ("otherwise", ())


def test_an_env_file_without_the_key_is_the_initial_value() -> None:
    def plant(report: Plain) -> None:
        report["apps"][0]["envFile"]["modes"] = {}

    found = seen(ALL_FLIPPED, plant, on="web")
    (finding,) = about(found, "web-web-1").findings
    assert (
        "keeps DATABASE_SSL_MODE=verify-full; made anew, it would run with DATABASE_SSL_MODE=disable" in finding.would
    )
    assert seen({}, plant, on="web").holds


def test_a_login_that_its_own_host_fails_with_is_told_with_its_words() -> None:
    said = "web: a login at db:5432, from this host; the answer was: certificate verify failed"
    found = seen(CLOSED, app(start=starts.start("login", postgres=said, redis="accepted")), on="web")
    outlook = about(found, "web-web-1")
    assert outlook.verdict == "fails"
    assert said in outlook.findings[0].would
    assert hops(outlook) == "web → pgbouncer (verify-full)"


def test_a_replica_that_is_down_breaks_its_hop_with_the_last_one() -> None:
    def plant(report: Plain, *, both: bool) -> None:
        for replica in report["apps"][0]["replicas"][: 2 if both else 1]:
            replica["state"] = "exited"

    one = about(seen(CLOSED, lambda report: plant(report, both=False), on="web"), "web-web-1")
    assert (one.verdict, hops(one)) == ("fails", "")
    assert one.findings[0].mend == "cd /opt/web && docker compose up --detach web-1"
    both = about(seen(CLOSED, lambda report: plant(report, both=True), on="web"), "web-web-1")
    assert "web → pgbouncer" in hops(both)


def test_an_app_that_is_not_deployed_is_a_note_and_one_that_can_not_be_listed_is_not_known() -> None:
    def absent(report: Plain) -> None:
        for replica in report["apps"][0]["replicas"]:
            replica |= {"state": "absent", "container": "", "restartPolicy": "", "modes": {}}

    found = seen(CLOSED, absent, on="web")
    assert found.holds
    assert [one.weight for one in about(found, "web-1").findings] == ["note"]
    unlisted = seen(CLOSED, app(problem="docker compose does not list", replicas=[], start=None), on="web")
    assert unlisted.holds
    assert not unlisted.certain
    assert about(unlisted, "web").verdict == "unknown"


def test_a_file_that_can_not_be_read_lets_no_container_be_made() -> None:
    found = seen(CLOSED, lambda report: report["apps"][0]["envFile"].update(readable=False), on="web")
    assert about(found, "web-web-1").verdict == "otherwise"


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({"state": "exited"}, "fails"),
        ({"asRendered": False}, "otherwise"),
        ({"asVerified": False}, "otherwise"),
        ({"start": starts.start("handshake", redis="it said: expired")}, "fails"),
        ({"scrapes": False, "why": "no answer"}, "serves"),
    ],
)
def test_the_collector(more: dict[str, object], verdict: str) -> None:
    found = seen(FINISHED, lambda report: report["servers"]["otel"].update(more))
    outlook = about(found, "voiceai-otel")
    assert outlook.verdict == verdict
    assert (hops(outlook) == "otel → redis (TLS)") is (verdict == "fails")


def test_a_host_that_verified_nothing_has_no_start_to_lose() -> None:
    def plant(report: Plain) -> None:
        for key in ("record", "files", "apps"):
            del report[key]

    found = seen(CLOSED, plant, on="web")
    assert found.holds
    assert "nothing was verified" in found.silent["web"]
    assert [one for one in found.outlooks if one.host == "web"] == []


def test_the_first_certificate_to_end_and_whom_it_breaks() -> None:
    found = seen({**FINISHED, "apps.web.DATABASE_SSL_MODE": "require"})
    first, second = found.expiries
    assert (first.kind, first.days, second.kind, second.days) == ("server", 395, "CA", 3647)
    assert [role for role, _ in first.served] == ["postgres", "pgbouncer", "redis"]
    assert first.on_disk == ("database",)
    broken = {str(hop) for hop in first.breaks}
    assert {"pgbouncer → postgres (verify-ca)", "telpro → redis (TLS)", "otel → redis (TLS)"} <= broken
    # Without PgBouncer's own leg nobody behind it has an answer, whether he verifies or not.
    assert "web → pgbouncer (require)" in broken
    assert found.reissue == "python -m operate next --stack staging --to CERTIFICATE_GENERATION=2"


def test_who_verifies_nothing_does_not_notice_the_end() -> None:
    found = seen({**ALL_FLIPPED, "PGBOUNCER_SERVER_TLS_SSLMODE": "require", "apps.web.DATABASE_SSL_MODE": "require"})
    first = found.expiries[0]
    assert {str(hop) for hop in first.unaware} == {"pgbouncer → postgres (require)", "web → pgbouncer (require)"}
    assert "api → pgbouncer (verify-full)" in {str(hop) for hop in first.breaks}
    # Nobody dials Redis in TLS.
    assert not any("redis" in str(hop) for hop in (*first.breaks, *first.unaware))


def test_a_certificate_that_has_ended_counts_where_somebody_verifies_it() -> None:
    later = datetime(2028, 1, 1, tzinfo=UTC)
    assert not seen(CLOSED, now=later).holds
    assert seen(CLOSED, now=later).expiries[0].days == -6
    assert seen({**SERVER_LEG, "PGBOUNCER_SERVER_TLS_SSLMODE": "disable"}, now=later).holds


def test_a_certificate_that_is_served_and_no_longer_on_disk_is_one_of_its_own() -> None:
    def plant(report: Plain) -> None:
        report["files"]["server"] = starts.certificate(starts.OTHER, "Dec 27 10:00:00 2028 GMT")

    found = seen(FINISHED, plant)
    old, new, _ = found.expiries
    assert (old.certificate.sha256, old.on_disk) == (starts.LEAF, ())
    assert (new.certificate.sha256, new.served, new.breaks) == (starts.OTHER, (), ())
    assert found.holds


def screen(found: Forecast) -> str:
    return "\n".join(as_text(found, "staging"))


def test_the_screen_names_what_was_tried_what_would_happen_whom_it_reaches_and_the_command() -> None:
    text = screen(seen(ALL_FLIPPED, server("postgres", SSL_OFF, **HAND_EDITED)))
    assert text.startswith("staging: 1 of 17 containers would not serve as verified after a restart\n")
    for words in (
        "✗ database  voiceai-postgres: it would not take TLS (ssl = off)",
        "then without an answer: pgbouncer → postgres (verify-ca)",
        "tried: postgres -C in voiceai-postgres",
        f"on database: {MEND}",
        "first to end: the server certificate a1a1a1a1a1a1, in 395 days",
        "here: python -m operate next --stack staging --to CERTIFICATE_GENERATION=2",
    ):
        assert words in text
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "\x1b" not in text


def test_the_same_finding_about_two_replicas_is_one() -> None:
    text = screen(seen(CLOSED, in_file(DATABASE_SSL_MODE="disable"), on="web"))
    assert text.count("made anew, it would run with") == 1
    assert "✗ web  web-web-1, web-web-2: a restart keeps DATABASE_SSL_MODE=verify-full" in text
    text = screen(seen(CLOSED, app(start=starts.start("login", postgres="no answer")), on="web"))
    assert "✗ web  web-web-1, web-web-2: no answer" in text


def test_colours_are_beside_the_words() -> None:
    found = seen(ALL_FLIPPED, server("redis", state="exited"))
    coloured = "\n".join(as_text(found, "staging", palette=Palette(on=True)))
    assert "\x1b[31mFAILS\x1b[0m" in coloured
    assert "FAILS" in screen(found)


class Clock:
    """The day of these reports."""

    @staticmethod
    def now(_zone: object) -> datetime:
        return NOW


@pytest.fixture
def asked(
    repository: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """The command, hosts answered for from these reports."""

    def run(answers: dict[str, Plain | str], *arguments: str) -> Ended:
        def ask(_self: Remote, hosts: object, command: str, *_: object, **__: object) -> list[Answer]:
            assert command == "--report --restart"
            return [
                Answer(host=name, code=255, out=(), err=(one,))
                if isinstance(one, str)
                else Answer(host=name, code=0, out=(json.dumps(one),), err=())
                for name, one in answers.items()
            ]

        monkeypatch.setattr(Remote, "ask", ask)
        monkeypatch.setattr(command, "datetime", Clock)
        monkeypatch.setattr(stacks, "from_pulumi", lambda *_: Stacks(unread={"staging": "no backend here"}))
        monkeypatch.delenv("PULUMI_OPTION_CONFIG_FILE", raising=False)
        capsys.readouterr()
        code = main(["forecast", "--project", str(repository.folder), "--stack", "staging", *arguments])
        printed = capsys.readouterr()
        return Ended(code=code, out=printed.out, err=printed.err)

    return run


def test_the_exit_code_and_the_json_tell_the_same(repository: Repository, asked: Callable[..., Ended]) -> None:
    repository.commit(staging=edited(EXAMPLE, CLOSED))
    here = of(CLOSED)
    good: dict[str, Plain | str] = {name: starts.host(here, name) for name in here.hosts}
    ended = asked(good, "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["code"], told["holds"], told["format"], told["command"]) == (0, 0, True, 1, "forecast")
    assert told["certificates"][0]["daysLeft"] is not None

    silent = asked({**good, "web": "No route to host"}, "--json")
    assert silent.code == json.loads(silent.out)["code"] == 3
    assert json.loads(silent.out)["unanswered"][0]["host"] == "web"
    assert "No route to host" in asked({**good, "web": "No route to host"}).out

    bad = copy.deepcopy(good["database"])
    assert isinstance(bad, dict)
    bad["servers"]["redis"]["state"] = "exited"
    failing = asked({**good, "database": bad, "web": "No route to host"}, "--json")
    assert failing.code == command.EXIT_WOULD_NOT
    one = next(one for one in json.loads(failing.out)["containers"] if one["container"] == "voiceai-redis")
    assert one["verdict"] == "fails"
    assert one["findings"][0]["mend"] == MEND
    assert "api → redis (plaintext)" in one["findings"][0]["breaks"]


def test_a_host_that_the_config_has_not_is_bad_input(repository: Repository, asked: Callable[..., Ended]) -> None:
    repository.commit(staging=EXAMPLE)
    ended = asked({}, "--host", "nowhere")
    assert ended.code == 2
    assert "--host nowhere" in ended.err
