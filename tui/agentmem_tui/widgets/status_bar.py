"""One line that says who answers, whether the embedder is up, what is remembered, and what is waiting."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from agentmem_tui.printable import printable

_EMBEDDER = {
    "off": "embedder off",
    "idle": "embedder not needed yet",
    "loading": "embedder loading…",
    "ready": "embedder ready",
    "failed": "embedder failed",
}
_PRIVATE = Content.styled("PRIVATE: nothing is remembered", "bold $text-warning")


class StatusBar(Static):
    """Model, embedder, private mode, queue and namespace."""

    model: reactive[str] = reactive("")
    embedder: reactive[str] = reactive("off")
    private: reactive[bool] = reactive(False)
    waiting: reactive[int] = reactive(0)
    place: reactive[str] = reactive("")

    def render(self) -> Content:
        parts = [
            Content.styled(printable(self.model), "bold"),
            Content(_EMBEDDER.get(self.embedder, self.embedder)),
            Content.styled("PRIVATE: nothing is remembered", "bold $text-warning")
            if self.private
            else Content("remembering"),
            Content(printable(self.place)),
        ]
        if self.waiting and self.embedder != "off":
            parts.insert(2, Content(f"{self.waiting} waiting for it"))
        return Content("  │  ").join(parts)
