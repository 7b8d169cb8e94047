"""The embedder and its durable queue: records wait in the database for their vectors, and get them behind the answer.

The embedder is loaded in a thread at the first need. A worker thread takes `embed` jobs in batches; `flush` does the
same in the caller's thread. A vector and the end of its job commit together: a crash repeats work, it loses none.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from agentmem.errors import AgentmemError, EmbedderError, EmbedderMismatchError, StoreClosedError
from agentmem.interfaces import Backend, Embedder, EmbedderIdentity, Matrix, Reader, Writer
from agentmem.ledger import change_jobs, embed_job
from agentmem.types import Edge, Job, Kind, Namespace
from agentmem.worker import Worker

if TYPE_CHECKING:
    from agentmem.recall import RecallEngine

State: TypeAlias = Literal["off", "idle", "loading", "ready", "failed"]
Progress: TypeAlias = Callable[[int, int], None]

KINDS: tuple[Kind, ...] = ("turn", "thought", "chunk")
"""What is embedded."""
BULK = 1024
"""Jobs a flush takes at once: enough to sort texts by length, which saves padding."""
_SLICE = 512
"""Vectors that commit together: what is done shows, and an interruption loses seconds of work."""
_BATCH = 16
"""Jobs the worker takes at once: closing waits for them, so no more than a second's work."""
_FEW = 8
"""Jobs in a queue from which they are claimed: fewer than any caller takes at once."""
_GATHER_SECONDS = 0.02
"""How long the worker waits when woken: what is said in one go shares a commit, and is not slowed by the worker."""
_LEASE_SECONDS = 20.0
"""How long what a killed process had claimed waits. A batch that takes longer may be embedded twice, to no harm."""
_SIMILAR = 0.9
"""Cosine from which two thoughts are linked as similar. With MiniLM "lives in Oslo" and "has her home in Oslo" are at
0.90, "likes tea" and "likes coffee" at 0.83; but "20 mg" and "40 mg" at 0.98, so the link decides nothing."""
_log = logging.getLogger(__name__)


def identity_of(reader: Reader) -> EmbedderIdentity | None:
    """The embedder that the store's vectors came from, None while there are none."""
    name = reader.meta("embedder_name")
    if name is None:
        return None
    return EmbedderIdentity(name, int(reader.meta("embedder_dimension") or 0), reader.meta("embedder_digest") or "")


def record_identity(writer: Writer, identity: EmbedderIdentity) -> None:
    writer.set_meta("embedder_name", identity.name)
    writer.set_meta("embedder_dimension", str(identity.dimension))
    writer.set_meta("embedder_digest", identity.digest)


def check_identity(reader: Reader, identity: EmbedderIdentity) -> EmbedderIdentity | None:
    """What `identity_of` says. Raises EmbedderMismatchError where the store's vectors came from another embedder."""
    stored = identity_of(reader)
    if stored is not None and stored != identity:
        raise EmbedderMismatchError(
            f"the store's vectors come from {_named(stored)}, not from {_named(identity)}: "
            "set `embedder` back to it, or run `agentmem reindex`"
        )
    return stored


def encode(embedder: Embedder, texts: Sequence[str]) -> Matrix:
    """The texts' vectors. Raises EmbedderError where the embedder fails on one of them, or gives what is no number."""
    import numpy as np

    try:
        vectors = embedder.encode(texts)
    except Exception as error:
        # An embedder is foreign code and may raise anything. Its message could quote the text; its type cannot.
        raise EmbedderError(f"embedding failed: {type(error).__name__}") from error
    if not np.isfinite(vectors).all():
        raise EmbedderError("embedding failed: the vector is not finite")
    return vectors


def queue_all(writer: Writer, now: datetime) -> None:
    """Drop every vector, and queue every record to be embedded anew."""
    for namespace in writer.namespaces():
        writer.clear_vectors(namespace=namespace)
        stale = [job.id for job in writer.select("job", namespace=namespace, where={"task": "embed"})]
        writer.remove("job", stale, namespace=namespace)
        for kind in KINDS:
            ids: list[str] = writer.columns(kind, ["id"], namespace=namespace)["id"]
            if kind == "chunk":
                ids = list(_texts(writer, kind, ids, namespace))
            writer.add(embed_job(kind, i, namespace=namespace, now=now) for i in ids)


def _named(identity: EmbedderIdentity) -> str:
    return f"{identity.name} ({identity.dimension} dimensions, digest {identity.digest[:12]})"


class EmbedQueue:
    """Loads the embedder once, and works off the `embed` jobs of all namespaces."""

    def __init__(self, backend: Backend, engine: RecallEngine, load: Callable[[], Embedder] | None) -> None:
        self._backend = backend
        self._engine = engine
        self._load = load
        self._lock = threading.Lock()
        self._loaded = threading.Event()
        self._working = threading.Lock()
        self._worker = Worker("embedding", self._work_on, gather=_GATHER_SECONDS, begin=self._bring_up)
        self._flushing = 0
        self._embedder: Embedder | None = None
        self.state: State = "off" if load is None else "idle"
        self.error: AgentmemError | None = None

    def wake(self) -> None:
        """There is work: start the worker where there is none."""
        if self._load is None or self._worker.stopping.is_set():
            return
        with self._lock:
            if self.state == "idle":
                self.state = "loading"
        self._worker.wake()

    def embedder(self, wait: float | None = None) -> Embedder | None:
        """The embedder, waiting for it at most `wait` seconds (None: until it is up); None where there is none in time.

        Raises EmbedderError, when told to wait, where it could not be loaded or does not fit the store.
        """
        if self._load is None:
            return None
        self.wake()
        self._loaded.wait(wait)
        if self.error is not None and wait != 0:
            raise self.error
        return self._embedder if self.state == "ready" else None

    def flush(self, progress: Progress | None = None) -> int:
        """Embed all that waits, in this thread, and wait for what other workers hold; return how many jobs it took."""
        with self._foremost():
            return 0 if self.embedder() is None else self._flush(progress)

    @contextmanager
    def _foremost(self) -> Iterator[None]:
        """The worker stands back meanwhile: many texts at once are done faster than its few at a time."""
        with self._lock:
            self._flushing += 1
        try:
            yield
        finally:
            with self._lock:
                self._flushing -= 1
            self.wake()

    def _flush(self, progress: Progress | None) -> int:
        done, waiting = 0, self._waiting()
        while waiting:
            step = self.work(BULK, progress and _Shifted(progress, done, done + waiting))
            done, waiting = done + step, waiting - step
            if waiting <= 0 or not step:
                waiting = self._waiting()
            if waiting and not step:
                # Another process holds the rest on a lease.
                self._worker.stopping.wait(0.05)
            if self._worker.stopping.is_set():
                raise StoreClosedError("the memory was closed while it was embedding: the rest stays in the queue")
        return done

    def _waiting(self) -> int:
        return len(self._backend.jobs(task="embed", state="queued"))

    def work(self, limit: int, progress: Progress | None = None, *, patient: bool = True) -> int:
        """Embed at most `limit` waiting records; return how many jobs were taken off the queue.

        One thread embeds at a time, since one uses all cores; who is not patient leaves it to the one that does.
        """
        embedder = self._embedder
        if embedder is None or self.state != "ready" or not self._working.acquire(blocking=patient):
            return 0
        try:
            return self._work(embedder, limit, progress)
        finally:
            self._working.release()

    def _work(self, embedder: Embedder, limit: int, progress: Progress | None) -> int:
        jobs = self._take(limit)
        done = 0
        try:
            for part in self._slices(jobs):
                self._embed(embedder, part)
                done += len(part)
                if progress is not None:
                    progress(done, len(jobs))
        except BaseException:
            self._release(jobs)
            raise
        return done

    def _take(self, limit: int) -> list[Job]:
        """Jobs to do now. A claim has to be synced, which takes longer than a few jobs: those are done without one.
        Should another process do them at the same time, it sets the same vectors."""
        few = self._backend.claim("embed", limit=_FEW, lease_seconds=0)
        if len(few) < _FEW:
            return few
        return self._backend.claim("embed", limit=limit, lease_seconds=_LEASE_SECONDS)

    def _slices(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """The jobs by namespace and kind, in slices of texts of like length where there is more than one."""
        groups: dict[tuple[Namespace, Kind], list[Job]] = defaultdict(list)
        for job in jobs:
            groups[job.namespace, _as_kind(job.target_kind)].append(job)
        for (namespace, kind), group in groups.items():
            if len(group) > _SLICE:
                with self._backend.read() as reader:
                    texts = _texts(reader, kind, [job.target for job in group], namespace)
                group.sort(key=lambda job: len(texts.get(job.target, "")))
            yield from (group[n : n + _SLICE] for n in range(0, len(group), _SLICE))

    def _release(self, jobs: Sequence[Job]) -> None:
        """Give back what was interrupted, so that whoever goes on need not wait for the lease to run out."""
        with suppress(AgentmemError), self._backend.write() as writer:
            change_jobs(writer, jobs, lease_until=None)

    def _embed(self, embedder: Embedder, jobs: Sequence[Job]) -> None:
        """Embed records of one namespace and kind, and take their jobs off the queue in the same transaction."""
        namespace, kind = jobs[0].namespace, _as_kind(jobs[0].target_kind)
        with self._backend.read() as reader:
            texts = _texts(reader, kind, [job.target for job in jobs], namespace)
            known = check_identity(reader, embedder.identity)
        ids = list(texts)
        try:
            vectors = encode(embedder, list(texts.values()))
        except EmbedderError as error:
            self._retry_singly(embedder, jobs, error)
            return
        # The first vectors name their embedder, which is the whole store's.
        with self._backend.write(None if known is None else namespace) as writer:
            if check_identity(writer, embedder.identity) is None:
                record_identity(writer, embedder.identity)
            # A summary may have been replaced or erased meanwhile; another text never changes.
            still = _texts(writer, kind, ids, namespace) if kind == "chunk" else texts
            kept = [at for at, name in enumerate(ids) if still.get(name) == texts[name]]
            writer.set_vectors(kind, [ids[at] for at in kept], vectors[kept], namespace=namespace)
            writer.remove("job", [job.id for job in jobs], namespace=namespace)
        if kind == "thought":
            self._link_similar(ids, vectors, namespace)

    def _retry_singly(self, embedder: Embedder, jobs: Sequence[Job], error: EmbedderError) -> None:
        """One text that cannot be embedded must not keep the others waiting: it is parked with the reason."""
        if len(jobs) > 1:
            for job in jobs:
                self._embed(embedder, [job])
            return
        with self._backend.write(jobs[0].namespace) as writer:
            # Another process may have embedded it meanwhile.
            change_jobs(writer, jobs, state="parked", reason=str(error), lease_until=None)

    def _link_similar(self, ids: Sequence[str], vectors: Matrix, namespace: Namespace) -> None:
        edges: list[Edge] = []
        for thought, vector in zip(ids, vectors, strict=True):
            near = self._engine.nearest_thoughts(vector, namespace=namespace)
            edges += [
                Edge("thought", max(thought, other), "thought", min(thought, other), "similar")
                for other, cosine in near
                if cosine >= _SIMILAR and other != thought
            ]
        if edges:
            with self._backend.write(namespace) as writer:
                ends = writer.get("thought", [*_ends(edges)], namespace=namespace)
                live = {thought.id for thought in ends if thought.state == "live"}
                writer.link((e for e in edges if {e.child, e.parent} <= live), namespace=namespace)

    def _work_on(self) -> bool:
        """What the worker does when woken: a batch, unless a flush does it. Whether there may be more."""
        return not self._flushing and self.work(_BATCH) > 0

    def _bring_up(self) -> bool:
        try:
            embedder = self._adopt()
            with self._backend.read() as reader:
                check_identity(reader, embedder.identity)
        except AgentmemError as error:
            self.error, self.state = error, "failed"
        except Exception as error:  # a third-party loader may raise anything; it is reported, not swallowed
            self.error, self.state = EmbedderError(f"the embedder could not be loaded: {error}"), "failed"
        else:
            self.state = "ready"
        self._loaded.set()
        return self.state == "ready"

    def reindex(self, now: datetime, progress: Progress | None) -> int:
        """Queue every record anew for this embedder, unless that was begun before, and flush; return how many."""
        embedder = self._adopt()
        resuming = bool(self._backend.jobs(task="embed", state="queued"))
        with self._backend.write() as writer:
            if identity_of(writer) != embedder.identity or not resuming:
                queue_all(writer, now)
            record_identity(writer, embedder.identity)
        queued = self._waiting()
        self._adopted()
        self.flush(progress)
        return queued

    def _adopt(self) -> Embedder:
        """The embedder, whatever the store's vectors came from."""
        if self._load is None:
            raise EmbedderError("no embedder is set: set `embedder` to embed with")
        if self._embedder is None:
            self._embedder = self._load()
        return self._embedder

    def _adopted(self) -> None:
        """The store's vectors are this embedder's now: begin again where a mismatch had stopped."""
        self.error, self.state = None, "ready"
        self._loaded.set()
        self._worker.revive()

    def close(self) -> None:
        """Stop the worker after its batch; what waits stays in the queue."""
        self._worker.close()


class _Shifted:
    """Progress of one step as progress of the whole."""

    def __init__(self, progress: Progress, before: int, total: int) -> None:
        self._progress, self._before, self._total = progress, before, total

    def __call__(self, done: int, _total: int) -> None:
        self._progress(self._before + done, self._total)


def _ends(edges: Sequence[Edge]) -> set[str]:
    return {end for edge in edges for end in (edge.child, edge.parent)}


def _as_kind(name: str) -> Kind:
    return next((kind for kind in KINDS if kind == name), "turn")


def _texts(reader: Reader, kind: Kind, ids: Sequence[str], namespace: Namespace) -> dict[str, str]:
    """What is to be embedded of records, by id; those that are not there, or have no text, are left out."""
    from agentmem.text import embedding_text

    texts = {record.id: embedding_text(record) for record in reader.get(kind, ids, namespace=namespace)}
    return {name: text for name, text in texts.items() if text is not None}
