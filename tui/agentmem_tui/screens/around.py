"""What stood around a remembered item: its chunk of the conversation, and more of it on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Footer, Static

from agentmem.types import RecallItem, Turn
from agentmem_tui.conversation import Conversation, Target
from agentmem_tui.messages import SessionChosen
from agentmem_tui.printable import day, readable
from agentmem_tui.screens.dialog import Dialog
from agentmem_tui.tasks import background
from agentmem_tui.widgets.said import heading, speaker_of

_PAGE = 1
"""Chunks added on each side by a key press."""


class AroundScreen(Dialog[Target | SessionChosen | None]):
    """The chunk around an item. Dismissed with what to forget, with the session to go on in, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Back", key_display="esc"),
        Binding("m", "more", "More around"),
        Binding("g", "go", "Go on there"),
        Binding("f,delete", "forget", "Forget", key_display="f"),
    ]

    def __init__(self, conversation: Conversation, item: RecallItem) -> None:
        super().__init__()
        self._conversation = conversation
        self._item = item
        self._chunks = 0
        self._turns: list[Turn] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static(self._thought(), classes="about")
            yield VerticalScroll(id="turns")
            yield Footer()

    def on_mount(self) -> None:
        self.query_one(".dialog").border_title = f"What stood around this {self._item.kind}"
        self._load()

    def _thought(self) -> Content:
        """A thought itself, which no turn holds; for a turn, nothing."""
        if self._item.kind == "turn":
            return Content()
        origin = self._item.source.get("origin", "elsewhere")
        return Content.assemble(
            (f"Thought, true since {day(self._item.time)}, from {origin}\n", "dim"),
            (readable(self._item.text), "bold"),
        )

    @background("around")
    async def _load(self) -> None:
        await self._show(*await asyncio.to_thread(self._conversation.standing_around, self._item, self._chunks))

    async def _show(self, turns: Sequence[Turn], sought: Sequence[str]) -> None:
        page = self.query_one("#turns", VerticalScroll)
        grown = len(turns) > len(self._turns)
        if self._turns and not grown:
            self.notify("That is the whole conversation", markup=False)
        self._turns = list(turns)
        await page.remove_children()
        lines = [Static(_line(turn), classes="sought" if turn.id in sought else "") for turn in turns]
        await page.mount(*(lines or [Static("No turn is kept that this came from.")]))
        for found in page.query(".sought").results(Static):
            page.call_after_refresh(found.scroll_visible, animate=False)

    def action_more(self) -> None:
        self._chunks += _PAGE
        self._load()

    def action_forget(self) -> None:
        self.dismiss(Target((self._item.id,)))

    def action_go(self) -> None:
        """Go on in the session that it stands in."""
        if self._turns:
            self.dismiss(SessionChosen(self._turns[0].session))


def _line(turn: Turn) -> Content:
    return Content.assemble(heading(speaker_of(turn), turn.occurred_at), "\n", readable(turn.text))
