"""The sessions of this namespace, to go back to, to look through, to forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList

from agentmem_tui.conversation import SessionRow
from agentmem_tui.messages import SessionChosen, SessionDeletion, SessionRenaming
from agentmem_tui.printable import day, one_line
from agentmem_tui.widgets.options import Entry, Options

_SHOWN = 22


class SessionList(Options[str]):
    """Sessions, the latest first; Enter goes on in one, `r` renames it, `d` or Delete forgets it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Go on in it", id="sessions.open"),
        Binding("r", "rename", "Rename", id="sessions.rename"),
        Binding("d,delete", "forget", "Delete", key_display="d", id="sessions.delete"),
        Binding("slash", "filter", "Filter", id="sessions.filter"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[SessionRow] = []
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
        entries = [(_described(row, row.session == self._current), row.session) for row in rows]
        if fresh:
            entries.insert(0, (Content.styled("● New session\n", "bold"), self._current))
        self.show_entries(entries)
        self.highlighted = next((n for n, (_, session) in enumerate(entries) if session == self._current), 0)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if isinstance(event.option, Entry):
            self.post_message(SessionChosen(event.option.value))

    def action_forget(self) -> None:
        for row in self._rows:
            if row.session == self.current:
                self.post_message(SessionDeletion(row.session, row.title))

    def action_rename(self) -> None:
        for row in self._rows:
            if row.session == self.current:
                self.post_message(SessionRenaming(row.session, row.title if row.named else ""))

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
