"""A line or two to be written: a new thought, another wording, a date."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea


class _Line(TextArea):
    """Enter says that it is done."""

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            # A second Enter may come when the screen has gone: `screen` is then whichever one is shown.
            if self.is_attached and isinstance(self.screen, WriteScreen):
                self.screen.dismiss(self.text.strip() or None)


class WriteScreen(ModalScreen[str | None]):
    """Dismissed with what was written, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave")]

    def __init__(self, title: str, text: str = "", *, hint: str = "") -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._hint = hint

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
