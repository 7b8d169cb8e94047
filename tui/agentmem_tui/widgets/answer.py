"""An answer as it streams in, and below it a line that says how it came about and leads to what was recalled."""

from __future__ import annotations

import asyncio
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.reactive import Reactive, reactive
from textual.widgets import Static

from agentmem.exchange import ToolStep
from agentmem.types import RecallItem
from agentmem_tui.blocks import Block, cut
from agentmem_tui.printable import literal, printable
from agentmem_tui.widgets.code import Code
from agentmem_tui.widgets.prose import Prose
from agentmem_tui.widgets.said import heading
from agentmem_tui.widgets.step import Step

_TICK = 0.05
"""Seconds between two pictures of an answer that comes: a flood of pieces becomes twenty a second."""


class Answer(Vertical):
    """One answer of the agent; `items` is None while what was recalled for it is only in the store.

    `quoting` says that the stand-in answered: its answer is made of remembered text, and is shown word for word.
    """

    virtual_size = Reactive(Size(0, 0), repaint=False)  # as in Transcript
    selected: reactive[bool] = reactive(False, toggle_class="-selected")
    note: reactive[str] = reactive("")

    def __init__(
        self,
        at: datetime,
        text: str = "",
        turn_id: str | None = None,
        note: str = "",
        *,
        question_id: str | None = None,
        quoting: bool = False,
    ) -> None:
        super().__init__()
        self.quoting = quoting
        self.turn_id = turn_id
        self.question_id = question_id
        """The user's turn that it answers."""
        self.items: tuple[RecallItem, ...] | None = None
        self._at = at
        self._pieces = [text] if text else []
        self._shown: list[Prose | Code] = []
        self._due = False
        self._drawing = asyncio.Lock()
        self.set_reactive(Answer.note, note)

    def compose(self) -> ComposeResult:
        yield Static(heading("agentmem", self._at), classes="heading")
        self._shown = [_made(block) for block in self._blocks()]
        yield from self._shown
        yield Static(self._note_line(), classes="note")

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def add(self, piece: str) -> None:
        """Take the next piece of the answer; it is shown with the next picture."""
        self._pieces.append(piece)
        if not self._due:
            self._due = True
            self.set_timer(_TICK, self._tick)

    async def _tick(self) -> None:
        self._due = False
        await self._draw(self._blocks())

    async def finish(self, text: str | None = None) -> None:
        """The answer is whole; `text` is what was kept, where that is not what came."""
        if text is not None and text != self.text:
            self._pieces = [text]
        await self._draw(self._blocks())

    def _blocks(self) -> list[Block]:
        if self.quoting:
            return [Block(literal(self.text))] if self.text else []
        return cut(printable(self.text))

    async def _draw(self, blocks: list[Block]) -> None:
        """Bring what stands there up to the blocks: nearly always only the last one has changed."""
        async with self._drawing:
            await self._redraw(blocks)

    async def _redraw(self, blocks: list[Block]) -> None:
        for at, block in enumerate(blocks):
            if at < len(self._shown) and isinstance(self._shown[at], Code) == block.code:
                await _change(self._shown[at], block)
                continue
            for stale in self._shown[at:]:
                await stale.remove()
            new = _made(block)
            self._shown[at:] = [new]
            await self.mount(new, before=self.query_one(".note"))
        for stale in self._shown[len(blocks) :]:
            await stale.remove()
        del self._shown[len(blocks) :]

    async def show_step(self, step: ToolStep) -> None:
        """Show a tool that runs, or what came of it."""
        running = [shown for shown in self.query(Step) if shown.running]
        if step.result is not None and running:
            running[-1].end(step)
        else:
            await self.mount(Step(step), before=self.query_one(".note"))

    def codes(self) -> list[Code]:
        return [shown for shown in self._shown if isinstance(shown, Code)]

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


def _made(block: Block) -> Prose | Code:
    return Code(block.text, block.language, closed=block.closed) if block.code else Prose(block.text)


async def _change(shown: Prose | Code, block: Block) -> None:
    if isinstance(shown, Code):
        await shown.change(block.text, closed=block.closed)
    else:
        shown.change(block.text)
