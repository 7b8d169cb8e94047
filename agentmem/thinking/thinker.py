"""The durable queue of what is to be thought about, and who works it off: behind the answers, or in a flush.

A job names a turn. What was made of it is stored in the transaction that removes the job, so a kill repeats the calls
to the model and doubles nothing. A fault of the answer is tried again later, alone, and at last parked with its name; a
server that does not answer is waited for, and counts as no try.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from agentmem import chunks
from agentmem.costs import add_costs
from agentmem.embedqueue import EmbedQueue, Progress, encode
from agentmem.errors import EmbedderError, InputError, ModelError
from agentmem.interfaces import Backend, Clock, Matrix, Writer
from agentmem.ledger import SUMMARIZE, THINK, change_jobs
from agentmem.models.structured import Asker, Reply, Usage
from agentmem.models.window import Window
from agentmem.thinking.applying import Applying
from agentmem.thinking.asking import EXTRACT, RECONCILE, SUMMARISE, Task, extract_messages, summarise_messages
from agentmem.thinking.checking import Note, foreign, notes
from agentmem.thinking.comparing import NEW, Comparison, Decision, compare
from agentmem.thinking.exchanges import Exchange, chunk_turns, gather
from agentmem.types import Job, Namespace
from agentmem.worker import Worker

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from agentmem.config import Settings
    from agentmem.recall import RecallEngine

_TRIES = 4
"""After so many the job is parked."""
_BACKOFF = timedelta(seconds=30)
"""From the first failure to the next try; four times as long each time."""
_CLAIMED = 16
"""Exchanges taken off the queue at once."""
_LEASE_SECONDS = 120.0
"""How long what a killed process had claimed waits. What takes longer may be thought about twice, and stored once."""
_GATHER_SECONDS = 0.3
_LOOK_SECONDS = 30.0
"""How often the queue is looked at without being woken: for what is to be tried again, and a server that is back."""
_LEAST = 128
"""Tokens of data, and of an answer, that are tried in the smallest window."""
_INSTRUCTION = 200
"""Tokens to leave for the instruction, and for what a chat template puts around it."""
_EMBEDDER_SECONDS = 10.0
_LAST_SECONDS = 1.0
"""How long closing waits for the worker: long enough to store what it has, not for a model."""
Batches: TypeAlias = "Callable[[Sequence[Job]], Iterator[tuple[Namespace, list[Job]]]]"
_log = logging.getLogger(__name__)


class Fault(Exception):
    """Why exchanges could not be thought about, without a word of them. It never leaves this module."""

    def __init__(self, reason: str, usage: Usage) -> None:
        super().__init__(reason)
        self.usage = usage


@dataclass(frozen=True, slots=True)
class _Thought:
    """What the model made of some exchanges: statements with what becomes of them, and what that cost."""

    notes: Sequence[Note]
    decisions: Sequence[Decision]
    refused: Counter[str]
    usage: Usage


class Thinker:
    """Thinks about what waits in a store with one model; `error` is why it could not, last time."""

    def __init__(
        self, backend: Backend, engine: RecallEngine, queue: EmbedQueue, settings: Settings, clock: Clock
    ) -> None:
        self._backend = backend
        self._engine = engine
        self._queue = queue
        self._most = settings.prompt_budget_tokens
        self._clock = clock
        self._working = threading.Lock()
        self._asker: Asker | None = None
        self._window: Window | None = None
        self._worker = Worker("thinking", self._work_on, gather=_GATHER_SECONDS, every=_LOOK_SECONDS)
        self.error: ModelError | None = None

    def use(self, model: BaseChatModel) -> None:
        """Think with this model from now on."""
        if self._asker is None or self._asker.model is not model:
            self._asker, self._window = Asker(model), Window(model)

    def wake(self) -> None:
        """There is something to think about: do it behind the answers."""
        if self._asker is not None:
            self._worker.wake()

    def _work_on(self) -> bool:
        try:
            return self.work() > 0
        except ModelError as error:
            if self.error is None:
                _log.warning("thinking waits for the model: %s", error)
            self.error = error
            return False

    def flush(self, progress: Progress | None = None) -> int:
        """Think about all that is due, in this thread; return how many exchanges that were.

        Raises ModelError where the model cannot be asked: what waits goes on waiting.
        """
        done = 0
        while step := self.work():
            done += step
            if progress is not None:
                progress(done, done + self.waiting())
            if self._worker.stopping.is_set():
                break
        return done

    def waiting(self) -> int:
        return sum(len(self._backend.jobs(task=task, state="queued")) for task in (THINK, SUMMARIZE))

    def hurry(self, *, parked: bool = False) -> None:
        """What was put off after a failure is due now; with `parked`, so is what was given up, as if never tried."""
        now = self._clock()
        with self._backend.write() as writer:
            waiting = self._backend_jobs(writer, "queued")
            change_jobs(writer, [job for job in waiting if job.attempts], run_after=now)
            if parked:
                given_up = self._backend_jobs(writer, "parked")
                change_jobs(writer, given_up, state="queued", attempts=0, reason=None, run_after=now)

    @staticmethod
    def _backend_jobs(writer: Writer, state: str) -> list[Job]:
        where = {"task": (THINK, SUMMARIZE), "state": state}
        return [job for ns in writer.namespaces() for job in writer.select("job", namespace=ns, where=where)]

    def work(self) -> int:
        """Think about some of what is due; return how many exchanges were taken off the queue or put off.

        One thread thinks at a time. Raises ModelError where the model cannot be asked now.
        """
        if self._asker is None:
            raise ModelError("there is no model to think with: name one")
        with self._working:
            done = self._take(THINK, self._batches, self._think) or self._take(SUMMARIZE, _singly, self._sum_up)
            self.error = None
        return done

    def _take(self, task: str, batches: Batches, do: Callable[[Asker, Namespace, Sequence[Job]], None]) -> int:
        """Do some jobs of a task; return how many are done, or put off."""
        jobs = self._backend.claim(task, limit=_CLAIMED, lease_seconds=_LEASE_SECONDS)
        left = {job.id: job for job in jobs}
        try:
            for namespace, batch in batches(jobs):
                if self._worker.stopping.is_set() or self._asker is None:
                    break
                do(self._asker, namespace, batch)
                for job in batch:
                    del left[job.id]
        finally:
            if left:
                self._give_back(left.values())
        return len(jobs) - len(left)

    def _give_back(self, jobs: Iterable[Job]) -> None:
        """Jobs that were claimed and not come to: that was no try."""
        with self._backend.write() as writer:
            for job in jobs:
                change_jobs(writer, [job], lease_until=None, attempts=job.attempts - 1)

    def _batches(self, jobs: Sequence[Job]) -> Iterator[tuple[Namespace, list[Job]]]:
        """What is asked about together: exchanges of one namespace that the budget has room for; one that failed
        before, alone."""
        groups: dict[Namespace, list[Job]] = defaultdict(list)
        for job in jobs:
            groups[job.namespace].append(job)
        for namespace, group in groups.items():
            yield from ((namespace, [job]) for job in group if job.attempts > 1)
            yield from ((namespace, batch) for batch in self._packed([job for job in group if job.attempts <= 1]))

    def _packed(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        batch: list[Job] = []
        free = self._budget
        for job, tokens in zip(jobs, self._sizes(jobs), strict=True):
            if batch and tokens > free:
                yield batch
                batch, free = [], self._budget
            batch.append(job)
            free -= tokens
        if batch:
            yield batch

    def _sizes(self, jobs: Sequence[Job]) -> list[int]:
        with self._backend.read() as reader:
            found = [gather(reader, job, longest=self._budget // 2) for job in jobs]
        return [0 if exchange is None or exchange.empty else exchange.tokens for exchange in found]

    def _think(self, asker: Asker, namespace: Namespace, jobs: Sequence[Job]) -> None:
        try:
            thought = self._thought(asker, namespace, self._exchanges(jobs))
        except Fault as fault:
            self._put_off(jobs, fault)
            return
        try:
            self._store(namespace, jobs, thought)
        except InputError as error:  # nothing of it is stored then; the queue must not stand still for it
            self._put_off(jobs, Fault(f"what was decided could not be stored ({type(error).__name__})", thought.usage))
            return
        if thought.notes:
            self._queue.wake()
        for reason, count in thought.refused.items():
            _log.info("%d of what the model said is not kept: %s", count, reason)

    def _store(self, namespace: Namespace, jobs: Sequence[Job], thought: _Thought) -> None:
        with self._backend.write() as writer:
            applying = Applying(writer, namespace, self._clock())
            applying.apply(thought.notes, thought.decisions)
            done = writer.remove("job", [job.id for job in jobs], namespace=namespace)
            refused = {"refused": thought.refused.total()}
            add_costs(writer, {"exchanges": done, **asdict(thought.usage), **applying.done, **refused})

    def _sum_up(self, asker: Asker, namespace: Namespace, jobs: Sequence[Job]) -> None:
        """Give one closed chunk its summary, in one call."""
        (job,) = jobs
        with self._backend.read() as reader:
            turns = chunk_turns(reader, job, longest=self._budget)
        usage, text = Usage(), ""
        if turns:
            try:
                reply = self._ask(asker, SUMMARISE, summarise_messages(turns), usage)
            except Fault as fault:
                self._put_off(jobs, fault)
                return
            usage, text = reply.usage, _value(reply)["summary"].strip()
        kept = bool(text) and not foreign(text, turns)
        with self._backend.write() as writer:
            there = writer.remove("job", [job.id], namespace=namespace)
            done = there and kept and self._summarize(writer, job, text)
            refused = {"summaries": int(done), "refused": int(bool(turns) and not kept)}
            add_costs(writer, {**asdict(usage), **refused})
        self._queue.wake()

    def _summarize(self, writer: Writer, job: Job, text: str) -> bool:
        try:
            chunks.summarize(writer, job.target, text, namespace=job.namespace, now=self._clock())
        except InputError:  # a secret, or a chunk that was made anew meanwhile
            return False
        return True

    def _exchanges(self, jobs: Sequence[Job]) -> list[Exchange]:
        with self._backend.read() as reader:
            found = (gather(reader, job, longest=self._budget // 2) for job in jobs)
            return [exchange for exchange in found if exchange is not None and not exchange.empty]

    def _thought(self, asker: Asker, namespace: Namespace, exchanges: Sequence[Exchange]) -> _Thought:
        """What the model makes of exchanges, in two calls at most. Raises Fault, ModelError."""
        if not exchanges:
            return _Thought([], [], Counter(), Usage())
        asked = extract_messages([exchange.turns for exchange in exchanges])
        extracted = self._ask(asker, EXTRACT, asked, Usage())
        found, dropped = notes(exchanges, _value(extracted)["thoughts"])
        usage, comparison = extracted.usage, self._compare(namespace, found)
        decided = [NEW] * len(found)
        if comparison.asked:
            reply = self._ask(asker, RECONCILE, comparison.messages(), usage)
            usage += reply.usage
            decided, refused = comparison.decisions(_value(reply)["decisions"])
            dropped += refused
        return _Thought(found, decided, dropped, usage)

    @property
    def _budget(self) -> int:
        """Tokens of data in one call, and of its answer at most: what the settings say, where the window has room."""
        size = None if self._window is None else self._window.size
        return self._most if size is None else max(_LEAST, min(self._most, size // 2 - _INSTRUCTION))

    def _room(self, messages: Sequence[BaseMessage]) -> int:
        """Tokens that an answer may have."""
        if self._window is None or self._window.size is None:
            return self._most
        return max(_LEAST, min(self._most, self._window.size - self._window.count(messages)))

    def _ask(self, asker: Asker, task: Task, messages: Sequence[BaseMessage], before: Usage) -> Reply:
        reply = asker.ask(messages, task.schema, name=task.name, max_tokens=self._room(messages))
        if reply.fault is not None:
            raise Fault(f"the answer to `{task.name}` was {reply.fault}", before + reply.usage)
        return reply

    def _compare(self, namespace: Namespace, found: Sequence[Note]) -> Comparison:
        if not found:
            return Comparison([], [])
        vectors = self._vectors([note.text for note in found])
        return compare(found, vectors, self._engine, self._backend, namespace=namespace, budget=self._budget)

    def _vectors(self, texts: Sequence[str]) -> Matrix | None:
        """The texts' unit vectors, None where there is no embedder, or none that works: words find what is near too."""
        try:
            embedder = self._queue.embedder(_EMBEDDER_SECONDS)
            return None if embedder is None else encode(embedder, texts)
        except EmbedderError:
            return None

    def _put_off(self, jobs: Sequence[Job], fault: Fault) -> None:
        """Try again later what failed; of several asked about together, at once and each alone. In the end, park it."""
        now = self._clock()
        with self._backend.write() as writer:
            for job in jobs:
                if job.attempts >= _TRIES:
                    reason = f"{fault} in {job.attempts} tries"
                    change_jobs(writer, [job], state="parked", reason=reason, lease_until=None)
                else:
                    wait = timedelta(0) if len(jobs) > 1 else _BACKOFF * 4 ** (job.attempts - 1)
                    change_jobs(writer, [job], run_after=now + wait, lease_until=None)
            add_costs(writer, {**asdict(fault.usage), "faults": 1})
        _log.info("%d exchanges are thought about again later: %s", len(jobs), fault)

    def close(self) -> None:
        """Stop; what waits stays in the queue. A call that is being made is not waited for: its result is dropped."""
        self._worker.close(wait=_LAST_SECONDS)


def _singly(jobs: Sequence[Job]) -> Iterator[tuple[Namespace, list[Job]]]:
    yield from ((job.namespace, [job]) for job in jobs)


def _value(reply: Reply) -> Mapping[str, Any]:
    assert reply.value is not None
    return reply.value
