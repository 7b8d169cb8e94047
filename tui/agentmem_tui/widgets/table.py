"""A table of any number of rows, of which only those on screen are ever described and drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

T = TypeVar("T")
_GAP = "  "
_MARK = 2
"""Columns on the left: where the cursor is, and what is marked, without colour too."""


@dataclass(frozen=True, slots=True)
class Column:
    """`width` 0: whatever is left."""

    title: str
    width: int = 0


class Table(ScrollView, Generic[T], can_focus=True):
    """Rows of some kind; `describe` makes the cells of one, as one-line texts that are safe to show."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "jump(0)", "First", show=False),
        Binding("end", "jump(-1)", "Last", show=False),
        Binding("enter", "choose", "Open", id="table.open"),
        Binding("space", "mark", "Mark", show=False, id="table.mark"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--head", "table--cursor", "table--dim"}
    DEFAULT_CSS = """
    Table { height: 1fr; }
    Table > .table--head { text-style: bold; }
    Table > .table--cursor { text-style: reverse; }
    Table > .table--dim { text-style: dim; }
    """
    cursor: reactive[int] = reactive(0)

    class Chosen(Message):
        """Enter was pressed on a row, or it was clicked twice."""

        def __init__(self, row: Any) -> None:
            super().__init__()
            self.row = row

    def __init__(
        self,
        columns: Sequence[Column],
        describe: Callable[[T], tuple[str, ...]],
        key: Callable[[T], str],
        *,
        dim: Callable[[T], bool] = lambda _row: False,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.rows: Sequence[T] = ()
        self.marked: set[str] = set()
        self._columns = columns
        self._describe, self._key, self._dim = describe, key, dim

    def show(self, rows: Sequence[T]) -> None:
        """Show these rows; the cursor stays on the row it is on, as far as that is still there."""
        before = None if self.current is None else self._key(self.current)
        self.rows = rows
        self.marked &= {self._key(row) for row in rows} if self.marked else set()
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        at = next((n for n, row in enumerate(rows) if before is not None and self._key(row) == before), 0)
        self.cursor = at
        self._keep_in_view()
        self.refresh()

    @property
    def current(self) -> T | None:
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    def chosen(self) -> list[T]:
        """The marked rows, or the one that the cursor is on."""
        if self.marked:
            return [row for row in self.rows if self._key(row) in self.marked]
        return [] if self.current is None else [self.current]

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            head = self._line([column.title for column in self._columns], "  ", width)
            return Strip([Segment(head, self.get_component_rich_style("table--head"))], width)
        at = self.scroll_offset.y + y - 1
        if at >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        row = self.rows[at]
        mark = f"{'>' if at == self.cursor else ' '}{'●' if self._key(row) in self.marked else ' '}"
        return Strip([Segment(self._line(self._describe(row), mark, width), self._style(at, row))], width)

    def _style(self, at: int, row: T) -> Style:
        if at == self.cursor and self.has_focus:
            return self.get_component_rich_style("table--cursor")
        return self.get_component_rich_style("table--dim") if self._dim(row) else self.rich_style

    def _line(self, cells: Sequence[str], mark: str, width: int) -> str:
        fixed = sum(column.width for column in self._columns) + len(_GAP) * len(self._columns) + _MARK
        rest = max(8, width - fixed)
        parts = [set_cell_size(cell, column.width or rest) for cell, column in zip(cells, self._columns, strict=True)]
        return set_cell_size(f"{mark}{_GAP.join(parts)}", width)

    def watch_cursor(self) -> None:
        self._keep_in_view()
        self.refresh()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh()

    def _keep_in_view(self) -> None:
        shown, top = max(1, self.size.height - 1), self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + shown:
            self.scroll_to(y=self.cursor - shown + 1, animate=False)

    def action_move(self, step: int) -> None:
        self.cursor = min(max(self.cursor + step, 0), max(len(self.rows) - 1, 0))

    def action_page(self, step: int) -> None:
        self.action_move(step * max(1, self.size.height - 2))

    def action_jump(self, to: int) -> None:
        self.cursor = max(len(self.rows) - 1, 0) if to else 0

    def action_mark(self) -> None:
        if self.current is not None:
            self.marked ^= {self._key(self.current)}
            self.action_move(1)
            self.refresh()

    def action_choose(self) -> None:
        if self.current is not None:
            self.post_message(self.Chosen(self.current))

    def on_click(self, event: events.Click) -> None:
        at = self.scroll_offset.y + event.y - 1
        if 0 <= at < len(self.rows):
            self.cursor = at
            if event.chain > 1:
                self.action_choose()
