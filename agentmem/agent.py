"""Agent: observe the user's turn, recall, respond (stream, tools), observe the answer.

The user's turn is durable before anything else happens, so no failure of a model loses it. An answer that is cut short
is kept as far as it came, with status "cancelled".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from agentmem import fitting, prompt
from agentmem.clock import utc_now
from agentmem.consolidation.routing import concerns
from agentmem.consolidation.service import Service, service_of
from agentmem.errors import EmbedderError, InputError, ModelError
from agentmem.exchange import MAX_STEPS, Exchange, ToolStep, Watch
from agentmem.fitting import Draft, Said
from agentmem.ids import new_id
from agentmem.models import chat
from agentmem.models.calling import Calling, Constrained, Native, UnparsedCallError
from agentmem.models.extractive import STAND_IN, reply
from agentmem.models.select import ChosenModel, choose_model
from agentmem.models.window import Window
from agentmem.namespaces import check_namespace
from agentmem.tools import Confirm, FromMemory, memory_tools
from agentmem.types import Adapter, Kind, Namespace, RecallItem, Recollection, Turn, TurnStatus

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
"""Turns looked through for them where results of tools stand between."""
_LONGEST_QUERY = 2000
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with what was recalled for it. The turns are None where nothing was kept (private, or no text).

    `tokens` is how many the model said for it, tool calls and reasoning too; None where the server doesn't count them,
    and for an answer that was cancelled.
    """

    text: str
    recollection: Recollection
    user_turn: Turn | None
    turn: Turn | None
    model: str
    tokens: int | None = None


class Agent:
    """One conversation of a language model with a memory; to be used by one caller at a time.

    `model` is any LangChain chat model, or None: then answers quote what is remembered. `tools` are LangChain tools.
    With `memory_tools` the model can search and open memory, remember, and ask to forget (`agentmem.tools`); "auto":
    where the model's server can call tools by itself. `confirm` shows the user what forgetting would take and returns
    whether they agree; without it the model can only tell them how to forget.
    `session` names the conversation to go on with; None begins a new one. While `private` is set, the agent recalls but
    writes nothing. `last` is the latest answer. `wait` is how many seconds a recall waits for the embedder while that
    is still coming up (None: until it is): by default long enough for the bundled one, and no more. With `think` (None:
    as the settings have it) the model draws thoughts from each exchange behind the answer. `watch` is told of each
    tool before it runs and after; it must not raise. For the next answer only, what is `pinned` is recalled first, and
    ids that are `left_out` are not.
    """

    def __init__(
        self,
        memory: Memory,
        model: BaseChatModel | None = None,
        *,
        namespace: Namespace,
        session: str | None = None,
        tools: Sequence[BaseTool] = (),
        memory_tools: bool | Literal["auto"] = False,
        confirm: Confirm | None = None,
        private: bool = False,
        settings: Settings | None = None,
        think: bool | None = None,
    ) -> None:
        self.memory = memory
        self.model = model
        self.namespace = check_namespace(namespace)
        self.session = session or new_id()
        self.label = STAND_IN if model is None else chat.label_of(model)
        self.last: Answer | None = None
        self.wait: float | None = _WAIT_SECONDS
        self._settings = settings or memory.settings
        self._given = {tool.name: tool for tool in tools}
        self.confirm = confirm
        self._own = self._memory_tools() if memory_tools and model is not None else {}
        self._only_native = memory_tools == "auto"
        self._calling: Calling = Native()
        self._thinks = False
        self._counts = True
        wanted = self._settings.think if think is None else think
        self._thinker = memory.thinker(model) if model is not None and wanted else None
        self._private = private
        self._unkept: list[Said] = []
        self._window = None if model is None else Window(model)
        self._answering: Turn | None = None
        self._follows: str | None = None
        self.watch: Watch | None = None
        self.pinned: tuple[RecallItem, ...] = ()
        self.left_out: frozenset[str] = frozenset()
        self._service: Service | None = service_of(memory, model, self.namespace) if model is not None else None
        self._adapter: Adapter | None = None

    def _memory_tools(self) -> dict[str, BaseTool]:
        made = memory_tools(
            self.memory,
            namespace=self.namespace,
            find=self._find,
            turn=lambda: self._answering,
            confirm=lambda: self.confirm,
        )
        if taken := self._given.keys() & {tool.name for tool in made}:
            raise InputError(f"the memory has a tool named {min(taken)} itself: name yours otherwise")
        return {tool.name: tool for tool in made}

    @property
    def _tools(self) -> dict[str, BaseTool]:
        return self._given | self._own

    @property
    def private(self) -> bool:
        return self._private

    @private.setter
    def private(self, private: bool) -> None:
        self._private = private
        self._unkept.clear()  # what was said in private must not colour an answer that is kept

    def begin_session(self, session: str | None = None, *, after: str | None = None) -> None:
        """Go on in another session; None begins a new one. A new one that names a turn goes on `after` it: what was
        said up to there is part of the conversation, and is not copied (agentmem/branches.py)."""
        self.session = session or new_id()
        self._follows = after
        self._unkept.clear()

    def ask(self, text: str | Turn, *, instead_of: str | None = None) -> Answer:
        """The answer to what the user says. Raises ModelError where the model fails; the user's turn is kept.

        A turn of the user's in this session is answered anew: what followed it is superseded when the new answer is
        kept. `instead_of` is the id of a turn that this text takes the place of: it is superseded at once, with what
        followed it. Nothing is lost by either.
        """
        for _ in self.stream(text, instead_of=instead_of):
            pass
        return self._answered()

    async def aask(self, text: str | Turn, *, instead_of: str | None = None) -> Answer:
        async with aclosing(self.astream(text, instead_of=instead_of)) as pieces:
            async for _ in pieces:
                pass
        return self._answered()

    def stream(self, text: str | Turn, *, instead_of: str | None = None) -> Generator[str, None, None]:
        """The answer in pieces, as they come; `last` has it when they end. Closing early keeps what came."""
        exchange = self._begin(text, instead_of)
        try:
            yield from self._pieces(exchange)
        except BaseException:
            self._finish(exchange, "cancelled")
            raise
        self._finish(exchange, "complete")

    async def astream(self, text: str | Turn, *, instead_of: str | None = None) -> AsyncGenerator[str, None]:
        """As `stream`, for async callers; cancelling keeps what came."""
        exchange = await _in_thread(self._begin, text, instead_of)
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
        while exchange.step():
            self._prepare(exchange)
            try:
                for chunk in chat.stream(self.model, self._speaker(), exchange.sent):
                    yield from exchange.take(chunk)
                yield from exchange.heard()
            except ModelError as error:
                if not self._mended(exchange, error):
                    raise
                continue
            for call, fault in exchange.calls:
                self._tell(call)
                result = chat.failed(call, fault) if fault else chat.run_tool(self._tools, call)
                self._tell(call, result)
                self._note(exchange, call, result)
        yield from exchange.close()

    async def _apieces(self, exchange: Exchange) -> AsyncGenerator[str, None]:
        if self.model is None:
            for piece in exchange.say(self._quote(exchange)):
                yield piece
            return
        while exchange.step():
            await _in_thread(self._prepare, exchange)
            try:
                async with aclosing(chat.astream(self.model, self._speaker(), exchange.sent)) as chunks:
                    async for chunk in chunks:
                        for piece in exchange.take(chunk):
                            yield piece
                for piece in exchange.heard():
                    yield piece
            except ModelError as error:
                if not await _in_thread(self._mended, exchange, error):
                    raise
                continue
            for call, fault in exchange.calls:
                self._tell(call)
                result = chat.failed(call, fault) if fault else await chat.arun_tool(self._tools, call)
                self._tell(call, result)
                await _in_thread(self._note, exchange, call, result)
        for piece in exchange.close():
            yield piece

    def _speaker(self) -> chat.Speaker:
        assert self.model is not None
        offered = list(self._tools.values())
        speaker = self._calling.speaker(self.model, offered) if offered else self.model
        speaker = speaker if self._counts else speaker.bind(stream_usage=False)
        return speaker if self._adapter is None else speaker.bind(model=self._adapter.name)

    def _quote(self, exchange: Exchange) -> str:
        return reply(exchange.question, exchange.recalled().items, private=self._private)

    def _tell(self, call: ToolCall, result: ToolMessage | None = None) -> None:
        if self.watch is not None:
            shown = result.artifact.note if result is not None and isinstance(result.artifact, FromMemory) else None
            told = shown if shown is not None or result is None else result.text
            self.watch(ToolStep(call["name"], _arguments(call), told, result is not None and result.status == "error"))

    def _begin(self, asked: str | Turn, instead_of: str | None = None) -> Exchange:
        """Keep the user's turn, and recall what bears on it."""
        text = asked if isinstance(asked, str) else asked.text
        if not text.strip():
            raise InputError("an empty question has no answer: say something")
        if instead_of is not None and not self._private:
            self.memory.supersede(instead_of, namespace=self.namespace)
        again = asked if isinstance(asked, Turn) else None
        said = [] if self.model is None else self._said(before=again)
        kept = None if self._private else again or self._keep(text, instead_of)
        self._answering = kept
        wanted, budget = self._settings.recall_items, self._settings.prompt_budget_tokens
        said, without = fitting.newest(said, budget), self._not_recalled(kept, again)
        first, left_out = self._take_choice()
        find = partial(self._find_after, first, text[:_LONGEST_QUERY])
        without += left_out
        found = find(wanted, [*without, *(one.id for one in said if one.id is not None)])
        more = partial(find, wanted + len(said), without)
        draft = Draft(text, found.items, wanted, said, (budget, budget), lambda: more().items)
        exchange = Exchange(draft, self.label, kept, found, anew=again is not None)
        exchange.note([("turn", kept.id)] if kept is not None else [])
        if self.model is None:
            exchange.show(found.items)
        return exchange

    def _take_choice(self) -> tuple[tuple[RecallItem, ...], list[str]]:
        """What is pinned, as far as it is still there, and what is left out: for one answer."""
        pinned, left_out = self.pinned, self.left_out
        self.pinned, self.left_out = (), frozenset()
        if not pinned:
            return (), list(left_out)
        with self.memory.backend.read() as reader:
            kinds: tuple[Kind, ...] = ("turn", "thought")
            ids = [item.id for item in pinned]
            there = {record.id for kind in kinds for record in reader.get(kind, ids, namespace=self.namespace)}
        return tuple(item for item in pinned if item.id in there), list(left_out)

    def _find_after(self, first: tuple[RecallItem, ...], query: str, k: int, without: Sequence[str]) -> Recollection:
        """What is pinned, and after it the `k` best others."""
        found = self._find(query, k, [*without, *(item.id for item in first)])
        return replace(found, items=(*first, *found.items))

    def _keep(self, text: str, instead_of: str | None) -> Turn | None:
        """The user's turn in the ledger; None while nothing is kept."""
        if self._private:
            return None
        parent, self._follows = instead_of or self._follows, None
        return self.memory.observe(
            "user",
            text,
            namespace=self.namespace,
            session=self.session,
            parent_id=parent,
            think=self._thinker is not None,
        )

    def _not_recalled(self, kept: Turn | None, again: Turn | None) -> list[str]:
        """The question itself, and where it is answered anew what followed it."""
        if again is None:
            return [kept.id] if kept is not None else []
        turns = self.memory.turns(namespace=self.namespace, session=again.session)
        return [turn.id for turn in turns if turn.seq >= again.seq]

    def _said(self, before: Turn | None = None) -> list[Said]:
        """The newest messages of this conversation (those `before` a turn), oldest first; then those of a private one,
        which are in no ledger."""
        shown: list[Turn] = []
        for limit in (HISTORY_TURNS, _LOOKED_THROUGH):
            turns = self.memory.thread(
                self.session, namespace=self.namespace, limit=limit, follows=self._follows, before=before
            )
            shown = [turn for turn in turns if turn.role in ("user", "assistant") and turn.status != "superseded"]
            if len(shown) == len(turns) or len(turns) < limit:
                break
        return [*(Said(turn.role, turn.text, turn.id) for turn in shown[HISTORY_TURNS - 1 :: -1]), *self._unkept]

    def _prepare(self, exchange: Exchange) -> None:
        """Make what is sent, as much of it as the model's window has room for."""
        assert self._window is not None
        self._adapter = self._fitting_adapter(exchange.question)
        exchange.note([] if self._adapter is None else [("adapter", self._adapter.id)])
        offered = list(self._tools.values())
        count = partial(self._window.count, tools=self._calling.declared(offered))
        fitted = fitting.fit(exchange.draft, partial(self._render, exchange), count, self._window.limit)
        exchange.put(fitted, self._calling.hearing(offered, thinks=self._thinks))

    def _fitting_adapter(self, question: str) -> Adapter | None:
        """The adapter to ask, None for the base model."""
        adapter = None if self._service is None else self._service.current()
        if adapter is None or self._settings.adapter_answers == "all":
            return adapter
        return adapter if concerns(self.memory, adapter, question[:_LONGEST_QUERY]) else None

    def _render(
        self, exchange: Exchange, items: Sequence[RecallItem], said: Sequence[Said], longest: int | None
    ) -> list[BaseMessage]:
        history = [(one.role, one.text) for one in said]
        offered = list(self._tools.values())
        after = prompt.shortened(exchange.after, exchange.question, longest)
        section = self._calling.section(offered, after) if offered else ""
        asked = prompt.messages(items, history, exchange.question, utc_now(), section)
        return [*asked, *self._calling.tail(after)]

    def _mended(self, exchange: Exchange, error: ModelError) -> bool:
        """Whether asking once more, otherwise, may go well; what is changed is remembered for later questions."""
        if not exchange.silent and not isinstance(error, UnparsedCallError):
            return False
        if chat.was_too_long(error) and "length" not in exchange.mended:
            assert self._window is not None
            declared = self._calling.declared(list(self._tools.values()))
            self._window.learn(str(error.__cause__), exchange.sent, declared)
            exchange.again("length")
            return True
        if chat.count_refused(error) and self._counts:
            self._counts = False
            exchange.again("count")
            return True
        if chat.has_gone(error) and self._adapter is not None and "adapter" not in exchange.mended:
            assert self._service is not None
            self._service.lost()
            exchange.again("adapter")
            return True
        return bool(self._tools) and self._call_otherwise(exchange, error)

    def _call_otherwise(self, exchange: Exchange, error: ModelError) -> bool:
        """Where the server cannot call tools, have calls written under a constraint; where it can do neither, or they
        are not worth it, leave out the memory's tools."""
        native = isinstance(self._calling, Native)
        unparsed = isinstance(error, UnparsedCallError) or chat.tools_refused(error)
        if not (unparsed if native else chat.constraint_refused(error)):
            return False
        cannot = not native or isinstance(error.__cause__, NotImplementedError)
        if self._own and not self._given and (cannot or self._only_native):
            self._own = {}
        elif cannot:
            return False
        else:
            self._calling = Constrained()
        exchange.again("tools")
        return True

    def _find(self, query: str, k: int, without: Sequence[str] = ()) -> Recollection:
        """By words alone where the embedder failed: a conversation goes on. With `wait` None the failure is raised."""
        try:
            return self.memory.recall(query, namespace=self.namespace, k=k, without=without, wait=self.wait)
        except EmbedderError:
            if self.wait is None:
                raise
            return self.memory.recall(query, namespace=self.namespace, k=k, without=without, wait=0)

    def _note(self, exchange: Exchange, call: ToolCall, result: ToolMessage) -> None:
        """Tell the model a tool's result, and keep it as an untrusted turn, the call with it. Of what memory's own
        tools bring the ledger keeps no more than that it came: it holds the rest already."""
        exchange.told(result)
        if exchange.user_turn is None:
            return
        said, marks = f"{call['name']}({_arguments(call)}):\n{result.text}", {}
        if isinstance(result.artifact, FromMemory):
            said, marks = result.artifact.note, {"quotes": True}
        elif call["name"] in self._own:
            said, marks = f"{call['name']}: failed", {"quotes": True}
        kept = self.memory.observe(
            "tool",
            said,
            namespace=self.namespace,
            session=self.session,
            speaker=call["name"],
            parent_id=exchange.user_turn.id,
            metadata=marks | ({"failed": True} if result.status == "error" else {}),
        )
        exchange.note([("turn", kept.id)])

    def _finish(self, exchange: Exchange, status: TurnStatus) -> None:
        """Keep the answer as far as it came, with edges to all that stood in its prompt. An answer in which something
        was erased isn't kept: the model had it before its eyes."""
        text, kept = exchange.text, None
        self._thinks |= exchange.begun_inside
        if exchange.user_turn is None:
            self._unkept.append(Said("user", exchange.question))
            if text.strip():
                self._unkept.append(Said("assistant", text))
        elif text.strip() and not exchange.erased:
            if exchange.anew:
                self.memory.supersede(exchange.user_turn.id, namespace=self.namespace, itself=False)
            kept = self.memory.observe(
                "assistant",
                text,
                namespace=self.namespace,
                session=self.session,
                parent_id=exchange.user_turn.id,
                status=status,
                metadata=self._marks(exchange),
                recalled=exchange.stood(),
            )
            if self._thinker is not None:
                self._thinker.wake()
        tokens = exchange.tokens if status == "complete" else None
        self.last = Answer(text, exchange.recalled(), exchange.user_turn, kept, self.label, tokens)

    def _marks(self, exchange: Exchange) -> dict[str, Any]:
        marks = {"quotes": self.model is None, "reasoned": exchange.reasoned}
        return {"model": self.label} | {name: True for name, holds in marks.items() if holds}

    def _answered(self) -> Answer:
        assert self.last is not None
        return self.last


def _arguments(call: ToolCall) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in call["args"].items())


async def _in_thread(work: Callable[..., R], *arguments: Any) -> R:
    """Run to its end in a thread even if the caller is cancelled: what was begun in the store is finished."""
    return await asyncio.shield(asyncio.to_thread(work, *arguments))
