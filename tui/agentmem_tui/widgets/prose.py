"""A piece of an answer's Markdown without its code: one widget, whatever stands in it."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widget import Widget

from agentmem_tui.layout import lay_out


class Prose(Widget):
    """Markdown laid out anew only when its text or its width changes."""

    virtual_size = Reactive(Size(0, 0), repaint=False)  # as in Transcript

    def __init__(self, source: str) -> None:
        super().__init__(classes="prose")
        self.source = source
        self._laid_out: tuple[int, Content] | None = None

    def change(self, source: str) -> None:
        if source == self.source:
            return
        before, self.source, self._laid_out = self._laid_out, source, None
        # To lay out all that is on screen takes as long as to draw it: only for a line more or less.
        self.refresh(layout=before is None or _lines(self._content(before[0])) != _lines(before[1]))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        del container, viewport
        return _lines(self._content(width))

    def render(self) -> Content:
        return self._content(self.content_size.width)

    def _content(self, width: int) -> Content:
        if self._laid_out is None or self._laid_out[0] != width:
            self._laid_out = (width, lay_out(self.source, width))
        return self._laid_out[1]


def _lines(content: Content) -> int:
    return content.plain.count("\n") + 1
