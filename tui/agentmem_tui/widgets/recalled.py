"""What was recalled for the selected answer, and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from agentmem.types import RecallItem
from agentmem_tui.messages import ForgetWanted, ItemOpened
from agentmem_tui.printable import day, one_line, printable

_SHOWN = 180


class RecalledList(OptionList):
    """The items by rank. Enter opens what stood around one, `f` or Delete forgets it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Open", id="recalled.open"),
        Binding("f,delete", "forget", "Forget", key_display="f", id="recalled.forget"),
    ]

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.items: tuple[RecallItem, ...] = ()

    def show(self, items: Sequence[RecallItem]) -> None:
        self.items = tuple(items)
        self.set_options(Option(_described(rank, item)) for rank, item in enumerate(items, 1))
        self.highlighted = 0 if items else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(ItemOpened(self.items[event.option_index]))

    def action_forget(self) -> None:
        if self.highlighted is not None:
            self.post_message(ForgetWanted(self.items[self.highlighted].id))


class Recalled(Vertical):
    """The pane: a line that says what is listed, and the list."""

    def compose(self) -> ComposeResult:
        yield Static("", classes="about")
        yield RecalledList()

    def on_mount(self) -> None:
        self.border_title = "Recalled"
        self.show((), asked=False)

    def show(self, items: Sequence[RecallItem], *, asked: bool = True) -> None:
        """List the items; `asked` is False while no answer is selected."""
        self.query_one(RecalledList).show(items)
        self.query_one(".about", Static).update(_about(len(items), asked))

    def drop(self, ids: Collection[str]) -> None:
        """Take forgotten items off the list."""
        self.show([item for item in self.query_one(RecalledList).items if item.id not in ids])


def _about(count: int, asked: bool) -> str:
    if not asked:
        return "Here stands what is recalled for an answer, and why."
    if not count:
        return "Nothing was recalled for this answer."
    return f"{count} recalled, best first" if count > 1 else "1 recalled"


def _described(rank: int, item: RecallItem) -> Content:
    who = item.source.get("speaker") or item.source.get("role") or f"from {item.source.get('origin', 'elsewhere')}"
    score = f" · {item.score:.2f}" if item.score else ""
    lines = [
        Content.assemble(
            (f"{rank} {item.kind}", "bold"), (f"{score} · {day(item.time)} · {printable(str(who))}", "dim")
        ),
        Content(one_line(item.text, _SHOWN)),
        Content.styled(printable(item.why), "dim italic"),
    ]
    return Content("\n").join([*filter(None, lines), Content()])
