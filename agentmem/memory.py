"""Memory: the facade over ledger, episodes, thoughts, recall and forgetting. Thread-safe; each call is one transaction.

Every method wants the namespace that it works in, a tuple of strings. Methods are synchronous; the same ones with an
"a" in front are coroutines.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from agentmem import branches, chunks, forget, jobs, ledger, thoughts, titles, views
from agentmem.bridge import to_async
from agentmem.clock import as_utc, utc_now
from agentmem.config import Settings, load_settings
from agentmem.embedqueue import EmbedQueue, Progress, State
from agentmem.erasure import Erasure
from agentmem.errors import InputError
from agentmem.interfaces import Backend, Clock, Embedder, Reader, Writer
from agentmem.namespaces import check_namespace
from agentmem.types import (
    Chunk,
    ForgetPlan,
    History,
    Inserted,
    Job,
    JobState,
    Kind,
    Namespace,
    NewTurn,
    Observed,
    Operation,
    Origin,
    Part,
    Precision,
    RecalledKind,
    Receipt,
    Recollection,
    Role,
    SessionInfo,
    Stats,
    Thought,
    ThoughtState,
    Turn,
    TurnStatus,
)

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agentmem.fusion import Weights
    from agentmem.learning import Learnt
    from agentmem.thinking.thinker import Thinker

_log = logging.getLogger(__name__)
_BATCH = 500
DEFAULT = ""
"""The embedder that the settings name."""


class Memory:
    """An agent's memory in one store.

    `store` is a path, a URL (`sqlite:///…`, `memory:`), an open Backend, or None for the settings' store. `embedder` is
    "bundled", the name or path of a sentence-transformers model, an Embedder, or None for full text only (by default
    what the settings name); it is loaded in the background at the first need. `weights` are recall's, None the shipped
    ones. Raises StoreError where the store cannot be opened.
    """

    def __init__(
        self,
        store: str | Path | Backend | None = None,
        *,
        embedder: Embedder | str | None = DEFAULT,
        settings: Settings | None = None,
        create: bool = True,
        clock: Clock = utc_now,
        weights: Weights | None = None,
    ) -> None:
        from agentmem.candidates import WHOLE
        from agentmem.fusion import DEFAULT as SHIPPED
        from agentmem.indexes.vectors import read_index
        from agentmem.indexing import Indexing
        from agentmem.outside import WHOLE as WHOLE_OUTSIDE
        from agentmem.plugins import is_url, open_index
        from agentmem.recall import RecallEngine
        from agentmem.search import Search

        self.settings = settings or load_settings()
        self._clock = clock
        outside = is_url(self.settings.index)
        new_index = read_index("auto" if outside else self.settings.index)
        index = open_index(self.settings.index, self.settings) if outside else None
        self.backend = self._open(self.settings.store if store is None else store, create)
        self._indexing = Indexing(self.backend, index) if index is not None else None
        self._engine = RecallEngine(
            self.backend,
            clock=clock,
            weights=weights or SHIPPED,
            whole=WHOLE_OUTSIDE if outside else WHOLE,
            new_index=new_index,
            indexing=self._indexing,
        )
        self._queue = EmbedQueue(self.backend, self._engine, self._loader(embedder))
        self._search = Search(self.backend, self._engine, self._queue, self.settings)
        self._closed = False
        self._thinking = threading.Lock()
        self._thinker: Thinker | None = None
        self._erasure = Erasure(self.backend, clock, self._indexing)
        self._erasure.finish()

    def _open(self, store: str | Path | Backend, create: bool) -> Backend:
        from agentmem.plugins import open_store

        if isinstance(store, (str, Path)):
            return open_store(str(store), self.settings, create=create, clock=self._clock)
        return store

    def _loader(self, embedder: Embedder | str | None) -> Any:
        if embedder is None:
            return None
        if not isinstance(embedder, str):
            return lambda: embedder
        from agentmem.embed import load_embedder

        return partial(load_embedder, embedder or self.settings.embedder, device=self.settings.embedder_device)

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the worker and close the store; what waits in the queue stays there. Closing twice does nothing more."""
        if self._closed:
            return
        self._closed = True
        if self._thinker is not None:
            self._thinker.close()
        self._engine.builder.close()
        self._queue.close()
        self._erasure.finish()
        if self._indexing is not None:
            self._indexing.close()
        self.backend.close()

    # -- the ledger ---------------------------------------------------------------------------------------------

    def observe(
        self,
        role: Role,
        content: str | Sequence[Part],
        *,
        namespace: Namespace,
        session: str = "default",
        speaker: str | None = None,
        occurred_at: datetime | None = None,
        zone: str = "UTC",
        precision: Precision = "second",
        source: str | None = None,
        external_id: str | None = None,
        parent_id: str | None = None,
        status: TurnStatus = "complete",
        metadata: Mapping[str, Any] | None = None,
        recalled: Sequence[tuple[Kind, str]] = (),
        think: bool = False,
    ) -> Turn:
        """Append one turn to the ledger; it is durable when this returns, and searchable by its words.

        `recalled` is what stood in the prompt of an answer (see `record_recalled`). With `think` a user's turn is
        queued to be thought about (see `thinker`) when the answer that names it as its `parent_id` is there. A turn
        known by (source, external_id) is returned as it is. Raises InputError for an empty or malformed turn,
        ConflictError for one that was forgotten.
        """
        new = NewTurn(
            role=role,
            parts=ledger.as_parts(content),
            session=session,
            speaker=speaker,
            occurred_at=occurred_at,
            zone=zone,
            precision=precision,
            source=source,
            external_id=external_id,
            parent_id=parent_id,
            status=status,
            metadata=metadata or {},
        )
        checked, namespace = ledger.check_turn(new), check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            turn = ledger.append_one(self._appender(writer, namespace, think), checked)
            ledger.link_recalled(writer, turn.id, recalled, namespace=turn.namespace)
        self._queue.wake()
        return turn

    def observe_many(self, turns: Iterable[NewTurn], *, namespace: Namespace, think: bool = False) -> Observed:
        """Append many turns, 500 a transaction; what is empty, forgotten or known (by source and id) is counted."""
        counts: list[Observed] = []
        namespace, pending = check_namespace(namespace), iter(turns)
        while batch := list(islice(pending, _BATCH)):
            with self.backend.write(namespace) as writer:
                counts.append(ledger.append_all(self._appender(writer, namespace, think), batch))
        self._queue.wake()
        return Observed(
            added=tuple(chain.from_iterable(c.added for c in counts)),
            known=sum(c.known for c in counts),
            suppressed=sum(c.suppressed for c in counts),
            empty=sum(c.empty for c in counts),
        )

    def _appender(self, writer: Writer, namespace: Namespace, think: bool) -> ledger.Appender:
        return ledger.Appender(writer, namespace, self._clock(), self.settings.chunk_turns, think)

    def set_status(self, turn_id: str, status: TurnStatus, *, namespace: Namespace) -> Turn:
        """Mark a turn as complete, cancelled or superseded; its content stays."""
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            turn = ledger.check_turn(replace(views.get_turn(writer, turn_id, namespace=namespace), status=status))
            assert isinstance(turn, Turn)
            writer.replace([turn])
        return turn

    def supersede(self, turn_id: str, *, namespace: Namespace, itself: bool = True) -> int:
        """Mark a turn (`itself`) and what follows it in its session as superseded; return how many that were.

        They stay in the ledger; recall and models pass them over. Thoughts drawn from nothing else are retracted.
        """
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            turn = views.get_turn(writer, turn_id, namespace=namespace)
            return branches.supersede(writer, turn, itself=itself, namespace=namespace, now=self._clock())

    def thread(
        self,
        session: str,
        *,
        namespace: Namespace,
        limit: int,
        follows: str | None = None,
        before: Turn | None = None,
    ) -> list[Turn]:
        """The newest `limit` turns of a conversation (those `before` one of its turns), newest first: of a fork, what
        it goes on after is part of it. `follows` is that for a session that is still empty."""
        with self.backend.read() as reader:
            found = branches.thread(
                reader, session, namespace=check_namespace(namespace), limit=limit, follows=follows, before=before
            )
            return list(found)

    def record_recalled(self, answer_id: str, items: Sequence[tuple[Kind, str]], *, namespace: Namespace) -> None:
        """Note which records stood in the prompt of an answer, so that forgetting one of them can find the answer.

        What is not there (forgotten meanwhile, or of another namespace) is passed over.
        """
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            ledger.link_recalled(writer, answer_id, items, namespace=namespace)

    def get_turn(self, turn_id: str, *, namespace: Namespace) -> Turn:
        with self.backend.read() as reader:
            return views.get_turn(reader, turn_id, namespace=check_namespace(namespace))

    def turns(
        self, *, namespace: Namespace, session: str | None = None, limit: int | None = None, descending: bool = False
    ) -> list[Turn]:
        """Turns in the order they were recorded, or of one session in its order; the newest first if `descending`."""
        where = None if session is None else {"session": session}
        order = "id" if session is None else "seq"
        with self.backend.read() as reader:
            found = reader.select(
                "turn",
                namespace=check_namespace(namespace),
                where=where,
                order=order,
                descending=descending,
                limit=limit,
            )
            return list(found)

    def find_turns(self, words: str, *, namespace: Namespace, limit: int = 100) -> list[Turn]:
        """The newest `limit` turns that hold all these words (by their stems), whatever became of them since."""
        namespace = check_namespace(namespace)
        ids = self._engine.turns_with_all_terms(words, namespace=namespace)
        with self.backend.read() as reader:
            found: list[Turn] = reader.get("turn", sorted(ids)[-limit:], namespace=namespace)
        return found[::-1]

    def sessions(self, *, namespace: Namespace) -> list[SessionInfo]:
        """The sessions by their last turn, latest first, with what the user calls them."""
        with self.backend.read() as reader:
            return titles.sessions(reader, namespace=check_namespace(namespace))

    def rename_session(self, session: str, title: str, *, namespace: Namespace) -> str | None:
        """Call a session by a title; an empty one takes its title away. Return what it is called now."""
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            return titles.rename(writer, session, title, namespace=namespace, now=self._clock())

    def namespaces(self, root: Namespace = ()) -> list[Namespace]:
        with self.backend.read() as reader:
            return reader.namespaces(root=root)

    # -- episodes -----------------------------------------------------------------------------------------------

    def open_chunk(self, turn_id: str, *, namespace: Namespace, around: int = 0) -> list[Turn]:
        """The turns of the chunk that holds a turn, and of `around` chunks on both sides of it in its session."""
        with self.backend.read() as reader:
            return views.chunk_around(reader, turn_id, namespace=check_namespace(namespace), around=around)

    def rebuild_chunks(self, *, namespace: Namespace) -> int:
        """Make all chunks anew from the ledger, by the settings' size; return how many there are."""
        namespace, size = check_namespace(namespace), self.settings.chunk_turns
        with self.backend.write(namespace) as writer:
            return chunks.rebuild(writer, namespace=namespace, now=self._clock(), size=size)

    def chunks(self, *, namespace: Namespace, session: str | None = None) -> list[Chunk]:
        """The chunks in the order they began, or those of one session in its order, each with its summary if any."""
        where, order = ({}, None) if session is None else ({"session": session}, "first_seq")
        with self.backend.read() as reader:
            return list(reader.select("chunk", namespace=check_namespace(namespace), where=where, order=order))

    def summarize(self, chunk_id: str, text: str | None, *, namespace: Namespace) -> Chunk:
        """Give a closed chunk a summary, which recall then uses as one more key to its turns, or take it away (None).

        Forgetting one of the turns erases it. Raises SecretError for a text that holds a secret.
        """
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            chunk = chunks.summarize(writer, chunk_id, text, namespace=namespace, now=self._clock())
        self._queue.wake()
        return chunk

    # -- thoughts -----------------------------------------------------------------------------------------------

    def insert(
        self,
        text: str,
        *,
        namespace: Namespace,
        sources: Sequence[str] = (),
        head: str | None = None,
        relation: str | None = None,
        tail: str | None = None,
        origin: Origin = "user",
        trusted: bool = True,
        valid_from: datetime | None = None,
        supersedes: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Inserted:
        """Remember a statement, or strengthen the live thought of equal text; `supersedes` retracts what it replaces.

        `sources` are ids of turns; `valid_from` defaults to when the latest of them occurred, else to now. Raises
        SecretError for a text that holds a secret.
        """
        namespace, now = check_namespace(namespace), self._clock()
        given = {"head": head, "relation": relation, "tail": tail, "origin": origin, "trusted": trusted}
        with self.backend.write(namespace) as writer:
            if valid_from is None and sources:
                turns: list[Turn] = writer.get("turn", sources, namespace=namespace)
                valid_from = max((turn.occurred_at for turn in turns), default=None)
            thought = thoughts.draft(
                text, namespace=namespace, now=now, valid_from=valid_from, metadata=metadata or {}, **given
            )
            done = thoughts.insert(writer, thought, sources=sources)
            if supersedes is not None:
                until = thought.valid_from
                thoughts.retract(
                    writer, supersedes, namespace=namespace, now=now, superseded_by=done.thought.id, valid_to=until
                )
        self._queue.wake()
        return done

    def retract(
        self,
        thought_id: str,
        *,
        namespace: Namespace,
        superseded_by: str | None = None,
        valid_to: datetime | None = None,
    ) -> Operation:
        """Say that a thought is true no more (from `valid_to`, default now). It stays in history; `undo` revives it."""
        namespace, now = check_namespace(namespace), self._clock()
        with self.backend.write(namespace) as writer:
            return thoughts.retract(
                writer, thought_id, namespace=namespace, now=now, superseded_by=superseded_by, valid_to=valid_to or now
            )

    def merge(self, thought_ids: Sequence[str], text: str, *, namespace: Namespace) -> tuple[Thought, Operation]:
        """Make one thought of several; it keeps their provenance, and `undo` or forgetting one of them dissolves it."""
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            merged = thoughts.merge(writer, thought_ids, text, namespace=namespace, now=self._clock())
        self._queue.wake()
        return merged

    def undo(self, operation_id: str | None = None, *, namespace: Namespace) -> Operation:
        """Take back a merge or a retraction; None takes back the newest one that still stands."""
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            return thoughts.undo(writer, operation_id, namespace=namespace, now=self._clock())

    def get_thought(self, thought_id: str, *, namespace: Namespace) -> Thought:
        with self.backend.read() as reader:
            return views.get_thought(reader, thought_id, namespace=check_namespace(namespace))

    def thoughts(
        self,
        *,
        namespace: Namespace,
        state: ThoughtState | None = "live",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> list[Thought]:
        """Thoughts in a state (None: any); with a date, those true at `as_of` by what was known at `known_at`."""
        with self.backend.read() as reader:
            return views.thoughts(
                reader,
                namespace=check_namespace(namespace),
                state=state,
                as_of=as_of and as_utc(as_of),
                known_at=known_at and as_utc(known_at),
                now=self._clock(),
            )

    def history(self, thought_id: str, *, namespace: Namespace) -> History:
        with self.backend.read() as reader:
            return views.history(reader, thought_id, namespace=check_namespace(namespace))

    def thinker(self, model: BaseChatModel) -> Thinker:
        """Who thinks about what waits for it (`observe(think=True)`), behind the answers when woken, or in a flush.

        There is one for a memory; it thinks with the model named last.
        """
        from agentmem.thinking.thinker import Thinker

        with self._thinking:
            if self._thinker is None:
                self._thinker = Thinker(self.backend, self._engine, self._queue, self.settings, self._clock)
            self._thinker.use(model)
            return self._thinker

    def learnt(self, turn_ids: Sequence[str], *, namespace: Namespace) -> list[Learnt] | None:
        """What came of these turns by thinking about them, and what that ended; None while one still waits for it."""
        from agentmem import learning

        namespace = check_namespace(namespace)
        with self.backend.read() as reader:
            if learning.is_pending(reader, turn_ids, namespace=namespace):
                return None
            return learning.learnt_from(reader, turn_ids, namespace=namespace)

    # -- recall -------------------------------------------------------------------------------------------------

    def recall(
        self,
        query: str,
        *,
        namespace: Namespace,
        k: int = 10,
        budget: int | None = None,
        subtree: bool = False,
        session: str | None = None,
        kinds: Sequence[RecalledKind] = ("turn", "thought"),
        speaker: str | None = None,
        origin: Origin | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        without: Sequence[str] = (),
        wait: float | None = None,
    ) -> Recollection:
        """The `k` best remembered things for a query, within `budget` tokens; no model call. The parts of a question
        that asks for several things take turns (agentmem/questions.py).

        `subtree` asks every namespace at or below this one. `session`, `kinds`, `speaker` (of turns: a name or a role),
        `origin` (of thoughts), `after` (inclusive), `before` (exclusive), `as_of` and `known_at` are conditions
        (`filters.Conditions`), and as many as `k` come back where so many meet them; `without` are ids of what is not
        wanted. With a reranker in the settings its candidates are ordered by it too, and fill the budget. `wait` bounds
        the seconds to wait for the embedder and the reranker (None: until they are up; 0: not at all): without the one
        full text answers alone, without the other the order is that of the other signals. Raises InputError for an
        empty query or impossible conditions, EmbedderError where the embedder was waited for and failed, SettingsError
        where the reranker was and `wait` is None.
        """
        from agentmem.filters import Conditions

        namespace = check_namespace(namespace)
        conditions = Conditions(
            kinds=kinds,
            session=session,
            speaker=speaker,
            origin=origin,
            after=after,
            before=before,
            as_of=as_of,
            known_at=known_at,
        )
        self._erasure.finish()
        namespaces = self.namespaces(namespace) if subtree else [namespace]
        found = self._search.recall(
            query, conditions, namespaces=namespaces, k=k, budget=budget, wait=wait, without=without, named=subtree
        )
        if self._indexing is None or self._indexing.trouble is None:
            return found
        return replace(found, notes=(self._indexing.trouble,))

    def reading(self, query: str, *, namespace: Namespace, subtree: bool = False) -> dict[str, tuple[str, ...]]:
        """What `recall` reads a query as: its parts, its stems, the speakers it names, … (`explain.reading`)."""
        namespace = check_namespace(namespace)
        return self._search.reading(query, self.namespaces(namespace) if subtree else [namespace])

    @property
    def embedder_state(self) -> State:
        return self._queue.state

    @property
    def embedder_error(self) -> str | None:
        return str(self._queue.error) if self._queue.error else None

    def flush(self, *, progress: Progress | None = None) -> int:
        """Do all waiting work in this thread: vectors, what recall has to build and to keep as snapshots, erasures
        that were delayed, and what an index outside has not got yet. Returns vectors set."""
        self._erasure.finish()
        done = self._queue.flush(progress)
        if self._indexing is not None:
            self._indexing.catch_up_all()
        self._engine.builder.build()
        return done

    def reindex(self, *, progress: Progress | None = None) -> int:
        """Embed everything anew with this memory's embedder, whatever the vectors came from. Resumable: what was not
        reached stays queued for the next `flush`. Returns how many records were to be done."""
        return self._queue.reindex(self._clock(), progress)

    # -- forgetting ---------------------------------------------------------------------------------------------

    def plan_forget(
        self,
        ids: Sequence[str] = (),
        *,
        namespace: Namespace,
        session: str | None = None,
        before: datetime | None = None,
        keep_source: bool = False,
        repeats: bool = True,
        echoes: bool = True,
    ) -> ForgetPlan:
        """What forgetting these turns and thoughts, a session, or all before a date would take. Changes nothing."""
        namespace = check_namespace(namespace)
        chosen = forget.Choice(ids, session, before and as_utc(before), keep_source, repeats, echoes)
        find = partial(self._engine.turns_with_all_terms, namespace=namespace)
        return forget.prepare(self.backend, find, chosen, namespace=namespace)

    def forget(
        self,
        what: ForgetPlan | Sequence[str],
        *,
        namespace: Namespace,
        keep_source: bool = False,
        repeats: bool = True,
        echoes: bool = True,
    ) -> Receipt:
        """Erase what a plan lists, or what a plan for these ids would list; the receipt says what went.

        `keep_source` leaves the turns and records that the thoughts must not come back from them.
        """
        namespace = check_namespace(namespace)
        if not isinstance(what, ForgetPlan):
            what = self.plan_forget(what, namespace=namespace, keep_source=keep_source, repeats=repeats, echoes=echoes)
        if what.namespace != namespace:
            raise InputError("this plan was made for another namespace: plan again in this one")
        with self.backend.write(namespace) as writer:
            gone, restored = forget.carry_out(writer, what, now=self._clock())
            self._erasure.intend(writer, namespace)
        left = self._retire(gone, namespace) if gone["thoughts"] else []
        return self._erasure.receipt(gone, restored, left)

    def _retire(self, gone: Mapping[str, tuple[str, ...]], namespace: Namespace) -> list[str]:
        """What is left of the adapters that just left service: their files, and unfinished training sets, are removed,
        and the server that is named lets go of them."""
        from agentmem.consolidation.service import retire

        return retire(self.settings, gone["adapters"], namespace)

    def erase(self, *, namespace: Namespace) -> Receipt:
        """Erase everything of exactly this namespace."""
        namespace = check_namespace(namespace)
        kinds: tuple[Kind, ...] = ("turn", "chunk", "thought")
        with self.backend.write(namespace) as writer:
            gone = {f"{kind}s": tuple(writer.columns(kind, ["id"], namespace=namespace)["id"]) for kind in kinds}
            gone["adapters"] = tuple(writer.columns("adapter", ["name"], namespace=namespace)["name"])
            writer.remove_namespace(namespace=namespace)
            self._erasure.intend(writer, namespace)
        self._engine.drop(namespace)
        self.backend.reclaim()
        return self._erasure.receipt(gone, (), self._retire(gone, namespace))

    def expire(self, *, namespace: Namespace, older_than: timedelta) -> Receipt | None:
        """Forget turns that occurred longer ago than this, and what was derived from them; None if there are none."""
        before = self._clock() - older_than
        plan = self.plan_forget(namespace=namespace, before=before, repeats=False, echoes=False)
        return self.forget(plan, namespace=namespace) if plan.turns else None

    # -- the store ----------------------------------------------------------------------------------------------

    def resolve(self, shortened: str, *, namespace: Namespace) -> tuple[Kind, str]:
        """Kind and id of the turn or thought whose id is, begins or ends with `shortened`."""
        with self.backend.read() as reader:
            return views.resolve(reader, shortened, namespace=check_namespace(namespace))

    def stats(self, *, namespace: Namespace) -> Stats:
        return views.stats(self.backend, namespace=check_namespace(namespace))

    def jobs(self, *, namespace: Namespace, state: JobState | None = None) -> list[Job]:
        """The work that waits in this namespace ("queued"), or was given up after several tries ("parked")."""
        with self.backend.read() as reader:
            return jobs.listed(reader, namespace=check_namespace(namespace), state=state)

    def retry_jobs(self, ids: Sequence[str] | None, *, namespace: Namespace) -> int:
        """Have work tried again, as if never tried (None: all that is parked); return how much that is."""
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            done = jobs.retry(writer, _or_parked(writer, ids, namespace), namespace=namespace, now=self._clock())
        self._queue.wake()
        if self._thinker is not None:
            self._thinker.wake()
        return done

    def drop_jobs(self, ids: Sequence[str] | None, *, namespace: Namespace) -> int:
        """Give work up (None: all that is parked); return how much. What it was about stays remembered."""
        namespace = check_namespace(namespace)
        with self.backend.write(namespace) as writer:
            return jobs.drop(writer, _or_parked(writer, ids, namespace), namespace=namespace)

    def backup(self, path: str | Path) -> None:
        """Write a consistent, verified copy of the store; later receipts name it as the user's to remove."""
        from agentmem.transfer import remember_copy

        self.backend.backup(Path(path))
        remember_copy(self.backend, Path(path), "backup", self._clock)

    aobserve = to_async(observe)
    aobserve_many = to_async(observe_many)
    ainsert = to_async(insert)
    aretract = to_async(retract)
    amerge = to_async(merge)
    aundo = to_async(undo)
    aplan_forget = to_async(plan_forget)
    aforget = to_async(forget)
    aerase = to_async(erase)
    arecall = to_async(recall)
    aopen_chunk = to_async(open_chunk)
    aflush = to_async(flush)


def _or_parked(reader: Reader, ids: Sequence[str] | None, namespace: Namespace) -> Sequence[str]:
    if ids is not None:
        return ids
    return [job.id for job in jobs.listed(reader, namespace=namespace, state="parked")]
