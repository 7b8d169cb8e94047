"""The sessions of this namespace, to go back to, to look through, to forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from agentmem_tui.conversation import SessionRow
from agentmem_tui.messages import SessionChosen, SessionDeletion
from agentmem_tui.printable import day, one_line

_SHOWN = 22


class SessionList(OptionList):
    """Sessions, the latest first; Enter goes on in one, `d` or Delete forgets one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Go on in it", id="sessions.open"),
        Binding("d,delete", "forget", "Delete", key_display="d", id="sessions.delete"),
        Binding("slash", "filter", "Filter", id="sessions.filter"),
    ]

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._rows: list[SessionRow] = []
        self._sessions: list[str | None] = []
        self._current = ""

    def show(self, rows: Sequence[SessionRow], current: str) -> None:
        """List the rows, after an entry for the current session where it holds nothing yet."""
        self._rows, self._current = list(rows), current
        self.narrow("")

    def narrow(self, words: str) -> None:
        """List those whose title or name holds all the words."""
        wanted = words.lower().split()
        rows = [row for row in self._rows if all(word in f"{row.title} {row.session}".lower() for word in wanted)]
        fresh = not wanted and all(row.session != self._current for row in self._rows)
        self._sessions = [*([self._current] if fresh else []), *(row.session for row in rows)]
        options = [Option(_described(row, row.session == self._current)) for row in rows]
        self.set_options([Option(Content.styled("● New session\n", "bold")), *options] if fresh else options)
        self.highlighted = self._sessions.index(self._current) if self._current in self._sessions else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(SessionChosen(self._sessions[event.option_index]))

    def action_forget(self) -> None:
        chosen = None if self.highlighted is None else self._sessions[self.highlighted]
        for row in self._rows:
            if row.session == chosen:
                self.post_message(SessionDeletion(row.session, row.title))

    def action_filter(self) -> None:
        assert self.parent is not None
        self.parent.query_one(Input).focus()


class Sessions(Vertical):
    """The pane around the list."""

    def compose(self) -> ComposeResult:
        yield Input(placeholder="Filter", compact=True)
        yield SessionList()

    def on_mount(self) -> None:
        self.border_title = "Sessions"

    def show(self, rows: Sequence[SessionRow], current: str) -> None:
        listed = self.query_one(SessionList)
        listed.show(rows, current)
        if words := self.query_one(Input).value:
            listed.narrow(words)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one(SessionList).narrow(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(SessionList).focus()


def _described(row: SessionRow, current: bool) -> Content:
    turns = f"{row.turns} turns" if row.turns != 1 else "1 turn"
    return Content.assemble(
        ("● " if current else "  ", "bold"),
        (one_line(row.title, _SHOWN), "bold" if current else ""),
        (f"\n  {day(row.last_at)} · {turns}\n", "dim"),
    )
