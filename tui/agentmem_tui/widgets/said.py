"""Something said that is not an answer of this chat: shown word for word, never parsed as markup."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content
from textual.widgets import Static

from agentmem.types import Turn
from agentmem_tui.printable import minute, printable, readable


class Said(Static):
    """One turn of the user, or of anyone else in a conversation that was ingested: one widget.

    `edited` says that it took the place of another wording, which is kept.
    """

    def __init__(
        self,
        speaker: str,
        text: str,
        at: datetime,
        turn_id: str | None = None,
        *,
        own: bool = False,
        edited: bool = False,
    ) -> None:
        self.turn_id = turn_id
        self.text = text
        self.own = own
        mark = ("  edited", "dim italic") if edited else ""
        super().__init__(Content.assemble(heading(speaker, at), mark, "\n", readable(text)), classes="words")


def speaker_of(turn: Turn) -> str:
    """Who said a turn, by name where it has one."""
    return turn.speaker or ("You" if turn.role == "user" else turn.role)


def heading(speaker: str, at: datetime) -> Content:
    return Content.assemble((printable(speaker), "bold"), (f"  {minute(at)}", "dim"))
