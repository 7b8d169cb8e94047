"""The timeline: sessions, their chunks with summaries, and the turns, each read when it is unfolded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeAlias

from rich.text import Text
from textual.widget import Widget
from textual.widgets import Static, Tree
from textual.widgets.tree import TreeNode

from agentmem.types import Chunk, Turn
from agentmem_tui.conversation import SessionRow, Target, as_item
from agentmem_tui.messages import SessionChosen
from agentmem_tui.printable import day, minute, one_line, printable
from agentmem_tui.screens.around import AroundScreen
from agentmem_tui.screens.page import Page
from agentmem_tui.tasks import background
from agentmem_tui.widgets.said import speaker_of

Held: TypeAlias = SessionRow | Chunk | Turn | None
_SHOWN = 160


class TimelinePage(Page):
    """Enter unfolds a session or a chunk, and opens a turn where it stood."""

    NUMBER = 2
    MAIN = "Tree"

    def contents(self) -> Iterable[Widget]:
        tree: Tree[Held] = Tree("Sessions", id="timeline")
        tree.show_root = False
        tree.guide_depth = 3
        yield tree
        yield Static("Reading…", id="count", markup=False)

    def on_mount(self) -> None:
        self.tree_.focus()
        self._read()

    @property
    def tree_(self) -> Tree[Held]:
        return self.query_one(Tree)

    @background("read")
    async def _read(self) -> None:
        rows = await asyncio.to_thread(self.conversation.sessions)
        for row in rows:
            turns = f"{row.turns} turns" if row.turns != 1 else "1 turn"
            label = Text.assemble((day(row.last_at), "bold"), f"  {one_line(row.title, _SHOWN)}", (f"  {turns}", "dim"))
            self.tree_.root.add(label, data=row)
        self.query_one("#count", Static).update(f"{len(rows):,} sessions, the latest first")

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Held]) -> None:
        if not event.node.children:
            self._unfold(event.node)

    @background("unfold", exclusive=False)
    async def _unfold(self, node: TreeNode[Held]) -> None:
        if isinstance(node.data, SessionRow):
            for chunk, opening in await asyncio.to_thread(self.conversation.chunks, node.data.session):
                node.add(_chunk_label(chunk, opening), data=chunk)
        elif isinstance(node.data, Chunk):
            for turn in await asyncio.to_thread(self.conversation.chunk_turns, node.data):
                node.add_leaf(_turn_label(turn), data=turn)

    def on_tree_node_selected(self, event: Tree.NodeSelected[Held]) -> None:
        if isinstance(event.node.data, Turn):
            self.app.push_screen(AroundScreen(self.conversation, as_item(event.node.data)), self._looked)

    def _looked(self, chosen: Target | SessionChosen | None) -> None:
        if isinstance(chosen, Target):
            self.forget(chosen)
        elif chosen is not None and self.is_active:
            self.app.pop_screen()
            self.app.screen.post_message(SessionChosen(chosen.session))

    def forgotten(self) -> None:
        self.tree_.clear()
        self._read()


def _chunk_label(chunk: Chunk, opening: Turn | None) -> Text:
    when = minute(opening.occurred_at) if opening else ""
    state = "" if chunk.last_seq is not None else "  (still open)"
    said = chunk.summary or (opening.text if opening else "")
    return Text.assemble((when, "bold"), f"  {one_line(said, _SHOWN)}", (state, "dim"))


def _turn_label(turn: Turn) -> Text:
    state = "" if turn.status == "complete" else f"  ({turn.status})"
    return Text.assemble((f"{printable(speaker_of(turn))}: ", "bold"), one_line(turn.text, _SHOWN), (state, "dim"))
