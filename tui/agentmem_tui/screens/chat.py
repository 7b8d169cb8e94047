"""The chat: sessions on the left, the transcript and the prompt in the middle, what was recalled on the right."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static
from textual.worker import Worker

from agentmem.exchange import ToolStep
from agentmem.text import count_tokens
from agentmem.types import RecallItem, Receipt, Turn
from agentmem_tui.conversation import Conversation, Question, Target, as_item
from agentmem_tui.messages import (
    AnswerSelected,
    EarlierWanted,
    ForgetWanted,
    ItemOpened,
    PromptSubmitted,
    SessionChosen,
    SessionDeletion,
)
from agentmem_tui.printable import printable
from agentmem_tui.screens.around import AroundScreen
from agentmem_tui.screens.confirm import ask_from_thread
from agentmem_tui.screens.find import FindScreen
from agentmem_tui.screens.forget import ForgetScreen
from agentmem_tui.tasks import background, tell
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.recalled import Recalled, RecalledList
from agentmem_tui.widgets.said import Said
from agentmem_tui.widgets.sessions import Sessions
from agentmem_tui.widgets.status_bar import StatusBar
from agentmem_tui.widgets.transcript import Transcript
from agentmem_tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from agentmem.agent import Answer as Done

_PAGE = 40
"""Turns on screen at first, and more of them each time earlier ones are asked for."""
_FAILED = "failed: F5 asks again"
_AWAY = 2
"""Lines from the end from which on the way back is shown."""
_STATUS_SECONDS = 1.0
_WARM_UP_SECONDS = 0.2
"""What may wait does so until the first picture is on screen."""
_BREADTHS = [(0, "-narrow"), (100, "-medium"), (140, "-wide")]
"""From which width on a screen is called what in the style sheet."""


class ChatScreen(Screen[None]):
    """Keys that belong to the whole screen are bound here; those of a pane in its widget."""

    HORIZONTAL_BREAKPOINTS = _BREADTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="chat.cancel"),
        Binding("ctrl+n", "new_session", "New", id="chat.new"),
        Binding("f2", "pane('Sessions')", "Sessions", id="chat.sessions"),
        Binding("f3", "pane('Recalled')", "Recalled", id="chat.recalled"),
        Binding("f4", "private", "Private", id="chat.private"),
        Binding("ctrl+s", "find", "Find", id="chat.find"),
        Binding("f5", "retry", "Again", show=False, id="chat.retry"),
        Binding("ctrl+o", "edit", "Other wording", show=False, id="chat.edit"),
        Binding("ctrl+g", "fork", "Fork", show=False, id="chat.fork"),
        Binding("ctrl+up", "select(-1)", "Answer above", show=False, id="chat.above"),
        Binding("ctrl+down", "select(1)", "Answer below", show=False, id="chat.below"),
        Binding("ctrl+end", "latest", "Latest", show=False, id="chat.latest"),
    ]

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self._answering: Worker[None] | None = None
        self._loading: Worker[None] | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._shown = _PAGE
        self._breadth = 0
        self._told = 0
        self._coming: Answer | None = None
        self._editing: str | None = None
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
        self._show_prompt()
        self._loading = self._load()
        self._refresh_sessions()
        self._refresh_status()
        self._conversation.confirm = partial(ask_from_thread, self.app)
        self._conversation.watch = self._show_step
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
    async def _load(self) -> None:
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
        return Welcome(model=chosen.label, notice=chosen.notice, remembered=remembered)

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

    def _show_prompt(self) -> None:
        """What the frame of the prompt says: what sending would do, and how."""
        private, prompt = self._conversation.private, self.query_one(Prompt)
        prompt.set_class(private, "-private")
        title = "private: nothing of this is remembered" if private else ""
        prompt.border_title = "another wording: Esc leaves it as it was" if self._editing else title
        latest = " · Ctrl+End latest" if self._is_above else ""
        prompt.border_subtitle = f"Enter sends · Ctrl+J new line{latest}"
        self.query_one(StatusBar).private = private

    def _scrolled(self) -> None:
        transcript = self.query_one(Transcript)
        above = transcript.max_scroll_y - transcript.scroll_offset.y > _AWAY
        if above != self._is_above:
            self._is_above = above
            self._show_prompt()

    # -- asking and answering -------------------------------------------------------------------------------------

    def on_prompt_submitted(self, event: PromptSubmitted) -> None:
        if self._held_up():
            return
        instead_of, self._editing = self._editing, None
        self.query_one(Prompt).accept(event.text)
        self._show_prompt()
        self._answering = self._answer(Question(event.text, instead_of=instead_of))

    @property
    def streaming(self) -> bool:
        """Whether there is something to cancel."""
        return self._streaming is not None and not self._streaming.done()

    @property
    def busy(self) -> bool:
        """Whether an answer is coming."""
        return self._answering is not None and not self._answering.is_finished

    def _held_up(self) -> bool:
        """Whether something must wait for the answer; says so."""
        if self.busy:
            self.notify("The answer is still coming: Esc cancels it", markup=False)
        return self.busy

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.worker is self._answering:
            self.refresh_bindings()  # Esc has something to cancel, or no more

    @background("answer", exclusive=False)
    async def _answer(self, question: Question) -> None:
        if self._loading is not None:
            await self._loading.wait()  # it clears the transcript
        said, answer = await self._put(question)
        before, begun = self._conversation.last(), monotonic()
        self._coming = answer
        self._streaming = asyncio.create_task(self._stream(question, answer))
        note = await self._outcome(self._streaming)
        done = self._conversation.last()
        await self._settle(said, answer, None if done is before else done, [note, _measured(answer, begun)])
        if said.turn_id is None and note and not self._conversation.private:
            self.query_one(Prompt).put_back(question.text)
        if note == _FAILED and (question.again or question.instead_of):
            self._loading = self._load()  # what was to be replaced still stands

    async def _put(self, question: Question) -> tuple[Said, Answer]:
        """Show a question and the place for its answer; what they take the place of goes off the screen."""
        transcript, now = self.query_one(Transcript), self._conversation.now()
        quoting = self._conversation.chosen.model is None
        answer = Answer(now, note="recalling…", quoting=quoting, question_id=question.again)
        said = await transcript.cut_off(question.again, question.instead_of)
        if said is None:
            said = Said("You", question.text, now, own=True, edited=question.instead_of is not None)
            await transcript.append(said, answer)
        else:
            await transcript.append(answer)
        return said, answer

    async def _outcome(self, streaming: asyncio.Task[None]) -> str:
        """What the line below the answer says of how it ended."""
        try:
            await streaming
        except asyncio.CancelledError:
            return "cancelled"
        except Exception as error:
            tell(self, error)
            return _FAILED
        return ""

    async def _stream(self, question: Question, answer: Answer) -> None:
        async with aclosing(self._conversation.stream(question)) as pieces:
            async for piece in pieces:
                answer.add(piece)

    def _show_step(self, step: ToolStep) -> None:
        if self._coming is not None and self.is_running:
            self.call_later(self._coming.show_step, step)

    async def _settle(self, said: Said, answer: Answer, done: Done | None, notes: list[str]) -> None:
        """Tie the answer to the ledger, and show what was recalled for it."""
        if not self.is_running:
            return
        if done is not None:
            said.turn_id = answer.question_id = done.user_turn.id if done.user_turn else None
            answer.turn_id = done.turn.id if done.turn else None
            answer.items = done.recollection.items
        await answer.finish(done.text if done is not None else None)
        count = len(answer.items or ())
        answer.note = " · ".join(filter(None, [*notes, f"{count} recalled" if count else "nothing recalled"]))
        self.query_one(Transcript).select(answer)
        self._refresh_sessions()

    async def on_answer_selected(self, event: AnswerSelected) -> None:
        pane = self.query_one(Recalled)
        if event.items is not None:
            pane.show(event.items)
        elif event.turn_id is not None:
            self._show_recorded(event.turn_id)

    @background("recalled")
    async def _show_recorded(self, turn_id: str) -> None:
        items = await asyncio.to_thread(self._conversation.recalled_for, turn_id)
        self.query_one(Recalled).show(items)

    @on(EarlierWanted)
    def _show_earlier(self) -> None:
        self._shown += _PAGE
        self._loading = self._load()

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

    def _forget(self, target: Target) -> None:
        if not self._held_up():
            self.app.push_screen(ForgetScreen(self._conversation, target), self._forgotten)

    async def _forgotten(self, receipt: Receipt | None) -> None:
        if receipt is None:
            return
        gone = {i for ids in receipt.forgotten.values() for i in ids}
        self.query_one(Recalled).drop(gone)
        await self.query_one(Transcript).drop(gone)
        if self.query_one(Transcript).is_empty:
            self._loading = self._load()
        self.notify(in_words(receipt), title="Forgotten", timeout=12, markup=False)
        self._refresh_sessions()

    async def on_session_chosen(self, event: SessionChosen) -> None:
        if self._held_up():
            return
        self._conversation.switch(event.session)
        self._begin_showing()

    def _begin_showing(self) -> None:
        """Another session is to be shown."""
        self._editing, self._shown = None, _PAGE
        self._show_prompt()
        self._loading = self._load()
        self._refresh_sessions()
        self.query_one(Prompt).focus()

    # -- actions --------------------------------------------------------------------------------------------------

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Show the key for cancelling only while there is something to cancel."""
        return self.busy or self._editing is not None if action == "cancel" else True

    def action_cancel(self) -> None:
        if self.streaming and self._streaming is not None:
            self._streaming.cancel()
        elif self._editing is not None:
            self._editing = None
            self.query_one(Prompt).clear()
            self._show_prompt()
            self.refresh_bindings()

    def action_retry(self) -> None:
        """Have the question of the selected answer answered anew."""
        question = self._question()
        if question is not None and question.turn_id is not None:
            self._answering = self._answer(Question(question.text, again=question.turn_id))

    def action_edit(self) -> None:
        """Put the question of the selected answer into the prompt, to be said in other words."""
        question = self._question()
        if question is not None and question.turn_id is not None:
            self._editing = question.turn_id
            self.query_one(Prompt).put(question.text)
            self._show_prompt()
            self.refresh_bindings()

    def _question(self) -> Said | None:
        """The question of the selected answer, or the last one; says so where it cannot be said again."""
        if self._held_up():
            return None
        question = self.query_one(Transcript).question()
        if self._conversation.private or question is None or question.turn_id is None:
            reason = "what is private is not kept" if self._conversation.private else "nothing was asked here yet"
            self.notify(f"There is nothing to say again: {reason}", markup=False)
            return None
        return question

    def action_fork(self) -> None:
        """Go on from the selected answer in a session of its own."""
        answer = self.query_one(Transcript).selected()
        if self._held_up() or answer is None or answer.turn_id is None:
            return
        self._conversation.fork(answer.turn_id)
        self._begin_showing()
        self.notify("A fork: it begins with what was said up to here, which stays as it is", markup=False)

    def action_versions(self) -> None:
        """Show what was edited or answered anew, or hide it again."""
        if self._held_up():
            return
        self._conversation.versions = not self._conversation.versions
        self._loading = self._load()
        self.notify(f"Earlier versions are {'shown' if self._conversation.versions else 'hidden'}", markup=False)

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

    def action_new_session(self) -> None:
        self.post_message(SessionChosen(None))

    def action_private(self) -> None:
        if self._held_up():
            return
        self._conversation.private = not self._conversation.private
        self._show_prompt()

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


def _measured(answer: Answer, begun: float) -> str:
    """How long an answer took, and about how many tokens it has: servers differ in whether they count them."""
    seconds, tokens = monotonic() - begun, count_tokens(answer.text)
    return f"{seconds:.1f} s · about {tokens} tokens" if tokens else f"{seconds:.1f} s"


def in_words(receipt: Receipt) -> str:
    counts = {kind: len(ids) for kind, ids in receipt.forgotten.items() if ids and kind != "chunks"}
    went = ", ".join(f"{n} {kind if n != 1 else kind.removesuffix('s')}" for kind, n in counts.items()) or "nothing"
    erased = "their bytes are erased" if receipt.erased == "done" else "bytes wait for another program to let go"
    back = f"; {len(receipt.restored)} came back" if receipt.restored else ""
    copies = f". Copies made earlier are yours to remove: {', '.join(receipt.copies)}" if receipt.copies else ""
    return f"{went}; {erased}{back}{copies}"
