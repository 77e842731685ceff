"""`docs/images/rollout.svg`: the rollout's worst latency and failed requests over time, our way above the naive one.

    python -m bench.picture build/rollout.json docs/images/rollout.svg

The same timelines are the same bytes. The background is white on purpose: a transparent one is unreadable on a dark
page.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.timeline import Timeline

_INK, _FAINT, _LINE, _FAILED = "#1f2328", "#9aa4ae", "#0969da", "#cf222e"
# Any: matplotlib's own type for it spells out every one of its settings.
_STYLE: Any = {
    # Letters as shapes: the same wherever it is shown.
    "svg.fonttype": "path",
    "svg.hashsalt": "internal-tls",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_INCHES = (10.0, 7.0)
_FLOOR_MS = 1.0


def draw(ways: Sequence[Timeline], path: Path) -> None:
    """Draw the ways one below the other, on the same scales, as SVG or by the file's ending as PNG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, facecolor="white", layout="constrained")
        panels = figure.subplots(len(ways), 1, sharex=True, sharey=True, squeeze=False)
        for axes, way in zip(panels[:, 0], ways, strict=True):
            _panel(axes, way)
        panels[-1, 0].set_xlabel("seconds")
        panels[0, 0].set_xlim(0, max(way.seconds[-1].at + 1 for way in ways))
        panels[0, 0].set_ylim(_FLOOR_MS, _ceiling(ways))
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, metadata=metadata, dpi=100)


def _ceiling(ways: Sequence[Timeline]) -> float:
    """A power of ten above everything, with room for the labels."""
    worst = max(second.worst_ms for way in ways for second in way.seconds)
    return float(10 ** (math.ceil(math.log10(max(worst, 10.0))) + 0.1))


def _panel(axes: Axes, way: Timeline) -> None:
    axes.set_facecolor("white")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} ms" if value < 1000 else f"{value / 1000:g} s")
    axes.set_ylabel("worst latency in each second")
    axes.grid(visible=True, axis="y", color=_FAINT, alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title(
        f"{way.title}: {way.failed:,} of {way.requests:,} requests failed",
        loc="left",
        fontweight="bold",
        color=_FAILED if way.failed else _INK,
        pad=82,
    )
    for mark in way.marks:
        axes.axvline(mark.at, color=_FAINT, linewidth=0.6, zorder=0)
        axes.text(
            mark.at, 1.01, mark.label, rotation=90, ha="center", va="bottom", transform=axes.get_xaxis_transform()
        )
    axes.plot(*_line(way), color=_LINE, linewidth=1.0)
    broken = [second for second in way.seconds if second.failed]
    axes.scatter(
        [second.at + 0.5 for second in broken],
        [max(second.worst_ms, _FLOOR_MS) for second in broken],
        marker="x",
        s=16,
        linewidths=1.0,
        color=_FAILED,
        zorder=3,
    )


def _line(way: Timeline) -> tuple[list[float], list[float]]:
    """The points of the line; a second without a request interrupts it."""
    at: list[float] = []
    worst: list[float] = []
    for second in way.seconds:
        if at and second.at + 0.5 - at[-1] > 1:
            at.append(second.at)
            worst.append(math.nan)
        at.append(second.at + 0.5)
        worst.append(max(second.worst_ms, _FLOOR_MS))
    return at, worst


def write(ways: Sequence[Timeline], build: Path) -> None:
    """`rollout.json`, from which it can be drawn again, and `rollout.svg`."""
    text = json.dumps([way.to_plain() for way in ways], separators=(",", ":"))
    (build / "rollout.json").write_text(text + "\n")
    draw(ways, build / "rollout.svg")


def main(arguments: Sequence[str]) -> int:
    """Draw from what the bench has written."""
    parser = argparse.ArgumentParser(prog="python -m bench.picture", description=__doc__)
    parser.add_argument("timelines", type=Path, help="build/rollout.json")
    parser.add_argument("picture", type=Path, help="where to, .svg or .png")
    chosen = parser.parse_args(arguments)
    ways: list[dict[str, Any]] = json.loads(chosen.timelines.read_text())
    draw([Timeline.from_plain(way) for way in ways], chosen.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
