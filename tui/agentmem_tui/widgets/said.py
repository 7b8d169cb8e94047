"""Something said that is not an answer of this chat: shown word for word, never parsed as markup."""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from agentmem.types import Turn
from agentmem_tui.printable import minute, printable, readable


class Said(Vertical):
    """One turn of the user, or of anyone else in a conversation that was ingested."""

    def __init__(self, speaker: str, text: str, at: datetime, turn_id: str | None = None) -> None:
        super().__init__()
        self.turn_id = turn_id
        self._speaker = speaker
        self._text = text
        self._at = at

    def compose(self) -> ComposeResult:
        yield Static(heading(self._speaker, self._at), classes="heading")
        yield Static(Content(readable(self._text)), classes="words")


def speaker_of(turn: Turn) -> str:
    """Who said a turn, by name where it has one."""
    return turn.speaker or ("You" if turn.role == "user" else turn.role)


def heading(speaker: str, at: datetime) -> Content:
    return Content.assemble((printable(speaker), "bold"), (f"  {minute(at)}", "dim"))
