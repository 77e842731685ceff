"""The picture is the same bytes for the same figures, and readable on any page."""

from pathlib import Path

from bench import picture
from bench.timeline import Mark, Second, Timeline

WAYS = [
    Timeline(
        title=title,
        seconds=(Second(at=0, worst_ms=5.0, failed=0), Second(at=3, worst_ms=2500.0, failed=failed)),
        marks=(Mark(at=1.5, label="Postgres"),),
        requests=2,
        failed=failed,
    )
    for title, failed in (("one way", 0), ("another way", 1))
]


def test_what_is_written_draws_the_same_bytes_again_on_a_white_ground_and_undated(tmp_path: Path) -> None:
    picture.write(WAYS, tmp_path)
    assert picture.main([str(tmp_path / "rollout.json"), str(tmp_path / "again.svg")]) == 0
    drawn = (tmp_path / "rollout.svg").read_text()
    assert (tmp_path / "again.svg").read_text() == drawn
    assert "fill: #ffffff" in drawn
    assert "dc:date" not in drawn
