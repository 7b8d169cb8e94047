"""Curves of text: as wide and as high as they were asked for, and up to where there is something."""

from __future__ import annotations

from agentmem_tui.curves import curve


def test_a_falling_curve_falls() -> None:
    lines = curve("loss", [(1, 2.0), (2, 1.0), (3, 0.5)], end=4, width=10, height=2)
    assert lines == ["loss 0.5  ", " 2.00▕██  ", " 0.00▕███▄"]


def test_without_a_point_there_is_a_frame_and_no_curve() -> None:
    assert curve("right", [], end=0, width=12, height=2) == ["right       ", " 1.00▕      ", " 0.00▕      "]


def test_more_points_than_columns_keep_the_newest_of_each() -> None:
    lines = curve("x", [(n, n / 100) for n in range(1, 101)], end=100, width=16, height=4)
    assert {len(line) for line in lines} == {16}
    assert lines[1].endswith("█")
