"""Markdown laid out for a width: one `Content`, so that an answer is a few widgets and not hundreds.

Marks are attributes (bold, italic, underline, dim), never colours: they fit every theme, and none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from textual.content import Content

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {
    "markdown.h1": "bold underline",
    "markdown.h2": "bold underline",
    "markdown.h3": "bold",
    "markdown.h4": "bold",
    "markdown.code": "bold",
    "markdown.code_block": "none",
    "markdown.block_quote": "italic",
    "markdown.item.bullet": "bold",
    "markdown.item.number": "bold",
    "markdown.hr": "dim",
    "markdown.table.border": "dim",
    "markdown.table.header": "bold",
    "markdown.link": "underline",
    "markdown.link_url": "underline",
}


@lru_cache(maxsize=1)
def _console() -> Console:
    from rich.console import Console
    from rich.theme import Theme

    return Console(width=80, color_system="truecolor", force_terminal=True, theme=Theme(_STYLES), file=None)


@lru_cache(maxsize=1)
def _parser() -> Any:
    """GitHub's Markdown, but HTML is text like any other: it would be left out."""
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like", {"html": False})


@lru_cache(maxsize=1)
def _document() -> Any:
    """Rich's Markdown with all headings on the left."""
    from rich.markdown import Heading, Markdown

    class Left(Heading):
        LEVEL_ALIGN = dict.fromkeys(Heading.LEVEL_ALIGN, "left")

    class Document(Markdown):
        elements = {**Markdown.elements, "heading_open": Left}  # noqa: RUF012  # as the class above has it

    return Document


def lay_out(source: str, width: int) -> Content:
    """The Markdown in lines of at most `width` columns. A link shows its address, and leads nowhere."""
    from rich.text import Text

    document = _document()("", hyperlinks=False)
    document.parsed = _parser().parse(source)
    console = _console()
    lines = console.render_lines(document, console.options.update(width=max(width, 8), height=None), pad=False)
    shown = [Text.assemble(*((part.text, part.style or "") for part in line), end="") for line in lines]
    for line in shown:
        line.rstrip()
    while shown and not shown[-1].plain.strip():
        shown.pop()
    return Content.from_rich_text(Text("\n", end="").join(shown))
