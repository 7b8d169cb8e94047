"""A fence of code: its language, what copies it, and the code, highlighted once it is whole.

While it is being written it is shown plain, in parts of which only the last one changes.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from agentmem_tui.printable import one_line, printable

_PART = 24
"""Lines of a part while the code is being written."""
_HIGHLIGHTED = 40_000
"""Characters up to which code is highlighted: beyond, it takes longer than it is worth."""
_LANGUAGE = 20


class Code(Vertical, can_focus=True):
    """`code` is what is copied: the text between the fences, as the model wrote it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,c,y", "copy", "Copy code", key_display="c", id="code.copy")]

    def __init__(self, code: str, language: str, *, closed: bool) -> None:
        super().__init__(classes="code")
        self.code = code
        self._language = language
        self._whole = closed
        self._parts: list[Static] = []

    def compose(self) -> ComposeResult:
        yield Static(self._head(), classes="head")
        if self._whole:
            yield Static(self._highlighted(), classes="body")
        else:
            yield from self._grown(self.code)

    def _head(self) -> Content:
        named = one_line(self._language.split()[0] if self._language else "code", _LANGUAGE)
        return Content.assemble((f"{named}  ", "dim"), Content.from_markup("[@click=copy]copy[/]"))

    def _highlighted(self) -> Content:
        shown = printable(self.code)
        if len(shown) > _HIGHLIGHTED or not self._language:
            return Content(shown)
        from textual.highlight import highlight

        return highlight(shown, language=self._language.split()[0])

    def _grown(self, code: str) -> list[Static]:
        """Bring the parts up to date with the code; return those that are new."""
        lines = printable(code).split("\n")
        wanted = ["\n".join(lines[at : at + _PART]) for at in range(0, len(lines), _PART)]
        for part, text in list(zip(self._parts, wanted, strict=False))[-1:]:
            part.update(Content(text))
        new = [Static(Content(text), classes="body") for text in wanted[len(self._parts) :]]
        self._parts += new
        return new

    async def change(self, code: str, *, closed: bool) -> None:
        """More of the code came; `closed`: it is whole."""
        if (code, closed) == (self.code, self._whole):
            return
        self.code, self._whole = code, closed
        if not closed:
            if new := self._grown(code):
                await self.mount(*new)
            return
        self._parts = []
        await self.remove_children(".body")
        await self.mount(Static(self._highlighted(), classes="body"))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.code)
        self.notify("Code copied", timeout=2, markup=False)
