"""What the app knows of the conversation: the agent, the session, and what the store holds of both. No widgets here.

All methods but `stream` wait for the store and run in worker threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from agentmem.clock import utc_now
from agentmem.ids import new_id
from agentmem.models.extractive import STAND_IN
from agentmem.types import Chunk, ForgetPlan, Namespace, RecallItem, Receipt, SessionInfo, Thought, Turn, only_quotes
from agentmem_tui.keys import hint

if TYPE_CHECKING:
    from agentmem import Agent, Memory
    from agentmem.agent import Answer, ChosenModel
    from agentmem.config import Settings
    from agentmem.exchange import Watch
    from agentmem.findings import Finding
    from agentmem.interfaces import Clock
    from agentmem.learning import Learnt
    from agentmem.tools import Confirm

_TITLED = 200
"""Sessions that get their first words as a title; older ones show their name."""
_TITLE = 200
_ENDLESS = 2**62
_LOOKED_THROUGH = 3
"""Turns looked through for each that is shown: superseded ones and tools' results stand between."""
RECALLED_THEN = "recalled when this was answered"


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as the list shows it: `title` is what the user calls it (`named`), else the first thing said in it."""

    session: str
    title: str
    turns: int
    last_at: datetime
    named: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What the user says: `again` is the turn of theirs that is to be answered anew, `instead_of` the one that this
    text takes the place of."""

    text: str
    again: str | None = None
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be forgotten: turns and thoughts by their ids, or a whole session."""

    ids: tuple[str, ...] = ()
    session: str | None = None


class Conversation:
    """One namespace's conversation in one session at a time."""

    def __init__(
        self,
        memory: Memory,
        *,
        namespace: Namespace,
        chosen: ChosenModel,
        settings: Settings | None,
        session: str | None,
        clock: Clock | None,
        private: bool,
    ) -> None:
        self.memory = memory
        self.namespace = namespace
        self.chosen = chosen
        self.session = session or new_id()
        self.now = clock or utc_now
        self._settings = settings
        self._private = private
        self.confirm: Confirm | None = None
        self.watch: Watch | None = None
        self.versions = False
        """Whether what was superseded is shown too."""
        self.changed_elsewhere = False
        """Whether a page beside the chat has had something forgotten."""
        self.forgotten: list[str] = []
        """Ids of the thoughts that were forgotten since the chat began."""
        self._follows: str | None = None
        self._choice: tuple[tuple[RecallItem, ...], frozenset[str]] = ((), frozenset())
        self._agent: Agent | None = None
        self._titles: dict[str, str] = {}
        self._making = threading.Lock()

    @property
    def settings(self) -> Settings:
        return self._settings or self.memory.settings

    def key(self, name: str) -> str:
        """The key that does what is named (keys.named), as the user has set it."""
        return hint(self.settings.keys, name)

    @property
    def private(self) -> bool:
        return self._private

    @private.setter
    def private(self, private: bool) -> None:
        self._private = private
        self.restart()

    def switch(self, session: str | None) -> None:
        """Go on in another session; None begins one."""
        self.session = session or new_id()
        self._follows = None
        self.restart()

    def fork(self, after: str) -> None:
        """Begin a session that goes on after a turn of this one."""
        self.switch(None)
        self._follows = after

    def restart(self) -> None:
        """Let the next question be answered by an agent that knows only what the store holds now."""
        self._agent = None

    def agent(self) -> Agent:
        """The agent, made at the first need: its imports take longer than the app's first picture may."""
        with self._making:
            if self._agent is None:
                from agentmem import Agent

                self._agent = Agent(
                    self.memory,
                    self.chosen.model,
                    namespace=self.namespace,
                    session=self.session,
                    memory_tools="auto",
                    private=self._private,
                    settings=self._settings,
                    confirm=self.confirm,
                )
                self._agent.watch = self.watch
                if self._follows is not None:
                    self._agent.begin_session(self.session, after=self._follows)
            return self._agent

    async def stream(self, question: Question) -> AsyncGenerator[str, None]:
        """The pieces of the answer; closing early keeps what came as a cancelled turn."""
        agent = await asyncio.to_thread(self.agent)
        (agent.pinned, agent.left_out), self._choice = self._choice, ((), frozenset())
        asked: str | Turn = question.text
        if question.again is not None:
            asked = await asyncio.to_thread(self.memory.get_turn, question.again, namespace=self.namespace)
        async with aclosing(agent.astream(asked, instead_of=question.instead_of)) as pieces:
            async for piece in pieces:
                yield piece

    def last(self) -> Answer | None:
        return self._agent.last if self._agent is not None else None

    def turns(self, count: int) -> tuple[list[Turn], bool]:
        """The conversation's newest `count` turns in order, and whether there are older ones. What was superseded is
        left out, unless `versions` is set; so is what memory's own tools found, which the answer's items show."""
        looked = _LOOKED_THROUGH * count
        found = self.memory.thread(self.session, namespace=self.namespace, limit=looked, follows=self._follows)
        newest = [turn for turn in found if self._is_shown(turn)]
        return newest[:count][::-1], len(newest) > count or len(found) == looked

    def _is_shown(self, turn: Turn) -> bool:
        return (self.versions or turn.status != "superseded") and not (turn.role == "tool" and only_quotes(turn))

    def choose(self, pinned: tuple[RecallItem, ...], left_out: frozenset[str]) -> None:
        """For the next answer: what is recalled first, and what is not."""
        self._choice = pinned, left_out

    def learnt(self, turn_ids: Sequence[str]) -> list[Learnt] | None:
        return self.memory.learnt(turn_ids, namespace=self.namespace)

    def unlearn(self, learnt: Learnt) -> str:
        """Take back what was learnt, as far as that is possible; say what was done."""
        if learnt.operation is not None:
            self.memory.undo(learnt.operation, namespace=self.namespace)
            return "Taken back: what was there before holds again"
        if learnt.how == "new":
            self.memory.retract(learnt.thought.id, namespace=self.namespace)
            return "Taken back: it counts as true no more, and stays in the history"
        return f"It was known before: retract or forget it in the memory browser ({self.key('chat.memory')})"

    def find(self, words: str) -> list[Turn]:
        """What was said anywhere that holds all the words, newest first."""
        return self.memory.find_turns(words, namespace=self.namespace)

    def sessions(self) -> list[SessionRow]:
        """All sessions, the latest first."""
        infos = self.memory.sessions(namespace=self.namespace)
        return [self._row(info, titled=place < _TITLED) for place, info in enumerate(infos)]

    def rename(self, session: str, title: str) -> None:
        """Call a session by a title; an empty one gives it its first words back."""
        self.memory.rename_session(session, title, namespace=self.namespace)

    def _row(self, info: SessionInfo, *, titled: bool) -> SessionRow:
        if info.title is not None:
            return SessionRow(info.session, info.title, info.turns, info.last_at, named=True)
        if titled and info.session not in self._titles:
            opening = self.memory.turns(namespace=self.namespace, session=info.session, limit=1)
            self._titles[info.session] = opening[0].text[:_TITLE] if opening else info.session
        return SessionRow(info.session, self._titles.get(info.session, info.session), info.turns, info.last_at)

    def recalled_for(self, answer_id: str) -> tuple[RecallItem, ...]:
        """What the ledger says was recalled for an answer, best first. Scores are not kept: they are 0.

        The ledger notes all that stood in the prompt, the conversation itself among it, which is left out here: the
        turns of the same session that are near enough before the answer.
        """
        with self.memory.backend.read() as reader:
            answer: list[Turn] = reader.get("turn", [answer_id], namespace=self.namespace)
            edges = reader.edges(namespace=self.namespace, children=[answer_id], relation="recalled")
            ids = [edge.parent for edge in edges]
            turns: list[Turn] = reader.get("turn", ids, namespace=self.namespace)
            thoughts: list[Thought] = reader.get("thought", ids, namespace=self.namespace)
        recalled = [turn for turn in turns if not (answer and _stood_before(turn, answer[0]))]
        found = {item.id: item for item in [*map(as_item, recalled), *map(as_item, thoughts)]}
        return tuple(found[i] for i in dict.fromkeys(ids) if i in found)

    def standing_around(self, item: RecallItem, chunks: int) -> tuple[list[Turn], list[str]]:
        """The turns around an item, `chunks` more on both sides, and the ids of those it is or came from."""
        sought = [item.id]
        if item.kind == "thought":
            sought = [turn.id for turn in self.memory.history(item.id, namespace=self.namespace).sources]
        if not sought:
            return [], []
        return self.memory.open_chunk(sought[0], namespace=self.namespace, around=chunks), sought

    def plan_forget(self, target: Target, *, keep_source: bool, repeats: bool, echoes: bool) -> ForgetPlan:
        return self.memory.plan_forget(
            target.ids,
            namespace=self.namespace,
            session=target.session,
            keep_source=keep_source,
            repeats=repeats,
            echoes=echoes,
        )

    def forget(self, plan: ForgetPlan) -> Receipt:
        receipt = self.memory.forget(plan, namespace=self.namespace)
        self.forgotten += receipt.forgotten["thoughts"]
        self._titles.clear()
        self.restart()
        return receipt

    def chunks(self, session: str) -> list[tuple[Chunk, Turn | None]]:
        """The chunks of a session, each with its first turn."""
        chunks = self.memory.chunks(namespace=self.namespace, session=session)
        where = {"session": session, "seq": [chunk.first_seq for chunk in chunks]}
        with self.memory.backend.read() as reader:
            openings = {turn.seq: turn for turn in reader.select("turn", namespace=self.namespace, where=where)}
        return [(chunk, openings.get(chunk.first_seq)) for chunk in chunks]

    def chunk_turns(self, chunk: Chunk) -> list[Turn]:
        last = _ENDLESS if chunk.last_seq is None else chunk.last_seq + 1
        where = {"session": chunk.session, "seq": range(chunk.first_seq, last)}
        with self.memory.backend.read() as reader:
            return list(reader.select("turn", namespace=self.namespace, where=where, order="seq"))

    def examine(self) -> list[Finding]:
        """What the doctor finds."""
        from agentmem.doctor import examine

        settings = self.settings
        given = {"store": settings.store, "model": settings.model, "base_url": settings.base_url}
        return examine({name: value for name, value in given.items() if value is not None})

    def warm_up(self) -> None:
        """Let the embedder load and the namespace be read while the user still writes the first question."""
        self.memory.recall(self.namespace[-1], namespace=self.namespace, k=1, wait=0)

    def load_sample(self) -> int:
        """Put a conversation to try things with into the memory; return how many turns of it are new."""
        from agentmem_tui.sample import turns

        return len(self.memory.observe_many(turns(), namespace=self.namespace).added)

    def remembered(self) -> int:
        """Turns in this namespace."""
        return sum(info.turns for info in self.memory.sessions(namespace=self.namespace))

    def waiting(self) -> int:
        """Memories of this namespace that wait for their vectors."""
        queued = {"task": "embed", "state": "queued"}
        with self.memory.backend.read() as reader:
            return reader.count("job", namespace=self.namespace, where=queued)


def _stood_before(turn: Turn, answer: Turn) -> bool:
    """Whether the turn is the question itself, or was shown to a model as the conversation so far."""
    from agentmem.agent import HISTORY_TURNS

    if turn.id == answer.parent_id or answer.metadata.get("model") == STAND_IN:
        return turn.id == answer.parent_id
    return turn.session == answer.session and 0 < answer.seq - turn.seq <= HISTORY_TURNS + 1


def as_item(record: Turn | Thought) -> RecallItem:
    """A record as one shows what was recalled, without a score."""
    if isinstance(record, Thought):
        origin = {"origin": record.origin}
        return RecallItem(record.id, "thought", record.text, 0.0, record.valid_from, origin, RECALLED_THEN)
    source = {"session": record.session, "seq": record.seq, "role": record.role, "speaker": record.speaker}
    return RecallItem(record.id, "turn", record.text, 0.0, record.occurred_at, source, RECALLED_THEN)
