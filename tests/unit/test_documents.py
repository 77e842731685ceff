"""The documents say what the table of steps says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rollout.steps import ROWS, TRACKS

ROOT = Path(__file__).resolve().parents[2]
HEADINGS = ["Purpose", "Before", "Change", "Apply", "Verify", "Watch", "Back", "Point of no return"]
PAGES = sorted(path for path in (ROOT / "docs/runbook").glob("*.md") if not path.name.startswith("00"))


def test_generated_parts_are_current() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout


def rows_of(page: Path) -> list[int]:
    """The places in the table of the rows that a page's title names, by key and, where that has two rows, target."""
    title = page.read_text(encoding="utf-8").splitlines()[0]
    words = re.findall(r"[\w.<>-]+", title)
    alone = [row.key for row in ROWS]
    return [
        place
        for place, row in enumerate(ROWS)
        if row.key in words and (alone.count(row.key) == 1 or row.target in words)
    ]


def test_pages_follow_the_order_of_the_table() -> None:
    places = [place for page in PAGES for place in rows_of(page)]
    assert places == sorted(set(places))
    assert all(rows_of(page) for page in PAGES)


def test_every_step_has_a_page() -> None:
    assert [place for page in PAGES for place in rows_of(page)] == [*range(len(ROWS))]


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_the_generated_parts_hold_every_row_of_both_tracks(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    parts = "\n".join(re.findall(r"<!-- generated: .+? -->\n(.*?)<!-- end -->", text, re.DOTALL))
    for track, rows in TRACKS.items():
        assert track in parts
        for row in rows:
            assert row.key in parts or row.key.replace("<app>", "APP") in parts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_same_headings_and_the_exact_diff_both_ways(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    forward, back = re.findall(r"```diff\n-(.+)\n\+(.+)\n```", text)
    assert forward == back[::-1]


@pytest.mark.parametrize(
    "document", ["README.md", "docs/pull-requests.md", *(f"docs/runbook/{page.name}" for page in PAGES)]
)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{document}: {target}"
