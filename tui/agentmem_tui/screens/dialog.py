"""A screen above another, which goes once and takes nothing but itself away."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.worker import Worker

from agentmem_tui.widgets.options import has_room

T = TypeVar("T")


class Dialog(ModalScreen[T]):
    """What asks or shows something above a page.

    Textual's `dismiss` takes away whichever screen is on top. Keys and messages are handled later than they come: a
    second Enter finds a dialog that is going already, and would take the page below along; work that ends finds one
    that another covers, and would take that. So the first does nothing, and the second waits until it is on top. One
    that is not there yet goes as soon as it is.
    """

    _result: tuple[T | None] | None = None
    """What it goes with as soon as nothing covers it."""

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        if self.is_active and self.is_mounted:
            return super().dismiss(result)
        if self in self.app.screen_stack:
            self._result = (result,)
        return AwaitComplete()

    def on_screen_resume(self) -> None:
        if self._result is not None:
            self.dismiss(*self._result)


class Palette(CommandPalette, Dialog[None]):
    """Textual's command palette, which goes once as well, and with its search: that would look for its list in vain."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        self.workers.cancel_node(self)
        return super().dismiss(result)

    def _gather_commands(self, search_value: str) -> Worker[None] | None:  # type: ignore[override]
        return super()._gather_commands(search_value) if self.is_active else None

    def _action_command_list(self, action: str) -> None:
        if has_room(self.query_one(OptionList)):
            super()._action_command_list(action)
