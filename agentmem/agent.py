"""Agent: observe the user's turn, recall, respond (stream, tools), observe the answer.

The user's turn is durable before anything else happens, so no failure of a model loses it. An answer that is cut short
is kept as far as it came, with status "cancelled".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from agentmem import prompt
from agentmem.clock import utc_now
from agentmem.errors import EmbedderError, InputError, ModelError
from agentmem.ids import new_id
from agentmem.models import chat
from agentmem.models.extractive import STAND_IN, reply
from agentmem.models.select import ChosenModel, choose_model
from agentmem.namespaces import check_namespace
from agentmem.text import count_tokens
from agentmem.types import Kind, Namespace, Recollection, Turn, TurnStatus

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk, BaseMessage, ToolCall, ToolMessage
    from langchain_core.tools import BaseTool

    from agentmem.config import Settings
    from agentmem.memory import Memory

__all__ = ["Agent", "Answer", "ChosenModel", "choose_model"]

R = TypeVar("R")

MAX_STEPS = 8
"""Model calls for one answer: enough for a chain of tools, and an end to a loop of them."""
HISTORY_TURNS = 20
_LONGEST_QUERY = 2000
_WAIT_SECONDS = 1.0
_GAVE_UP = f"I stopped after {MAX_STEPS} steps with tools without reaching an answer."


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
        self._unkept: list[prompt.Said] = []

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

    def _pieces(self, exchange: _Exchange) -> Iterator[str]:
        if self.model is None:
            yield from exchange.say(self._quote(exchange))
            return
        speaker = chat.with_tools(self.model, list(self._tools.values()))
        while exchange.step():
            for chunk in chat.stream(self.model, speaker, exchange.messages):
                yield from exchange.take(chunk)
            for call, fault in exchange.calls():
                result = chat.failed(call, fault) if fault else chat.run_tool(self._tools, call)
                self._note(exchange, call, result)
        yield from exchange.close()

    async def _apieces(self, exchange: _Exchange) -> AsyncGenerator[str, None]:
        if self.model is None:
            for piece in exchange.say(self._quote(exchange)):
                yield piece
            return
        speaker = chat.with_tools(self.model, list(self._tools.values()))
        while exchange.step():
            async with aclosing(chat.astream(self.model, speaker, exchange.messages)) as chunks:
                async for chunk in chunks:
                    for piece in exchange.take(chunk):
                        yield piece
            for call, fault in exchange.calls():
                result = chat.failed(call, fault) if fault else await chat.arun_tool(self._tools, call)
                await _in_thread(self._note, exchange, call, result)
        for piece in exchange.close():
            yield piece

    def _quote(self, exchange: _Exchange) -> str:
        return reply(exchange.question, exchange.recollection.items, private=self._private)

    def _begin(self, text: str) -> _Exchange:
        """Keep the user's turn, recall, and make what is sent."""
        if not text.strip():
            raise InputError("an empty question has no answer: say something")
        past = [] if self.model is None else self._past()
        kept = None
        if not self._private:
            kept = self.memory.observe("user", text, namespace=self.namespace, session=self.session)
        standing = [turn.id for turn in past] + ([kept.id] if kept else [])
        recollection = self._recall(text, standing)
        exchange = _Exchange(text, self.label, kept, recollection, standing)
        if self.model is not None:
            budget = self._settings.prompt_budget_tokens
            shown = prompt.fit(recollection.items, budget, text)
            ids = {item.id for item in shown}
            items = tuple(item for item in recollection.items if item.id in ids)
            exchange.recollection = replace(recollection, items=items)
            said = [*((turn.role, turn.text) for turn in past), *self._unkept]
            exchange.messages = prompt.messages(shown, _newest(said, budget), text, utc_now())
        return exchange

    def _past(self) -> list[Turn]:
        """The newest turns of this session that are shown to the model as its conversation, oldest first."""
        turns = self.memory.turns(namespace=self.namespace, session=self.session, limit=HISTORY_TURNS, descending=True)
        shown = [turn for turn in turns if turn.role in ("user", "assistant") and turn.status != "superseded"]
        return _newest(shown[::-1], self._settings.prompt_budget_tokens)

    def _recall(self, text: str, standing: Sequence[str]) -> Recollection:
        """What bears on the text, without what stands in the prompt anyway."""
        wanted = self._settings.recall_items
        found = self._find(text[:_LONGEST_QUERY], wanted + len(standing))
        fresh = [item for item in found.items if item.id not in standing]
        return replace(found, items=tuple(fresh[:wanted]))

    def _find(self, query: str, k: int) -> Recollection:
        """By words alone where the embedder failed: a conversation goes on. With `wait` None the failure is raised."""
        try:
            return self.memory.recall(query, namespace=self.namespace, k=k, wait=self.wait)
        except EmbedderError:
            if self.wait is None:
                raise
            return self.memory.recall(query, namespace=self.namespace, k=k, wait=0)

    def _note(self, exchange: _Exchange, call: ToolCall, result: ToolMessage) -> None:
        """Keep a tool's result as an untrusted turn, the call with it, and tell the model."""
        exchange.messages.append(result)
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
        exchange.standing.append(kept.id)

    def _finish(self, exchange: _Exchange, status: TurnStatus) -> None:
        """Keep the answer as far as it came, with edges to all that stood in its prompt."""
        text, kept = "".join(exchange.pieces), None
        if exchange.user_turn is None:
            self._unkept.append(("user", exchange.question))
            if text.strip():
                self._unkept.append(("assistant", text))
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
        self.last = Answer(text, exchange.recollection, exchange.user_turn, kept, self.label)

    def _answered(self) -> Answer:
        assert self.last is not None
        return self.last


@dataclass
class _Exchange:
    """A question and its answer as far as they have come: what both the sync and the async loop work on."""

    question: str
    label: str
    user_turn: Turn | None
    recollection: Recollection
    standing: list[str]
    """Ids of the turns that stand in the prompt besides what was recalled."""
    messages: list[BaseMessage] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    _steps: int = 0
    _whole: AIMessageChunk | None = None
    _wants_tools: bool = True
    _gap: bool = False

    def stood(self) -> list[tuple[Kind, str]]:
        recalled: list[tuple[Kind, str]] = [(item.kind, item.id) for item in self.recollection.items]
        return recalled + [("turn", turn) for turn in self.standing]

    def say(self, text: str) -> Iterator[str]:
        if text:
            self.pieces.append(text)
            yield text

    def step(self) -> bool:
        """Whether the model is to be asked (again)."""
        if not self._wants_tools or self._steps == MAX_STEPS:
            return False
        self._steps += 1
        self._whole = None
        self._gap = bool(self.pieces)
        return True

    def take(self, chunk: AIMessageChunk) -> Iterator[str]:
        text = chunk.text
        if text and self._gap:
            self._gap = False
            yield from self.say("\n\n")
        self._whole = chunk if self._whole is None else self._whole + chunk
        yield from self.say(text)

    def calls(self) -> list[tuple[ToolCall, str]]:
        """The tool calls of the answer that just ended, each with what is wrong with it ("": nothing)."""
        from langchain_core.messages import AIMessage

        calls = [] if self._whole is None else chat.tool_calls(self._whole, self._steps)
        self._wants_tools = bool(calls)
        if calls and self._whole is not None:
            self.messages.append(AIMessage(self._whole.text, tool_calls=[call for call, _ in calls]))
        return calls

    def close(self) -> Iterator[str]:
        """The end of an answer that would otherwise have none. Raises ModelError for an empty one."""
        if self._wants_tools:
            yield from self.say(("\n\n" if self.pieces else "") + _GAVE_UP)
        elif not "".join(self.pieces).strip():
            raise ModelError(f"{self.label} gave an empty answer: ask again, or choose another model")


T = TypeVar("T")


def _newest(said: Sequence[T], budget: int) -> list[T]:
    """The newest messages or turns that together have room in a budget of tokens, oldest first."""
    kept: list[T] = []
    for one in reversed(said):
        budget -= count_tokens(one.text if isinstance(one, Turn) else str(one))
        if budget < 0:
            break
        kept.append(one)
    return kept[::-1]


def _arguments(call: ToolCall) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in call["args"].items())


async def _in_thread(work: Callable[..., R], *arguments: Any) -> R:
    """Run to its end in a thread even if the caller is cancelled: what was begun in the store is finished."""
    return await asyncio.shield(asyncio.to_thread(work, *arguments))
