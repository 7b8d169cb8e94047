"""The chat: sessions on the left, the transcript and the prompt in the middle, what was recalled on the right."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Footer, Static
from textual.worker import Worker

from agentmem.types import RecallItem, Receipt, Turn
from agentmem_tui.conversation import Conversation, Target, as_item
from agentmem_tui.messages import (
    AnswerSelected,
    ChoiceChanged,
    EarlierWanted,
    ForgetWanted,
    ItemOpened,
    SessionChosen,
    SessionDeletion,
    SessionRenaming,
    UndoWanted,
)
from agentmem_tui.printable import printable
from agentmem_tui.sample import QUESTION
from agentmem_tui.screens.around import AroundScreen
from agentmem_tui.screens.asking import AskingScreen
from agentmem_tui.screens.find import FindScreen
from agentmem_tui.screens.forget import ForgetScreen, in_words
from agentmem_tui.screens.write import WriteScreen
from agentmem_tui.tasks import background
from agentmem_tui.widgets.learned import Learned
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.recalled import Recalled, RecalledList
from agentmem_tui.widgets.sessions import Sessions
from agentmem_tui.widgets.status_bar import StatusBar
from agentmem_tui.widgets.transcript import Transcript
from agentmem_tui.widgets.welcome import Welcome

_PAGE = 40
"""Turns on screen at first, and more of them each time earlier ones are asked for."""
_AWAY = 2
"""Lines from the end from which on the way back is shown."""
_STATUS_SECONDS = 1.0
_WARM_UP_SECONDS = 0.2
"""What may wait does so until the first picture is on screen."""
_BREADTHS = [(0, "-narrow"), (100, "-medium"), (140, "-wide")]
"""From which width on a screen is called what in the style sheet."""


class ChatScreen(AskingScreen):
    """Keys that belong to the whole screen are bound here; those of a pane in its widget."""

    AUTO_FOCUS = "Prompt"  # what is typed before all is there belongs there, too
    HORIZONTAL_BREAKPOINTS = _BREADTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "new_session", "New", id="chat.new"),
        Binding("f2", "pane('Sessions')", "Sessions", id="chat.sessions"),
        Binding("f3", "pane('Recalled')", "Recalled", id="chat.recalled"),
        Binding("f4", "private", "Private", id="chat.private"),
        Binding("ctrl+s", "find", "Find", id="chat.find"),
        Binding("f9", "page(1)", "Memory", id="chat.memory"),
        Binding("f10", "sample", "Sample", show=False, id="chat.sample"),
        Binding("ctrl+up", "select(-1)", "Answer above", show=False, id="chat.above"),
        Binding("ctrl+down", "select(1)", "Answer below", show=False, id="chat.below"),
        Binding("ctrl+end", "latest", "Latest", show=False, id="chat.latest"),
    ]

    def __init__(self, conversation: Conversation) -> None:
        super().__init__(conversation)
        self._shown = _PAGE
        self._breadth = 0
        self._told = 0
        self._is_above = False

    def compose(self) -> ComposeResult:
        with Horizontal(id="panes"):
            yield Sessions()
            with Vertical(id="middle"):
                yield Transcript()
                yield Prompt()
            yield Recalled()
        yield StatusBar()
        yield Footer(show_command_palette=True)

    def on_mount(self) -> None:
        self.query_one(Prompt).focus()
        self.show_prompt()
        self._loading = self.load()
        self._refresh_sessions()
        self._refresh_status()
        self.listen()
        self.watch(self.query_one(Transcript), "scroll_y", self._scrolled)
        self.set_timer(_WARM_UP_SECONDS, self._warm_up)
        self.set_interval(_STATUS_SECONDS, self._refresh_status)

    def on_resize(self, event: events.Resize) -> None:
        """On a screen of another breadth the panes are as it has them, whatever was toggled before."""
        breadth = sum(event.size.width >= least for least, _ in _BREADTHS)
        if breadth != self._breadth:
            self._breadth = breadth
            for pane in self.query("Sessions, Recalled"):
                pane.styles.clear_rule("display")

    # -- showing what is there ------------------------------------------------------------------------------------

    @background("load")
    async def load(self) -> None:
        """Show the newest turns of the session, or the welcome where it has none."""
        talk = self._conversation
        turns, earlier = await asyncio.to_thread(talk.turns, self._shown)
        besides = self._notice() if turns else [await self._welcome()]
        await self.query_one(Transcript).show(turns, earlier=earlier, besides=besides)
        self.query_one(Prompt).remember([turn.text for turn in turns if turn.role == "user"])
        if not turns:
            self.query_one(Recalled).show((), asked=False)

    def _notice(self) -> list[Static]:
        """How to get a model, where there is none: once, and not again in each session."""
        notice, self._told = self._conversation.chosen.notice, self._told + 1
        return [Static(Content(printable(notice)), classes="notice")] if notice and self._told == 1 else []

    async def _welcome(self) -> Welcome:
        self._told += 1
        chosen = self._conversation.chosen
        remembered = await asyncio.to_thread(self._conversation.remembered)
        key = self._conversation.key
        return Welcome(model=chosen.label, notice=chosen.notice, remembered=remembered, key=key)

    @background("warm-up")
    async def _warm_up(self) -> None:
        await asyncio.to_thread(self._conversation.warm_up)

    @background("sessions")
    async def _refresh_sessions(self) -> None:
        rows = await asyncio.to_thread(self._conversation.sessions)
        self.query_one(Sessions).show(rows, self._conversation.session)

    @background("status")
    async def _refresh_status(self) -> None:
        bar, talk = self.query_one(StatusBar), self._conversation
        bar.model, bar.place = talk.chosen.label, "/".join(talk.namespace)
        if talk.memory.embedder_state == "failed" != bar.embedder and talk.memory.embedder_error:
            self.notify(talk.memory.embedder_error, title="The embedder failed", severity="warning", markup=False)
        bar.embedder = talk.memory.embedder_state
        bar.waiting = await asyncio.to_thread(talk.waiting)

    def show_prompt(self) -> None:
        """What the frame of the prompt says: what sending would do, and how."""
        private, prompt = self._conversation.private, self.query_one(Prompt)
        prompt.set_class(private, "-private")
        title = "private: nothing of this is remembered" if private else ""
        key = self._conversation.key
        prompt.border_title = f"another wording: {key('chat.cancel')} leaves it as it was" if self._editing else title
        latest = f" · {key('chat.latest')} latest" if self._is_above else ""
        prompt.border_subtitle = f"Enter sends · {key('prompt.newline')} new line{latest}"
        self.query_one(StatusBar).private = private

    def _scrolled(self) -> None:
        transcript = self.query_one(Transcript)
        above = transcript.max_scroll_y - transcript.scroll_offset.y > _AWAY
        if above != self._is_above:
            self._is_above = above
            self.show_prompt()

    # -- looking at what was recalled, and forgetting -------------------------------------------------------------

    def answered(self) -> None:
        recalled = self.query_one(Recalled)
        recalled.drop(self._erased)
        recalled.query_one(RecalledList).choose_nothing()
        self._refresh_sessions()

    async def on_answer_selected(self, event: AnswerSelected) -> None:
        pane = self.query_one(Recalled)
        if event.items is not None:
            pane.show(event.items)
        elif event.turn_id is not None:
            self._show_recorded(event.turn_id)
        self._show_learnt([i for i in (event.question_id, event.turn_id) if i is not None])

    @background("recalled")
    async def _show_recorded(self, turn_id: str) -> None:
        items = await asyncio.to_thread(self._conversation.recalled_for, turn_id)
        self.query_one(Recalled).show(items)

    @background("learnt")
    async def _show_learnt(self, turn_ids: list[str]) -> None:
        """What was learnt from an exchange, as soon as it was thought about; selecting another ends the waiting."""
        pane = self.query_one(Learned)
        pane.show((), turn_ids)
        while turn_ids:
            learnt = await asyncio.to_thread(self._conversation.learnt, turn_ids)
            pane.show(learnt, turn_ids)
            if learnt is not None:
                return
            await asyncio.sleep(_STATUS_SECONDS)

    def on_choice_changed(self, event: ChoiceChanged) -> None:
        self._conversation.choose(event.pinned, event.left_out)

    @on(UndoWanted)
    @background("undo", exclusive=False)
    async def _undo(self, event: UndoWanted) -> None:
        self.notify(await asyncio.to_thread(self._conversation.unlearn, event.learnt), markup=False)
        self._show_learnt(event.turn_ids)

    @on(EarlierWanted)
    def _show_earlier(self) -> None:
        self._shown += _PAGE
        self._loading = self.load()

    def on_item_opened(self, event: ItemOpened) -> None:
        self._open(event.item)

    def _open(self, item: RecallItem) -> None:
        self.app.push_screen(AroundScreen(self._conversation, item), self._looked_around)

    def _looked_around(self, chosen: Target | SessionChosen | None) -> None:
        if isinstance(chosen, Target):
            self._forget(chosen)
        elif chosen is not None:
            self.post_message(chosen)

    def on_forget_wanted(self, event: ForgetWanted) -> None:
        self._forget(Target((event.record_id,)))

    def on_session_deletion(self, event: SessionDeletion) -> None:
        self._forget(Target(session=event.session))

    def on_session_renaming(self, event: SessionRenaming) -> None:
        hint = "What the list calls the session; nothing gives it its first words back."
        screen = WriteScreen("Rename the session", event.title, hint=hint, empty=True)
        self.app.push_screen(screen, partial(self._named, event.session))

    def _named(self, session: str, title: str | None) -> None:
        if title is not None:
            self._rename(session, title)

    @background("rename", exclusive=False)
    async def _rename(self, session: str, title: str) -> None:
        await asyncio.to_thread(self._conversation.rename, session, title)
        self._refresh_sessions()

    def _forget(self, target: Target) -> None:
        if not self.held_up():
            self.app.push_screen(ForgetScreen(self._conversation, target), self._forgotten)

    async def _forgotten(self, receipt: Receipt | None) -> None:
        if receipt is None:
            return
        gone = {i for ids in receipt.forgotten.values() for i in ids}
        self.query_one(Recalled).drop(gone)
        await self.query_one(Transcript).drop(gone)
        if self.query_one(Transcript).is_empty:
            self._loading = self.load()
        self.notify(in_words(receipt), title="Forgotten", timeout=12, markup=False)
        self._refresh_sessions()

    async def on_session_chosen(self, event: SessionChosen) -> None:
        if self.held_up():
            return
        self._conversation.switch(event.session)
        self.begin_showing()

    def begin_showing(self) -> None:
        """Another session is to be shown."""
        self._editing, self._shown = None, _PAGE
        self.show_prompt()
        self._loading = self.load()
        self._refresh_sessions()
        self.query_one(Prompt).focus()

    # -- actions --------------------------------------------------------------------------------------------------

    def action_rename_session(self) -> None:
        """Give the session that is shown another title."""
        self._ask_title(self._conversation.session)

    @background("title")
    async def _ask_title(self, session: str) -> None:
        rows = await asyncio.to_thread(self._conversation.sessions)
        title = next((row.title for row in rows if row.session == session and row.named), "")
        self.post_message(SessionRenaming(session, title))

    def action_copy_answer(self) -> None:
        answer = self.query_one(Transcript).selected()
        if answer is not None:
            self.app.copy_to_clipboard(answer.text)
            self.notify("Answer copied", timeout=2, markup=False)

    def action_copy_code(self) -> None:
        answer = self.query_one(Transcript).selected()
        codes = answer.codes() if answer is not None else []
        if codes:
            codes[-1].action_copy()
        else:
            self.notify("There is no code in the selected answer", markup=False)

    def action_find(self) -> None:
        self.app.push_screen(FindScreen(self._conversation), self._found)

    def _found(self, turn: Turn | None) -> None:
        if turn is not None:
            self._open(as_item(turn))

    def action_page(self, number: int) -> None:
        """Leave the chat for one of the pages beside it."""
        from agentmem_tui.screens.page import open_page

        self.app.push_screen(open_page(number, self._conversation))

    def on_screen_resume(self) -> None:
        """Back from a page: what was forgotten there must not stand here any more."""
        self._catch_up()

    def on_worker_state_changed(self, _event: Worker.StateChanged) -> None:
        self._catch_up()  # what had to wait for an answer

    def _catch_up(self) -> None:
        if self._conversation.changed_elsewhere and not self.busy:
            self._conversation.changed_elsewhere = False
            self._loading = self.load()
            self._refresh_sessions()

    @background("sample", exclusive=False)
    async def action_sample(self) -> None:
        """Load an invented conversation to try things with; it can be deleted among the sessions."""
        added = await asyncio.to_thread(self._conversation.load_sample)
        said = f"Loaded. Now ask: “{QUESTION}”" if added else f"It is there already. Ask: “{QUESTION}”"
        delete = self._conversation.key("sessions.delete")
        self.notify(f"{said} Delete it among the sessions with {delete}.", timeout=12, markup=False)
        self._refresh_sessions()
        if self.query_one(Transcript).is_empty:
            self._loading = self.load()

    def action_new_session(self) -> None:
        self.post_message(SessionChosen(None))

    def action_private(self) -> None:
        if self.held_up():
            return
        self._conversation.private = not self._conversation.private
        self.show_prompt()

    def action_pane(self, pane: str) -> None:
        """Show or hide a side pane, and put the focus where one would use it. A narrow screen has room for one."""
        shown = self.query_one(pane)
        shown.display = not shown.display
        if not shown.display:
            self.query_one(Prompt).focus()
            return
        if self.has_class("-narrow"):
            self.query_one("Recalled" if pane == "Sessions" else "Sessions").display = False
        shown.query_one("OptionList").focus()

    def on_key(self, event: events.Key) -> None:
        """What is written after a click into the conversation belongs into the prompt."""
        if event.is_printable and event.character and isinstance(self.focused, Transcript):
            event.stop()
            self.query_one(Prompt).focus().insert(event.character)

    def make_room(self) -> None:
        """Hide the side panes where the screen is too narrow for them and something else."""
        if self.has_class("-narrow"):
            for pane in self.query("Sessions, Recalled"):
                pane.display = False
            self.query_one(Prompt).focus()

    def action_open_item(self) -> None:
        self.query_one(RecalledList).action_select()

    def action_forget_item(self) -> None:
        self.query_one(RecalledList).action_forget()

    def action_select(self, step: int) -> None:
        self.query_one(Transcript).select_beside(step)

    def action_latest(self) -> None:
        self.query_one(Transcript).anchor()
