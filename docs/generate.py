"""Writes the generated parts of the documents from the table of steps: `python docs/generate.py [--check]`.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. The pull requests
are those of tests/operate, shown by the same run.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from operate.text import as_text  # noqa: E402 - the project root comes first
from rollout.steps import ROWS, TRACKS, VARIABLES, Row, initial_settings, stages  # noqa: E402
from rollout.traffic import traffic_of  # noqa: E402
from tests.operate.pull_requests import RIGHT, WRONG, PullRequest, host_says  # noqa: E402

DOCUMENTS = ("README.md", "docs/architecture.md", "docs/pull-requests.md")


def steps_table() -> str:
    """The README's table: variable, what it does, how to go back."""
    lines = ["| step | set | what it does | back |", "|---|---|---|---|"]
    for row in ROWS:
        optional = " (optional)" if row.optional else ""
        cells = (
            f"{place(row)}{optional}",
            f"`{row.key}` = `{row.target}`",
            row.does,
            f"`{row.key}` = `{lower(row)}`",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def steps_diagram() -> str:
    """The steps and their ways back as a Mermaid state diagram, the two tracks side by side."""
    shared = [row for row in ROWS if all(row in rows for rows in TRACKS.values())]
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> start", "    start: plaintext everywhere"]
    lines += _line(shared, "start", "s", "    ")
    last = f"s{len(shared) - 1}"
    lines += [f"    {last} --> tracks", f"    tracks --> {last}", "    state tracks {"]
    for number, (track, rows) in enumerate(TRACKS.items()):
        lines += ["        --"] if number else []
        lines += [f"        [*] --> {track}", f"        {track}: {track} in plaintext"]
        lines += _line([row for row in rows if row not in shared], track, track, "        ", first=len(shared))
    return "\n".join([*lines, "    }", "```"])


def _line(rows: list[Row], begin: str, prefix: str, indent: str, first: int = 0) -> list[str]:
    lines = []
    before = begin
    for number, row in enumerate(rows, start=first):
        name = f"{prefix}{number}"
        lines += [
            # Mermaid takes `<app>` for a tag.
            f"{indent}{name}: {number} {row.key.replace('<app>', 'APP')} {row.target}",
            f"{indent}{before} --> {name}: {lower(row)} → {row.target}",
            f"{indent}{name} --> {before}: {row.target} → {lower(row)}",
        ]
        before = name
    return lines


def traffic_table() -> str:
    """What each step does to live traffic, forward and back."""
    lines = ["| step | forward | back |", "|---|---|---|"]
    for row in ROWS:
        traffic = traffic_of(row)
        page = f"[{place(row)}](runbook/{traffic.page}) `{row.key}` = `{row.target}`"
        lines.append(f"| {page} | {traffic.forward} | {traffic.back} |")
    return "\n".join(lines)


def pull_requests() -> str:
    """Each pull request of the tests: its lines, and the screen that it ends with."""
    wrong = [_shown(one, number) for number, one in enumerate(WRONG, start=1)]
    right = [_shown(one, number) for number, one in enumerate(RIGHT, start=len(WRONG) + 1)]
    return "\n\n".join(["## Ten wrong ones", *wrong, "## Two right ones", *right])


def _shown(one: PullRequest, number: int) -> str:
    parts = [
        f"### {number}. {one.title[0].upper()}{one.title[1:]}",
        f"```diff\n{one.diff}\n```",
        f"```\n{as_text(one.report()).strip()}\n```",
    ]
    if one.host:
        parts += [
            "No config shows it, so the pull request can only tell. The host refuses it in its preflight, before "
            "anything is changed (the host's own functions; what they ask of the server is played):",
            f"```\n{host_says(one.host).stderr.strip()}\n```",
        ]
    return "\n\n".join(parts)


def place(row: Row) -> str:
    """Where the table has a row: `1` where tracks share it, else `postgres 2`."""
    places = [(track, rows.index(row)) for track, rows in TRACKS.items() if row in rows]
    track, number = places[0]
    return str(number) if len(places) > 1 else f"{track} {number}"


def lower(row: Row) -> str:
    """The value to which taking the row back leads. An app stands for all of them."""
    settings = initial_settings({"<app>": [variable.uses for variable in VARIABLES.values()]})
    return next(stage.lower for track in TRACKS for stage in stages(track, settings) if stage.row == row)


PARTS = {
    "steps-table": steps_table,
    "steps-diagram": steps_diagram,
    "traffic-table": traffic_table,
    "pull-requests": pull_requests,
}


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
