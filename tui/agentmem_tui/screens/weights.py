"""Weights: what this version has of consolidation into adapters, and what it has not."""

from __future__ import annotations

from collections.abc import Iterable

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from agentmem_tui.screens.page import Page

_TEXT = (
    ("Nothing is consolidated into weights from here yet.\n\n", "bold"),
    "Memory works by retrieval: turns, chunks and thoughts are recalled into the prompt. A page that shows adapters, "
    "their lineage and their gates, runs one with its loss and probe curves, and rolls one back, comes with the part "
    "of the library that trains them.\n\n",
    "Until then: thoughts that could be trained on are on page 1; what was forgotten is forgotten in all there is, for "
    "no weights hold it. ",
    ("agentmem --help", "bold"),
    " lists what this version can do.",
)


class WeightsPage(Page):
    """A page that says what is not there."""

    NUMBER = 4
    MAIN = "#weights"

    def contents(self) -> Iterable[Widget]:
        with VerticalScroll(id="weights"):
            yield Static(Content.assemble(*_TEXT))
