"""A question with all that hangs on it, and the user's yes or no; the model's own wish to forget, among them, for which
the model waits in a worker thread."""

from __future__ import annotations

from concurrent.futures import Future
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from agentmem.types import ForgetPlan
from agentmem_tui.screens.dialog import Dialog
from agentmem_tui.screens.forget import preview


class AgreeScreen(Dialog[bool]):
    """Dismissed with whether the user agrees; no is where the focus is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "No", key_display="n"),
        Binding("y", "answer(True)", "Yes"),
    ]

    def __init__(self, title: str, asked: Content, *, no: str, yes: str) -> None:
        super().__init__()
        self._title, self._asked, self._no, self._yes = title, asked, no, yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield VerticalScroll(Static(self._asked, id="preview"))
            with Horizontal(id="buttons"):
                yield Button(self._no, id="no", compact=True)
                yield Button(self._yes, variant="error", id="yes", compact=True)

    def on_mount(self) -> None:
        self.query_one(".dialog").border_title = self._title
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_answer(event.button.id == "yes")

    def action_answer(self, agreed: bool) -> None:
        self.dismiss(agreed)


class ConfirmScreen(AgreeScreen):
    """What the model proposes to forget. `answer` gets what the user decides: no, too, where the screen just goes."""

    def __init__(self, plan: ForgetPlan, answer: Future[bool]) -> None:
        super().__init__("The model asks to forget this", preview(plan), no="No, keep it", yes="Yes, forget for good")
        self._answer = answer

    def action_answer(self, agreed: bool) -> None:
        self._decide(agreed)
        super().action_answer(agreed)

    def on_unmount(self) -> None:
        self._decide(False)

    def _decide(self, agreed: bool) -> None:
        if not self._answer.done():
            self._answer.set_result(agreed)


def ask_from_thread(app: App[None], plan: ForgetPlan) -> bool:
    """Whether the user agrees: to be called in a worker thread, which waits."""
    answer: Future[bool] = Future()
    app.call_from_thread(app.push_screen, ConfirmScreen(plan, answer))
    return answer.result()
