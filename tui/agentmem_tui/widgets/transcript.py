"""The transcript: a window of the session's newest turns, with older ones on demand, and one answer selected."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widget import Widget
from textual.widgets import Button

from agentmem.models.extractive import STAND_IN
from agentmem.types import Turn
from agentmem_tui.messages import AnswerSelected, EarlierWanted
from agentmem_tui.tasks import background
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.said import Said, speaker_of

_MOST = 100
"""Turns on screen at most: each costs a little with every key."""
_RESTYLED = 4
"""Messages out of sight that get a new style between two looks at what else there is to do."""
_BREATH = 0.01
_NOTES = {"cancelled": "cancelled", "superseded": "superseded", "complete": ""}


class Transcript(VerticalScroll):
    """What was said, oldest first. It stays at its end until the user scrolls away from it."""

    virtual_size = Reactive(Size(0, 0), repaint=False)
    """Textual lays out the whole screen once more when this changes, which is whenever it was just laid out with a line
    more. Scroll bars, the only thing that depends on it, ask for that themselves where they come or go."""

    def compose(self) -> ComposeResult:
        yield Button("Show earlier turns", id="earlier", compact=True)

    def on_mount(self) -> None:
        self.query_one("#earlier").display = False
        self.anchor()

    async def show(self, turns: Sequence[Turn], *, earlier: bool, besides: Sequence[Widget] = ()) -> None:
        """Show these turns, what is to stand after them, and nothing else."""
        await self.clear()
        self.query_one("#earlier").display = earlier
        shown = [_shown(turn) for turn in turns if turn.text.strip()]
        await self.mount(*shown, *besides)
        answers = [widget for widget in shown if isinstance(widget, Answer)]
        if answers:
            self.select(answers[-1])

    async def clear(self) -> None:
        """Remove all that stands here from the screen."""
        await self.remove_children([child for child in self.children if child.id != "earlier"])

    async def append(self, *widgets: Said | Answer) -> None:
        """Show something new at the end, which is gone to; what is far above goes off the screen, not out of the
        store."""
        await self.mount(*widgets)
        if surplus := self.said()[:-_MOST]:
            await self.remove_children(surplus)
            self.query_one("#earlier").display = True
        self.anchor()

    def restyle_in_sight(self) -> list[Widget]:
        """The children in sight, which are to have their new style at once; the others get it behind the picture."""
        window = self.window_region
        self.call_after_refresh(self._restyle, [c for c in self.children if not c.virtual_region.overlaps(window)])
        return [child for child in self.children if child.virtual_region.overlaps(window)]

    @background("restyle")
    async def _restyle(self, stale: list[Widget]) -> None:
        """Give these their new style a few at a time, the nearest to what is in sight first, so that no key waits."""
        while stale:
            middle = self.window_region.center[1]
            stale.sort(key=lambda child: -abs(child.virtual_region.center[1] - middle))
            few = [stale.pop() for _ in stale[:_RESTYLED]]
            nodes = (node for child in few if child.is_attached for node in child.walk_children(with_self=True))
            self.app.stylesheet.update_nodes(nodes)
            await asyncio.sleep(_BREATH)

    async def cut_off(self, again: str | None, instead_of: str | None) -> Said | None:
        """Take what follows the question `again` off the screen, and return the question; or what follows the one that
        is replaced, and that one as well."""
        wanted, said = again or instead_of, self.said()
        at = next((n for n, shown in enumerate(said) if wanted and shown.turn_id == wanted), None)
        if at is None:
            return None
        question = said[at]
        await self.remove_children(said[at + 1 :] if again else said[at:])
        return question if again and isinstance(question, Said) else None

    def question(self) -> Said | None:
        """The question of the selected answer; where there is none, the last thing that the user said here."""
        chosen = self.selected()
        own = [shown for shown in self.said() if isinstance(shown, Said) and shown.own and shown.turn_id]
        asked = [shown for shown in own if chosen is not None and shown.turn_id == chosen.question_id]
        return next(iter(asked or own[-1:]), None)

    def selected(self) -> Answer | None:
        return next((answer for answer in self.answers() if answer.selected), None)

    @property
    def is_empty(self) -> bool:
        return not self.said()

    async def drop(self, turn_ids: Collection[str]) -> None:
        """Take forgotten turns off the screen."""
        await self.remove_children([w for w in self.said() if w.turn_id in turn_ids])

    def said(self) -> list[Said | Answer]:
        return [child for child in self.children if isinstance(child, Said | Answer)]

    def answers(self) -> list[Answer]:
        return [child for child in self.children if isinstance(child, Answer)]

    def select(self, chosen: Answer) -> None:
        """Mark an answer and say so."""
        for answer in self.answers():
            answer.selected = answer is chosen
        self.post_message(AnswerSelected(chosen.turn_id, chosen.items, chosen.question_id))

    def select_beside(self, step: int) -> None:
        """Select the answer `step` places below the selected one."""
        answers = self.answers()
        if not answers:
            return
        at = next((n for n, answer in enumerate(answers) if answer.selected), len(answers) - 1)
        chosen = answers[min(max(at + step, 0), len(answers) - 1)]
        self.select(chosen)
        chosen.scroll_visible(animate=False)

    def on_click(self, event: events.Click) -> None:
        """Select the answer that was clicked; marking text in it with the mouse is no click."""
        if event.widget is None or self.screen.get_selected_text():
            return
        for widget in event.widget.ancestors_with_self:
            if isinstance(widget, Answer):
                self.select(widget)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(EarlierWanted())


def _shown(turn: Turn) -> Said | Answer:
    """A turn on screen: an answer of an agent names its model, and everything else was only said."""
    model = turn.metadata.get("model")
    if turn.role != "assistant" or model is None:
        own = turn.role == "user" and turn.speaker is None
        edited = own and turn.parent_id is not None and turn.seq > 0  # else it begins a fork
        return Said(speaker_of(turn), turn.text, turn.occurred_at, turn.id, own=own, edited=edited)
    return Answer(
        turn.occurred_at,
        turn.text,
        turn.id,
        _NOTES[turn.status],
        question_id=turn.parent_id,
        quoting=model == STAND_IN,
    )
