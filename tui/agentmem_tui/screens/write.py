"""A line or two to be written: a new thought, another wording, a date."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static, TextArea

from agentmem_tui.screens.dialog import Dialog


class _Line(TextArea):
    """Enter says that it is done."""

    class Written(Message):
        """Enter was pressed."""

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Written())


class WriteScreen(Dialog[str | None]):
    """Dismissed with what was written, or None; where `empty` is an answer, with "" for nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave")]

    def __init__(self, title: str, text: str = "", *, hint: str = "", empty: bool = False) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._hint = hint
        self._empty = empty

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._hint, classes="about", markup=False)
            yield _Line(self._text, soft_wrap=True, compact=True, highlight_cursor_line=False, id="line")
            yield Static("Enter: done · Esc: leave it", classes="about")

    def on_mount(self) -> None:
        self.query_one(".dialog").border_title = self._title
        line = self.query_one(_Line)
        line.move_cursor(line.document.end)
        line.focus()

    @on(_Line.Written)
    def _done(self) -> None:
        self.dismiss(self.query_one(_Line).text.strip() or ("" if self._empty else None))
