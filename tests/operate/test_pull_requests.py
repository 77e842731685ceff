"""Ten wrong pull requests and two right ones: each ends with one screen that tells what to do."""

import pytest

from operate.markdown import as_markdown
from operate.text import as_text
from tests.operate.pull_requests import RIGHT, WRONG, PullRequest, host_says

SCREEN = 24
"""Lines of a terminal."""
REFUSED_HERE = [one for one in WRONG if not one.host]
REFUSED_ON_HOSTS = [one for one in WRONG if one.host]


def title(one: PullRequest) -> str:
    return one.title


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("one", REFUSED_HERE, ids=title)
def test_a_wrong_pull_request_is_refused_with_what_to_do(one: PullRequest) -> None:
    report = one.report()
    assert report.verdict == "refused"
    screen = words(as_text(report))
    for sentence in (*one.refused, *one.shows):
        assert sentence in screen
    assert any(one.todo in refusal.todo for refusal in report.findings[0].refusals)
    assert all(refusal.todo for refusal in report.findings[0].refusals)


@pytest.mark.parametrize("one", REFUSED_ON_HOSTS, ids=title)
def test_what_no_config_shows_is_told_beforehand_and_refused_by_the_host(one: PullRequest) -> None:
    report = one.report()
    assert report.verdict == "allowed"
    for sentence in one.shows:
        assert sentence in words(as_text(report))
    answer = host_says(one.host)
    assert answer.returncode != 0
    assert "nothing was changed" in answer.stderr


@pytest.mark.parametrize("one", RIGHT, ids=title)
def test_a_right_pull_request_is_allowed(one: PullRequest) -> None:
    report = one.report()
    assert report.verdict == "allowed"
    for sentence in one.shows:
        assert sentence in words(as_text(report))


@pytest.mark.parametrize("one", [*WRONG, *RIGHT], ids=title)
def test_the_outcome_fits_on_one_screen(one: PullRequest) -> None:
    screen = as_text(one.report()).splitlines()
    assert len(screen) <= SCREEN
    assert max(map(len, screen)) <= 120


@pytest.mark.parametrize("one", REFUSED_HERE, ids=title)
def test_a_refused_one_shows_its_step_in_markdown_too(one: PullRequest) -> None:
    told = as_markdown(one.report())
    assert told.startswith("## ⛔ Rollout: refused")
    assert "**Why:**" in told


def test_voice_alone_goes_back_on_its_own_host_only() -> None:
    (finding,) = RIGHT[0].report().findings
    assert [one.host for one in finding.hosts] == ["voice"]
    assert finding.direction == "back"


def test_a_rebuilt_host_alone_is_reached() -> None:
    (finding,) = RIGHT[1].report().findings
    assert [one.host for one in finding.hosts] == ["voice"]
    assert not finding.moves


def test_there_are_ten_wrong_ones_and_two_right_ones() -> None:
    assert (len(WRONG), len(RIGHT)) == (10, 2)
