"""Asking and answering on the chat's screen: one question at a time, again, in other words, or elsewhere."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker, WorkerError

from agentmem.exchange import ToolStep
from agentmem.text import count_tokens
from agentmem.types import ForgetPlan
from agentmem_tui.conversation import Conversation, Question
from agentmem_tui.messages import PromptSubmitted
from agentmem_tui.screens.confirm import ask_from_thread
from agentmem_tui.tasks import background, tell
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.said import Said
from agentmem_tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from agentmem.agent import Answer as Done


class AskingScreen(Screen[None]):
    """What the chat's screen does with a question. It has a `Transcript` and a `Prompt`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="chat.cancel"),
        Binding("f5", "retry", "Again", show=False, id="chat.retry"),
        Binding("ctrl+o", "edit", "Other wording", show=False, id="chat.edit"),
        Binding("ctrl+g", "fork", "Fork", show=False, id="chat.fork"),
    ]

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation
        self._answering: Worker[None] | None = None
        self._loading: Worker[None] | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._coming: Answer | None = None
        self._editing: str | None = None
        self._parts: list[Widget] = []
        self._erased: set[str] = set()
        """What the model had erased, with the user's consent, while the answer came."""

    def load(self) -> Worker[None]:
        """Show the session as the store has it."""
        raise NotImplementedError

    def answered(self) -> None:
        """An answer has come to its end."""
        raise NotImplementedError

    def begin_showing(self) -> None:
        """Another session is to be shown."""
        raise NotImplementedError

    def show_prompt(self) -> None:
        """Say on the prompt's frame what sending would do."""
        raise NotImplementedError

    def listen(self) -> None:
        """Hear what the agent asks of the user and tells of its tools."""
        self._conversation.confirm = self._confirm
        self._conversation.watch = self._show_step

    def _confirm(self, plan: ForgetPlan) -> bool:
        """Whether the user agrees to what the model would forget. Called in a worker thread."""
        agreed = ask_from_thread(self.app, plan)
        if agreed:
            self._erased |= {*plan.turns, *plan.thoughts, *plan.repeats, *plan.echoes}
        return agreed

    def on_prompt_submitted(self, event: PromptSubmitted) -> None:
        if self.held_up():
            return
        instead_of, self._editing = self._editing, None
        self.query_one(Prompt).accept(event.text)
        self.show_prompt()
        self._answering = self._answer(Question(event.text, instead_of=instead_of))

    @property
    def streaming(self) -> bool:
        """Whether there is something to cancel."""
        return self._streaming is not None and not self._streaming.done()

    @property
    def busy(self) -> bool:
        """Whether an answer is coming."""
        return self._answering is not None and not self._answering.is_finished

    def held_up(self) -> bool:
        """Whether something must wait for the answer; says so."""
        if self.busy:
            self.notify(f"The answer is still coming: {self._conversation.key('chat.cancel')} cancels it", markup=False)
        return self.busy

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.worker is self._answering:
            self.refresh_bindings()  # Esc has something to cancel, or no more

    @background("answer", exclusive=False)
    async def _answer(self, question: Question) -> None:
        await self._loaded()
        said, answer = await self._put(question)
        self._erased.clear()
        before, begun = self._conversation.last(), self._conversation.now()
        self._coming = answer
        self._streaming = asyncio.create_task(self._stream(question, answer))
        note = await self._outcome(self._streaming)
        if not self.is_running:
            return
        done = self._conversation.last()
        done = None if done is before else done
        await self._settle(said, answer, done, [note, self._measured(answer, begun, done)])
        if said.turn_id is None and note and not self._conversation.private:
            self.query_one(Prompt).put_back(question.text)
        if note == self._failed and (question.again or question.instead_of):
            self._loading = self.load()  # what was to be replaced still stands

    async def _loaded(self) -> None:
        """Wait until the session is shown, for that clears the transcript; one reading may take another's place."""
        while self._loading is not None and not self._loading.is_finished:
            with suppress(WorkerError):
                await self._loading.wait()

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

    @property
    def _failed(self) -> str:
        return f"failed: {self._conversation.key('chat.retry')} asks again"

    async def _outcome(self, streaming: asyncio.Task[None]) -> str:
        """What the line below the answer says of how it ended."""
        try:
            await streaming
        except asyncio.CancelledError:
            return "cancelled"
        except Exception as error:
            tell(self, error)
            return self._failed
        return ""

    async def _stream(self, question: Question, answer: Answer) -> None:
        async with aclosing(self._conversation.stream(question)) as pieces:
            async for piece in pieces:
                answer.add(piece)

    def _measured(self, answer: Answer, begun: datetime, done: Done | None) -> str:
        """How long an answer took, and how many tokens it has: about so many where the server doesn't count them."""
        seconds = (self._conversation.now() - begun).total_seconds()
        if not answer.text or answer.quoting:
            return f"{seconds:.1f} s"
        counted = done.tokens if done is not None else None
        return f"{seconds:.1f} s · {f'about {count_tokens(answer.text)}' if counted is None else counted} tokens"

    def _show_step(self, step: ToolStep) -> None:
        if self._coming is not None and self.is_running:
            self.call_later(self._coming.show_step, step)

    async def _settle(self, said: Said, answer: Answer, done: Done | None, notes: list[str]) -> None:
        """Tie the answer to the ledger, and show what was recalled for it."""
        if done is not None:
            said.turn_id = answer.question_id = done.user_turn.id if done.user_turn else None
            answer.turn_id = done.turn.id if done.turn else None
            answer.items = done.recollection.items
        await answer.finish(done.text if done is not None else None)
        transcript = self.query_one(Transcript)
        await transcript.drop(self._erased)
        transcript.select(answer)
        self.answered()
        # Last, and nothing is waited for after it: who reads it may send the next question at once.
        count = len(answer.items or ())
        answer.note = " · ".join(filter(None, [*notes, f"{count} recalled" if count else "nothing recalled"]))

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Show the key for cancelling only while it cancels something; keys faster than the screen do nothing."""
        if not self._is_whole():
            return False
        return self.busy or self._editing is not None if action == "cancel" else True

    def _is_whole(self) -> bool:
        """Whether transcript and prompt are there. Each is looked for until it is found: a query goes through every
        widget of the screen, and this is asked once for each key that the footer shows."""
        if not self._parts:
            self._parts = [*self.query(Transcript), *self.query(Prompt)]
        return bool(self._parts) and all(part.is_attached for part in self._parts)

    def action_cancel(self) -> None:
        if self.streaming and self._streaming is not None:
            self._streaming.cancel()
        elif self._editing is not None:
            self._editing = None
            self.query_one(Prompt).clear()
            self.show_prompt()
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
            self.show_prompt()
            self.refresh_bindings()

    def _question(self) -> Said | None:
        """The question of the selected answer, or the last one; says so where it cannot be said again."""
        if self.held_up():
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
        if self.held_up() or answer is None or answer.turn_id is None:
            return
        self._conversation.fork(answer.turn_id)
        self.begin_showing()
        self.notify("A fork: it begins with what was said up to here, which stays as it is", markup=False)

    def action_versions(self) -> None:
        """Show what was edited or answered anew, or hide it again."""
        if self.held_up():
            return
        self._conversation.versions = not self._conversation.versions
        self._loading = self.load()
        self.notify(f"Earlier versions are {'shown' if self._conversation.versions else 'hidden'}", markup=False)
