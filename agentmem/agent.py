"""Agent: observe the user's turn, recall, respond (stream, tools), observe the answer.

The user's turn is durable before anything else happens, so no failure of a model loses it. An answer that is cut short
is kept as far as it came, with status "cancelled".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agentmem import fitting, prompt
from agentmem.clock import utc_now
from agentmem.errors import EmbedderError, InputError, ModelError
from agentmem.exchange import MAX_STEPS, Exchange
from agentmem.fitting import Draft, Said
from agentmem.ids import new_id
from agentmem.models import chat
from agentmem.models.extractive import STAND_IN, reply
from agentmem.models.select import ChosenModel, choose_model
from agentmem.models.window import Window
from agentmem.namespaces import check_namespace
from agentmem.types import Namespace, RecallItem, Recollection, Turn, TurnStatus

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage, ToolCall, ToolMessage
    from langchain_core.tools import BaseTool

    from agentmem.config import Settings
    from agentmem.memory import Memory

__all__ = ["HISTORY_TURNS", "MAX_STEPS", "Agent", "Answer", "ChosenModel", "choose_model"]

R = TypeVar("R")

HISTORY_TURNS = 20
"""Messages of a conversation shown to the model at most; older ones come back where they bear on a question."""
_LOOKED_THROUGH = 3 * HISTORY_TURNS
"""Turns looked through for them: results of tools stand between."""
_LONGEST_QUERY = 2000
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with what was recalled for it. The turns are None where nothing was kept (private, or no text)."""

    text: str
    recollection: Recollection
    user_turn: Turn | None
    turn: Turn | None
    model: str


class Agent:
    """One conversation of a language model with a memory; to be used by one caller at a time.

    `model` is any LangChain chat model, or None: then answers quote what is remembered. `tools` are LangChain tools.
    `session` names the conversation to go on with; None begins a new one. While `private` is set, the agent recalls but
    writes nothing. `last` is the latest answer. `wait` is how many seconds a recall waits for the embedder while that
    is still coming up (None: until it is): by default long enough for the bundled one, and no more.
    """

    def __init__(
        self,
        memory: Memory,
        model: BaseChatModel | None = None,
        *,
        namespace: Namespace,
        session: str | None = None,
        tools: Sequence[BaseTool] = (),
        private: bool = False,
        settings: Settings | None = None,
    ) -> None:
        self.memory = memory
        self.model = model
        self.namespace = check_namespace(namespace)
        self.session = session or new_id()
        self.label = STAND_IN if model is None else chat.label_of(model)
        self.last: Answer | None = None
        self.wait: float | None = _WAIT_SECONDS
        self._settings = settings or memory.settings
        self._tools = {tool.name: tool for tool in tools}
        self._private = private
        self._unkept: list[Said] = []
        self._window = None if model is None else Window(model)

    @property
    def private(self) -> bool:
        return self._private

    @private.setter
    def private(self, private: bool) -> None:
        self._private = private
        self._unkept.clear()  # what was said in private must not colour an answer that is kept

    def begin_session(self, session: str | None = None) -> None:
        """Go on in another session; None begins a new one."""
        self.session = session or new_id()
        self._unkept.clear()

    def ask(self, text: str) -> Answer:
        """The answer to what the user says. Raises ModelError where the model fails; the user's turn is kept."""
        for _ in self.stream(text):
            pass
        return self._answered()

    async def aask(self, text: str) -> Answer:
        async with aclosing(self.astream(text)) as pieces:
            async for _ in pieces:
                pass
        return self._answered()

    def stream(self, text: str) -> Generator[str, None, None]:
        """The answer in pieces, as they come; `last` has it when they end. Closing early keeps what came."""
        exchange = self._begin(text)
        try:
            yield from self._pieces(exchange)
        except BaseException:
            self._finish(exchange, "cancelled")
            raise
        self._finish(exchange, "complete")

    async def astream(self, text: str) -> AsyncGenerator[str, None]:
        """As `stream`, for async callers; cancelling keeps what came."""
        exchange = await _in_thread(self._begin, text)
        try:
            async with aclosing(self._apieces(exchange)) as pieces:
                async for piece in pieces:
                    yield piece
        except BaseException:
            await _in_thread(self._finish, exchange, "cancelled")
            raise
        await _in_thread(self._finish, exchange, "complete")

    def _pieces(self, exchange: Exchange) -> Iterator[str]:
        if self.model is None:
            yield from exchange.say(self._quote(exchange))
            return
        speaker = chat.with_tools(self.model, list(self._tools.values()))
        while exchange.step():
            self._prepare(exchange)
            try:
                for chunk in chat.stream(self.model, speaker, exchange.sent):
                    yield from exchange.take(chunk)
            except ModelError as error:
                if not self._mended(exchange, error):
                    raise
                continue
            for call, fault in exchange.calls():
                result = chat.failed(call, fault) if fault else chat.run_tool(self._tools, call)
                self._note(exchange, call, result)
        yield from exchange.close()

    async def _apieces(self, exchange: Exchange) -> AsyncGenerator[str, None]:
        if self.model is None:
            for piece in exchange.say(self._quote(exchange)):
                yield piece
            return
        speaker = chat.with_tools(self.model, list(self._tools.values()))
        while exchange.step():
            await _in_thread(self._prepare, exchange)
            try:
                async with aclosing(chat.astream(self.model, speaker, exchange.sent)) as chunks:
                    async for chunk in chunks:
                        for piece in exchange.take(chunk):
                            yield piece
            except ModelError as error:
                if not await _in_thread(self._mended, exchange, error):
                    raise
                continue
            for call, fault in exchange.calls():
                result = chat.failed(call, fault) if fault else await chat.arun_tool(self._tools, call)
                await _in_thread(self._note, exchange, call, result)
        for piece in exchange.close():
            yield piece

    def _quote(self, exchange: Exchange) -> str:
        return reply(exchange.question, exchange.recalled().items, private=self._private)

    def _begin(self, text: str) -> Exchange:
        """Keep the user's turn, and recall what bears on it."""
        if not text.strip():
            raise InputError("an empty question has no answer: say something")
        said = [] if self.model is None else self._said()
        kept = None
        if not self._private:
            kept = self.memory.observe("user", text, namespace=self.namespace, session=self.session)
        wanted, budget = self._settings.recall_items, self._settings.prompt_budget_tokens
        found = self._find(text[:_LONGEST_QUERY], wanted + len(said) + 1)
        items = [item for item in found.items if kept is None or item.id != kept.id]
        draft = Draft(text, items, wanted, said, (budget, budget))
        exchange = Exchange(draft, self.label, kept, found)
        if kept is not None:
            exchange.note([("turn", kept.id)])
        if self.model is None:
            exchange.show(items[:wanted])
        return exchange

    def _said(self) -> list[Said]:
        """The newest messages of this session, oldest first; then those of a private conversation, which are in no
        ledger."""
        turns = self.memory.turns(
            namespace=self.namespace, session=self.session, limit=_LOOKED_THROUGH, descending=True
        )
        shown = [turn for turn in turns if turn.role in ("user", "assistant") and turn.status != "superseded"]
        return [*(Said(turn.role, turn.text, turn.id) for turn in shown[HISTORY_TURNS - 1 :: -1]), *self._unkept]

    def _prepare(self, exchange: Exchange) -> None:
        """Make what is sent, as much of it as the model's window has room for."""
        assert self._window is not None
        count = partial(self._window.count, tools=list(self._tools.values()))
        render = partial(self._render, exchange)
        exchange.put(fitting.fit(exchange.draft, render, count, self._window.limit))

    def _render(
        self, exchange: Exchange, items: Sequence[RecallItem], said: Sequence[Said], longest: int | None
    ) -> list[BaseMessage]:
        history = [(one.role, one.text) for one in said]
        asked = prompt.messages(items, history, exchange.question, utc_now())
        return asked + prompt.shortened(exchange.after, exchange.question, longest)

    def _mended(self, exchange: Exchange, error: ModelError) -> bool:
        """Whether asking once more, otherwise, may go well: a prompt that was too long is made shorter."""
        if "length" in exchange.mended or not exchange.silent or not chat.was_too_long(error):
            return False
        assert self._window is not None
        self._window.learn(str(error.__cause__), exchange.sent, list(self._tools.values()))
        exchange.again("length")
        return True

    def _find(self, query: str, k: int) -> Recollection:
        """By words alone where the embedder failed: a conversation goes on. With `wait` None the failure is raised."""
        try:
            return self.memory.recall(query, namespace=self.namespace, k=k, wait=self.wait)
        except EmbedderError:
            if self.wait is None:
                raise
            return self.memory.recall(query, namespace=self.namespace, k=k, wait=0)

    def _note(self, exchange: Exchange, call: ToolCall, result: ToolMessage) -> None:
        """Keep a tool's result as an untrusted turn, the call with it, and tell the model."""
        exchange.after.append(result)
        if exchange.user_turn is None:
            return
        kept = self.memory.observe(
            "tool",
            f"{call['name']}({_arguments(call)}):\n{result.text}",
            namespace=self.namespace,
            session=self.session,
            speaker=call["name"],
            parent_id=exchange.user_turn.id,
            metadata={"failed": True} if result.status == "error" else {},
        )
        exchange.note([("turn", kept.id)])

    def _finish(self, exchange: Exchange, status: TurnStatus) -> None:
        """Keep the answer as far as it came, with edges to all that stood in its prompt."""
        text, kept = exchange.text, None
        if exchange.user_turn is None:
            self._unkept.append(Said("user", exchange.question))
            if text.strip():
                self._unkept.append(Said("assistant", text))
        elif text.strip():
            kept = self.memory.observe(
                "assistant",
                text,
                namespace=self.namespace,
                session=self.session,
                parent_id=exchange.user_turn.id,
                status=status,
                metadata={"model": self.label} | ({"quotes": True} if self.model is None else {}),
            )
            self.memory.record_recalled(kept.id, exchange.stood(), namespace=self.namespace)
        self.last = Answer(text, exchange.recalled(), exchange.user_turn, kept, self.label)

    def _answered(self) -> Answer:
        assert self.last is not None
        return self.last


def _arguments(call: ToolCall) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in call["args"].items())


async def _in_thread(work: Callable[..., R], *arguments: Any) -> R:
    """Run to its end in a thread even if the caller is cancelled: what was begun in the store is finished."""
    return await asyncio.shield(asyncio.to_thread(work, *arguments))
