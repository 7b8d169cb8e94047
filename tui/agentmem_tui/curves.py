"""A curve in lines of text: columns of blocks, an eighth of a line fine. It needs no colour."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_LABEL = 5


def curve(title: str, points: Sequence[tuple[int, float]], *, end: int, width: int, height: int = 4) -> list[str]:
    """A title and `height` lines, `width` columns wide; `points` are (x, y) in order of x, from 0 to `end`, y >= 0."""
    newest = f" {points[-1][1]:.3g}" if points else ""
    top = max((y for _, y in points), default=0.0) or 1.0
    filled = [round(y / top * height * 8) for y in _columns(points, end, max(1, width - _LABEL - 1))]
    drawn = ["".join(_BLOCKS[min(8, max(0, level - 8 * row))] for level in filled) for row in reversed(range(height))]
    labels = [f"{top:{_LABEL}.2f}", *[""] * (height - 2), f"{0:{_LABEL}.2f}"]
    rows = [f"{label:{_LABEL}}▕{row}" for label, row in zip(labels, drawn, strict=True)]
    return [line.ljust(width) for line in (f"{title}{newest}", *rows)]


def _columns(points: Sequence[tuple[int, float]], end: int, columns: int) -> list[float]:
    """The newest value in each column up to the last point's, the one before where a column has none."""
    at = {min(columns - 1, x * columns // max(1, end)): y for x, y in points}
    found: list[float] = []
    for column in range(max(at, default=-1) + 1):
        found.append(at.get(column, found[-1] if found else next(iter(at.values()))))
    return found
