"""An answer: Markdown as it streams in, and below it a line that leads to what was recalled for it.

Markdown is imported by the first answer: the app is on screen before that.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from agentmem.types import RecallItem
from agentmem_tui.printable import literal, printable
from agentmem_tui.widgets.said import heading

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from textual.widgets import Markdown
    from textual.widgets.markdown import MarkdownStream


def _parser() -> MarkdownIt:
    """GitHub's Markdown, but HTML is text like any other: Textual would leave it out."""
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like", {"html": False})


class Answer(Vertical):
    """One answer of the agent; `items` is None while what was recalled for it is only in the store.

    `quoting` says that the stand-in answered: its answer is made of remembered text, and is shown word for word.
    """

    selected: reactive[bool] = reactive(False, toggle_class="-selected")
    note: reactive[str] = reactive("")

    def __init__(
        self, at: datetime, text: str = "", turn_id: str | None = None, note: str = "", *, quoting: bool = False
    ) -> None:
        super().__init__()
        self.quoting = quoting
        self.turn_id = turn_id
        self.items: tuple[RecallItem, ...] | None = None
        self._at = at
        self._text = text
        self._stream: MarkdownStream | None = None
        self.set_reactive(Answer.note, note)

    def compose(self) -> ComposeResult:
        from textual.widgets import Markdown

        yield Static(heading("agentmem", self._at), classes="heading")
        # A link is copied, not followed: opening a browser would leave the machine.
        yield Markdown(self._source(self._text), parser_factory=_parser, open_links=False)
        yield Static(self._note_line(), classes="note")

    async def add(self, piece: str) -> None:
        """Show the next piece of the answer."""
        self._text += piece
        if self._stream is None:
            markdown = self._markdown()
            self._stream = markdown.get_stream(markdown)
        await self._stream.write(self._source(piece))

    async def finish(self) -> None:
        """End the stream and lay the whole answer out once more: streamed fences and tables differ from final ones."""
        if self._stream is None:
            return
        await self._stream.stop()
        self._stream = None
        await self._markdown().update(self._source(self._text))

    def _markdown(self) -> Markdown:
        from textual.widgets import Markdown

        return self.query_one(Markdown)

    def _source(self, text: str) -> str:
        return literal(text) if self.quoting else printable(text)

    @property
    def text(self) -> str:
        return self._text

    def watch_selected(self) -> None:
        self._refresh_note()

    def watch_note(self) -> None:
        self._refresh_note()

    def _refresh_note(self) -> None:
        for line in self.query(".note").results(Static):
            line.update(self._note_line())

    def _note_line(self) -> Content:
        mark = "◆" if self.selected else "◇"
        return Content.assemble(f"{mark} ", printable(self.note))

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        event.stop()
        self.app.copy_to_clipboard(event.href)
        self.notify(f"Copied the link {printable(event.href)}", markup=False)
