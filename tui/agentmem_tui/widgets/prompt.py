"""The prompt: several lines, Enter sends, Up and Down at its edges go through what was said before."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from agentmem_tui.messages import PromptSubmitted


class Prompt(TextArea):
    """Where the user writes. `PromptSubmitted` carries what was sent; blank text is not sent."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+j", "newline", "New line", show=False, id="prompt.newline")]

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, compact=True, highlight_cursor_line=False, placeholder="Say something")
        self._said: list[str] = []
        self._place = 0
        self._draft = ""

    def remember(self, said: list[str]) -> None:
        """Set what Up and Down go through, oldest first."""
        self._said = said
        self._place = len(said)

    def put(self, text: str) -> None:
        """Show a text to be changed, in the place of what stands here."""
        self._show(text)
        self.focus()

    def put_back(self, text: str) -> None:
        """Give a text back that could not be sent, unless something new was begun meanwhile."""
        if not self.text:
            self._show(text)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._submit()

    def _submit(self) -> None:
        text = self.text.strip()
        if text:
            self.post_message(PromptSubmitted(text))

    def accept(self, text: str) -> None:
        """Empty the prompt: its text was sent."""
        self.remember([*self._said, text])
        self.clear()

    def action_newline(self) -> None:
        self.insert("\n")

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and self._place > 0 and self.navigator.is_first_wrapped_line(self.cursor_location):
            if self._place == len(self._said):
                self._draft = self.text
            self._go(self._place - 1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        below = self._place < len(self._said)
        if not select and below and self.navigator.is_last_wrapped_line(self.cursor_location):
            self._go(self._place + 1)
        else:
            super().action_cursor_down(select)

    def _go(self, place: int) -> None:
        self._place = place
        self._show(self._said[place] if place < len(self._said) else self._draft)

    def _show(self, text: str) -> None:
        self.load_text(text)
        self.move_cursor(self.document.end)
