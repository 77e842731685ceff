"""Writes the generated parts of the documents from the table of steps: `python docs/generate.py [--check]`.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rollout.steps import POSTGRES  # noqa: E402 - the project root comes first

DOCUMENTS = ("README.md", "docs/architecture.md")


def steps_table() -> str:
    """The README's table: variable, what it does, how to go back."""
    rows = ["| step | set | what it does | back |", "|---|---|---|---|"]
    for number, step in enumerate(POSTGRES, start=1):
        ahead = "" if step.offered else " *(a later version)*"
        optional = " (optional)" if step.optional else ""
        # A variable with two steps goes back one at a time.
        before = next((s.target for s in reversed(POSTGRES[: number - 1]) if s.key == step.key), step.initial)
        back = f"`{step.key}` = `{before}`"
        rows.append(f"| {number}{optional} | `{step.key}` = `{step.target}` | {step.does}{ahead} | {back} |")
    return "\n".join(rows)


def steps_diagram() -> str:
    """The steps and their ways back as a Mermaid state diagram; dashed ones are not offered yet."""
    offered = [step for step in POSTGRES if step.offered]
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> s0", "    s0: plaintext everywhere"]
    for number, step in enumerate(offered, start=1):
        lines += [
            f"    s{number}: {step.key} {step.target}",
            f"    s{number - 1} --> s{number}: {step.initial} → {step.target}",
            f"    s{number} --> s{number - 1}: {step.target} → {step.initial}",
        ]
    return "\n".join([*lines, "```"])


PARTS = {"steps-table": steps_table, "steps-diagram": steps_diagram}


def regenerated(text: str) -> str:
    """`text` with every generated part as the table says now; raises `KeyError` for an unknown part."""

    def replace(match: re.Match[str]) -> str:
        return f"{match.group(1)}\n{PARTS[match.group(2)]()}\n{match.group(3)}"

    return re.sub(r"(<!-- generated: ([a-z-]+) -->)\n.*?(<!-- end -->)", replace, text, flags=re.DOTALL)


def main(arguments: list[str]) -> int:
    """Rewrites the documents, or with `--check` names the ones that are out of date and returns 1."""
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new = regenerated(text)
        if new == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(new, encoding="utf-8")
    if stale:
        print(("out of date, run `make docs`: " if "--check" in arguments else "rewritten: ") + ", ".join(stale))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
