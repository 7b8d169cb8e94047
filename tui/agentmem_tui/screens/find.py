"""Full-text search over everything said, in all sessions: as one types."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Footer, Input, OptionList, Static

from agentmem.types import Turn
from agentmem_tui.conversation import Conversation
from agentmem_tui.printable import minute, one_line, printable
from agentmem_tui.screens.dialog import Dialog
from agentmem_tui.tasks import background
from agentmem_tui.widgets.options import Entry, Options
from agentmem_tui.widgets.said import speaker_of

_SHOWN = 200
_PAUSE = 0.15
"""Seconds without a key before it is searched: each search takes the place of the one before."""


class FindScreen(Dialog[Turn | None]):
    """Dismissed with the turn to open, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("down", "into", "Results", show=False),
    ]

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self._turns: list[Turn] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Input(placeholder="Words that were said, in any session", compact=True)
            yield Static("", classes="about")
            yield Options[Turn](id="found")
            yield Footer()

    def on_mount(self) -> None:
        self.query_one(".dialog").border_title = "Find what was said"
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._find(event.value)

    def on_input_submitted(self) -> None:
        if self._turns:
            self.dismiss(self._turns[0])

    @background("find")
    async def _find(self, words: str) -> None:
        await asyncio.sleep(_PAUSE)
        turns = await asyncio.to_thread(self._conversation.find, words) if words.strip() else []
        self._turns = turns
        found = self.query_one(Options)
        found.show_entries((_line(turn), turn) for turn in turns)
        found.highlighted = 0 if turns else None
        self.query_one(".about", Static).update(_count(len(turns), words))

    def action_into(self) -> None:
        for found in self.query(Options):
            found.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if isinstance(event.option, Entry):
            self.dismiss(event.option.value)


def _count(count: int, words: str) -> str:
    if not words.strip():
        return ""
    return "Nothing that was said holds all these words." if not count else f"{count} found, the newest first"


def _line(turn: Turn) -> Content:
    state = "" if turn.status == "complete" else f" · {turn.status}"
    who = printable(speaker_of(turn))
    return Content.assemble(
        (who, "bold"), (f"  {minute(turn.occurred_at)}{state}\n", "dim"), one_line(turn.text, _SHOWN), "\n"
    )
