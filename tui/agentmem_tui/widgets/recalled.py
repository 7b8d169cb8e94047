"""What was recalled for the selected answer, and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from agentmem.types import RecallItem
from agentmem_tui.messages import ChoiceChanged, ForgetWanted, ItemOpened
from agentmem_tui.printable import day, one_line, printable
from agentmem_tui.widgets.learned import Learned
from agentmem_tui.widgets.options import Entry, Options

_SHOWN = 180
_SIGNALS = 5
_NAME = 14
_BAR = 12
"""Columns of the longest bar: with name and figure it fits a pane of 40."""


class RecalledList(Options[RecallItem]):
    """The items by rank. Enter opens what stood around one, `f` or Delete forgets it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Open", id="recalled.open"),
        Binding("p", "pin", "Pin", id="recalled.pin"),
        Binding("x", "leave_out", "Leave out", id="recalled.leave_out"),
        Binding("f,delete", "forget", "Forget", key_display="f", id="recalled.forget"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.items: tuple[RecallItem, ...] = ()
        self._pinned: dict[str, RecallItem] = {}
        self._left_out: set[str] = set()

    def show(self, items: Sequence[RecallItem]) -> None:
        self.items = tuple(items)
        self._list()
        self.highlighted = 0 if items else None

    def _list(self) -> None:
        self.show_entries((_described(n, item, self._mark(item)), item) for n, item in enumerate(self.items, 1))

    def _mark(self, item: RecallItem) -> str:
        if item.id in self._pinned:
            return " · pinned for the next answer"
        return " · left out of the next answer" if item.id in self._left_out else ""

    def choose_nothing(self) -> None:
        """The next answer is free to recall what it will."""
        if self._pinned or self._left_out:
            self._pinned.clear()
            self._left_out.clear()
            self._relist()

    def _relist(self) -> None:
        at = self.highlighted
        self._list()
        self.highlighted = at

    def action_pin(self) -> None:
        """Have the next answer recall the item, or not any more."""
        if (item := self.current) is not None:
            self._left_out.discard(item.id)
            if self._pinned.pop(item.id, None) is None:
                self._pinned[item.id] = item
            self._choice_made()

    def action_leave_out(self) -> None:
        """Have the next answer go without the item, or not any more."""
        if (item := self.current) is not None:
            self._pinned.pop(item.id, None)
            self._left_out ^= {item.id}
            self._choice_made()

    def _choice_made(self) -> None:
        self._relist()
        self.post_message(ChoiceChanged(tuple(self._pinned.values()), frozenset(self._left_out)))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if isinstance(event.option, Entry):
            self.post_message(ItemOpened(event.option.value))

    def action_forget(self) -> None:
        if self.current is not None:
            self.post_message(ForgetWanted(self.current.id))


class Recalled(Vertical):
    """The pane: a line that says what is listed, and the list."""

    def compose(self) -> ComposeResult:
        yield Static("", classes="about")
        yield RecalledList()
        yield Static("", classes="signals")
        yield Learned()

    def on_mount(self) -> None:
        self.border_title = "Recalled"
        self.show((), asked=False)

    def show(self, items: Sequence[RecallItem], *, asked: bool = True) -> None:
        """List the items; `asked` is False while no answer is selected."""
        self.query_one(RecalledList).show(items)
        self.query_one(".about", Static).update(_about(len(items), asked))
        if not items:
            self.query_one(".signals", Static).update("")

    def on_option_list_option_highlighted(self) -> None:
        item = self.query_one(RecalledList).current
        self.query_one(".signals", Static).update(_signals(item) if item is not None else "")

    def drop(self, ids: Collection[str]) -> None:
        """Take forgotten items off the list."""
        self.show([item for item in self.query_one(RecalledList).items if item.id not in ids])


def _about(count: int, asked: bool) -> str:
    if not asked:
        return "Here stands what is recalled for an answer, and why."
    if not count:
        return "Nothing was recalled for this answer."
    return f"{count} recalled, best first" if count > 1 else "1 recalled"


def _signals(item: RecallItem) -> Content:
    """What an item's score is made of, the weightiest first."""
    if not item.signals:
        return Content.styled("The ledger keeps what was recalled, not its scores.", "dim")
    largest = max(abs(signal.contribution) for signal in item.signals) or 1.0
    weightiest = sorted(item.signals, key=lambda signal: -abs(signal.contribution))[:_SIGNALS]
    lines = [
        Content.assemble(
            (f"{signal.name[:_NAME]:{_NAME}}", "dim"),
            f" {signal.contribution:+7.2f} ",
            ("━" if signal.contribution > 0 else "╌") * max(1, round(abs(signal.contribution) / largest * _BAR)),
        )
        for signal in weightiest
        if signal.contribution
    ]
    measures = " · ".join(f"{name} {value:.2f}" for name, value in item.measures.items())
    return Content("\n").join([*lines, Content.styled(measures, "dim")])


def _described(rank: int, item: RecallItem, mark: str) -> Content:
    who = item.source.get("speaker") or item.source.get("role") or f"from {item.source.get('origin', 'elsewhere')}"
    score = f" · {item.score:.2f}" if item.score else ""
    lines = [
        Content.assemble(
            (f"{rank} {item.kind}", "bold"), (f"{score} · {day(item.time)} · {printable(str(who))}", "dim"), mark
        ),
        Content(one_line(item.text, _SHOWN)),
        Content.styled(printable(item.why), "dim italic"),
    ]
    return Content("\n").join([*filter(None, lines), Content()])
