"""A change of theme: what is in sight gets its new colours at once, the messages above and below behind it.

Textual works out the style of every widget anew, which for 200 messages takes longer than a change of theme may.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

from agentmem_tui.widgets.transcript import Transcript


class SightFirst(Stylesheet):
    """The style sheet of the app, which leaves what is out of sight to the transcript."""

    def update(self, root: DOMNode, animate: bool = False) -> None:
        self.update_nodes(_in_sight(root), animate=animate)


def _in_sight(node: DOMNode) -> Iterator[DOMNode]:
    yield node
    for child in node.restyle_in_sight() if isinstance(node, Transcript) else list(node.children):
        yield from _in_sight(child)
