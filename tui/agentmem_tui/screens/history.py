"""One thought with all it came from and all it became, back to the very turns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Footer, OptionList, Static

from agentmem.types import History, Thought, Turn
from agentmem_tui.conversation import Conversation, Target, as_item
from agentmem_tui.messages import SessionChosen
from agentmem_tui.printable import day, minute, one_line, printable, readable
from agentmem_tui.screens.around import AroundScreen
from agentmem_tui.screens.dialog import Dialog
from agentmem_tui.tasks import background
from agentmem_tui.widgets.options import Entry, Options
from agentmem_tui.widgets.said import speaker_of

_SHOWN = 200


class HistoryScreen(Dialog[None]):
    """Enter opens a turn where it stood, or the history of another thought."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Back", key_display="esc")]

    def __init__(self, conversation: Conversation, thought_id: str) -> None:
        super().__init__()
        self._conversation = conversation
        self._thought_id = thought_id

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("", classes="about", id="thought")
            yield Options[Turn | Thought](id="found")
            yield Footer()

    def on_mount(self) -> None:
        self.query_one(".dialog").border_title = "Where it comes from, and what became of it"
        self.query_one(Options).focus()
        self._read()

    @background("history")
    async def _read(self) -> None:
        talk = self._conversation
        found = await asyncio.to_thread(talk.memory.history, self._thought_id, namespace=talk.namespace)
        rows = list(_related(found))
        self.query_one("#thought", Static).update(_about(found))
        options = self.query_one(Options)
        options.show_entries((_line(how, record), record) for how, record in rows)
        options.highlighted = 0 if rows else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        record = event.option.value if isinstance(event.option, Entry) else None
        if isinstance(record, Turn):
            self.app.push_screen(AroundScreen(self._conversation, as_item(record)), self._looked)
        elif isinstance(record, Thought):
            self.app.push_screen(HistoryScreen(self._conversation, record.id))

    def _looked(self, chosen: Target | SessionChosen | None) -> None:
        if chosen is not None:
            self.notify(
                f"Go back to the chat for that: {self._conversation.key('chat.find')} finds it there", markup=False
            )


def _related(found: History) -> Iterator[tuple[str, Turn | Thought]]:
    for turn in found.sources:
        yield "said in", turn
    groups = {
        "merged from": found.parents,
        "took the place of": found.replaced,
        "gave way to": found.successors,
        "similar in wording": found.similar,
    }
    for how, thoughts in groups.items():
        for thought in thoughts:
            yield how, thought


def _about(found: History) -> Content:
    thought = found.thought
    until = f" until {day(thought.valid_to)}" if thought.valid_to else ""
    trusted = "" if thought.trusted else " · not to be trusted"
    facts = f"{thought.state} · true since {day(thought.valid_from)}{until} · from {thought.origin}{trusted}"
    times = f" · said {thought.strength} times" if thought.strength > 1 else ""
    gone = f"\n{found.erased_sources} of its turns were forgotten" if found.erased_sources else ""
    none = "\nNobody said it in a conversation: it was written by hand" if not (found.sources or gone) else ""
    return Content.assemble((readable(thought.text), "bold"), (f"\n{facts}{times}{gone}{none}\n", "dim"))


def _line(how: str, record: Turn | Thought) -> Content:
    if isinstance(record, Turn):
        when = f"{how} {minute(record.occurred_at)} by {printable(speaker_of(record))}"
    else:
        when = f"{how} · {record.state} · since {day(record.valid_from)}"
    return Content.assemble((when, "dim"), "\n", one_line(record.text, _SHOWN), "\n")
