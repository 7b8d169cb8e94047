"""The sessions of this namespace, to go back to."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from agentmem_tui.conversation import SessionRow
from agentmem_tui.messages import SessionChosen
from agentmem_tui.printable import day, one_line

_SHOWN = 22


class SessionList(OptionList):
    """Sessions, the latest first; Enter goes on in one."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._sessions: list[str | None] = []

    def show(self, rows: Sequence[SessionRow], current: str) -> None:
        """List the rows, after an entry for the current session where it holds nothing yet."""
        fresh = all(row.session != current for row in rows)
        self._sessions = [*([current] if fresh else []), *(row.session for row in rows)]
        options = [Option(_described(row, row.session == current)) for row in rows]
        self.set_options([Option(Content.styled("● New session\n", "bold")), *options] if fresh else options)
        self.highlighted = self._sessions.index(current)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(SessionChosen(self._sessions[event.option_index]))


class Sessions(Vertical):
    """The pane around the list."""

    def compose(self) -> ComposeResult:
        yield SessionList()

    def on_mount(self) -> None:
        self.border_title = "Sessions"


def _described(row: SessionRow, current: bool) -> Content:
    turns = f"{row.turns} turns" if row.turns != 1 else "1 turn"
    return Content.assemble(
        ("● " if current else "  ", "bold"),
        (one_line(row.title, _SHOWN), "bold" if current else ""),
        (f"\n  {day(row.last_at)} · {turns}\n", "dim"),
    )
