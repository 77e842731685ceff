"""The documents say what the table of steps says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rollout.steps import offered_steps

ROOT = Path(__file__).resolve().parents[2]
HEADINGS = ["Purpose", "Before", "Change", "Apply", "Verify", "Watch", "Back", "Point of no return"]
PAGES = sorted(path for path in (ROOT / "docs/runbook").glob("*.md") if not path.name.startswith("00"))


def test_generated_parts_are_current() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout


def test_every_step_has_a_page() -> None:
    assert len(PAGES) == len(offered_steps())
    for page, step in zip(PAGES, offered_steps(), strict=True):
        assert step.key in page.read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_same_headings_and_the_exact_diff_both_ways(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    forward, back = re.findall(r"```diff\n-(.+)\n\+(.+)\n```", text)
    assert forward == back[::-1]


@pytest.mark.parametrize("document", ["README.md", *(f"docs/runbook/{page.name}" for page in PAGES)])
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{document}: {target}"
