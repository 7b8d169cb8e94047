"""What was learnt from the selected exchange, once it was thought about; each can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from agentmem.learning import Learnt
from agentmem_tui.messages import UndoWanted
from agentmem_tui.printable import one_line
from agentmem_tui.widgets.options import Options

_SHOWN = 160
_MARKS = {"new": "+ new", "strengthened": "↑ said again", "merged": "= merged", "superseded": "- no longer true"}


class LearnedList(Options[Learnt]):
    """The thoughts; `u` takes one back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("u", "undo", "Take back", id="learned.undo")]

    def __init__(self) -> None:
        super().__init__()
        self.learnt: tuple[Learnt, ...] = ()
        self.turn_ids: list[str] = []

    def action_undo(self) -> None:
        if self.current is not None:
            self.post_message(UndoWanted(self.current, self.turn_ids))


class Learned(Vertical):
    """A line that says what is listed, and the list; not there while there is nothing to say."""

    def compose(self) -> ComposeResult:
        yield Static("", classes="about")
        yield LearnedList()

    def on_mount(self) -> None:
        self.display = False

    def show(self, learnt: Sequence[Learnt] | None, turn_ids: list[str]) -> None:
        """List what was learnt from these turns; None: they still wait to be thought about."""
        listed = self.query_one(LearnedList)
        listed.learnt, listed.turn_ids = tuple(learnt or ()), turn_ids
        listed.show_entries((_described(one), one) for one in listed.learnt)
        listed.highlighted = 0 if listed.learnt else None
        self.display = learnt is None or bool(learnt)
        about = "Thinking about what was said…" if learnt is None else "Learnt from this exchange"
        self.query_one(".about", Static).update(about)


def _described(learnt: Learnt) -> Content:
    return Content.assemble((f"{_MARKS[learnt.how]}: ", "bold"), one_line(learnt.thought.text, _SHOWN))
