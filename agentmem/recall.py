"""Recall: what of a namespace bears on a query, by rank, each item with the reasons why (agentmem.explain)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem.blas import single_threaded
from agentmem.building import Builder
from agentmem.cache import AUTO, NamespaceCache, NewIndex
from agentmem.candidates import DEPTH, WHOLE, gather, touched
from agentmem.clock import utc_now
from agentmem.columns import STATES, THOUGHT, TURN
from agentmem.diversity import NOTHING, Spread, spread
from agentmem.episodes import Docs
from agentmem.errors import EmbedderMismatchError
from agentmem.explain import Explanation, reading
from agentmem.filters import KINDS, Conditions, Mask, allowed
from agentmem.fusion import (
    DEFAULT,
    NO_LEADS,
    Fused,
    Query,
    Scene,
    Scores,
    Weights,
    arrange,
    everything,
    fuse,
    has_meaning,
)
from agentmem.indexes.arrays import union
from agentmem.indexes.ids import NOT_THERE
from agentmem.indexing import Indexing
from agentmem.interfaces import Backend, Clock, Reader
from agentmem.leads import any_thoughts, follow
from agentmem.outside import OutsideCache
from agentmem.text import index_text, normalise, stems, words
from agentmem.types import Namespace, RecallItem, Signal, Thought, Turn

ANYTHING = Conditions()
_WIDER = 8
"""How many times more candidates are looked at where the first did not give enough."""
MOST_HELD = 2_000_000
"""Documents to hold in RAM, of all namespaces together: 3.5 GB with MiniLM's vectors. One alone may be larger."""
_OF_A_CACHE = 250
"""What a namespace takes besides, in documents: 50 kB of tables and names."""
_Key: TypeAlias = tuple[int, int, int]
"""Kind, role and `Postings.prints`."""


@dataclass(frozen=True, slots=True)
class _Picked:
    """A record chosen for the answer, how many equal ones it stands for, and what it loses as a near-duplicate."""

    doc: int
    record: Turn | Thought
    repeats: int
    lost: tuple[Signal, ...]


class RecallEngine:
    """Searches a backend's namespaces through caches in RAM. Thread-safe.

    Not to be called by a thread that is inside a write transaction: another one may wait for it while holding a cache.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock = utc_now,
        weights: Weights = DEFAULT,
        whole: int = WHOLE,
        new_index: NewIndex = AUTO,
        indexing: Indexing | None = None,
        most_held: int = MOST_HELD,
    ) -> None:
        self._backend = backend
        self._whole = whole
        self._new_index = new_index
        self._indexing = indexing
        self._most_held = most_held
        self._clock = clock
        self._weights = weights
        self._caches: dict[Namespace, NamespaceCache] = {}
        self._lock = threading.Lock()
        self.builder = Builder(backend, lambda: list(self._caches.values()))

    def recall(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        *,
        namespace: Namespace,
        k: int = 10,
        budget: int | None = None,
        conditions: Conditions = ANYTHING,
        without: Sequence[str] = (),
    ) -> list[RecallItem]:
        """The `k` best items by rank, near-equal ones taken once, together of at most `budget` tokens. What is
        `without`, by its id, is passed over, and so is what says the same.

        `vector` is the query's unit vector, shape (dimension,), or None: full text alone. Superseded turns never come
        back. Raises EmbedderMismatchError where the vector's dimension is not that of the vectors held.
        """
        asked = Query(query, vector, (conditions.as_of or self._clock()).date())
        cache = self._cache(namespace)
        with single_threaded(), cache.lock, self._backend.read() as reader:
            changed = cache.refresh(reader)
            _check_dimension(cache, vector)
            if not len(cache):
                return []
            if (changed or self._indexing) and (cache.pending() is not None or cache.due()):
                self.builder.wake()
            had = [doc for doc in cache.ids.numbers(without).tolist() if doc != NOT_THERE]
            for scene, passing in self._scenes(cache, reader, asked, conditions):
                fused = fuse(scene, self._weights)
                passing &= (fused.score > 0) | has_meaning(cache, asked)
                if had:
                    passing &= ~np.isin(fused.docs, had)
                walk = _walked(reader, cache, fused.docs[passing], fused.score[passing], k, budget, had)
                if walk.full:
                    break
            return _items(reader, cache, scene, fused, walk.fetched())

    def _scenes(
        self, cache: NamespaceCache, reader: Reader, query: Query, conditions: Conditions
    ) -> Iterator[tuple[Scene, Mask]]:
        """Candidates and which of them meet the conditions: ever more, at last everything that may come back."""
        now, found = self._clock(), cache.postings.find(query.stems)
        lead = partial(follow, cache, reader, query, found, conditions, now=now)
        if len(cache) <= self._whole:
            scene = everything(cache, query, found)
            scene = replace(scene, leads=lead(docs=scene.docs, known=scene.cosine))
            yield scene, allowed(cache, reader, conditions, now=now)
            return
        depth, leads = DEPTH, NO_LEADS
        if conditions == ANYTHING or any_thoughts(cache):
            # Whatever may come back, a thought may lead to it.
            docs = gather(cache, query, found, self._weights, depth)
            leads = lead(docs=docs)
        if conditions == ANYTHING:
            docs = union(docs, leads.turns)
            yield arrange(cache, query, found, docs, leads), allowed(cache, reader, conditions, now=now, docs=docs)
            depth *= _WIDER
        mask = allowed(cache, reader, conditions, now=now)
        dense = has_meaning(cache, query)
        most = int(np.count_nonzero(mask if dense else mask & touched(cache, found)))
        while depth < most and most > self._whole:
            docs = gather(cache, query, found, self._weights, depth, mask, leads.turns)
            yield arrange(cache, query, found, docs, leads), np.ones(len(docs), np.bool_)
            depth *= _WIDER
        if dense:
            docs = np.flatnonzero(mask).astype(np.int32)
        else:
            docs = gather(cache, query, found, self._weights, most, mask, leads.turns)
        yield arrange(cache, query, found, docs, leads), np.ones(len(docs), np.bool_)

    def reading(self, query: str, *, namespace: Namespace) -> dict[str, tuple[str, ...]]:
        """What a query is read as in a namespace, see `explain.reading`."""
        with self._current(namespace) as cache:
            return reading(cache, Query(query, None, self._clock().date()))

    def turns_with_all_terms(self, text: str, *, namespace: Namespace) -> list[str]:
        """Ids of the turns whose stems include every stem of `text`; none when it has no stems."""
        with self._current(namespace) as cache:
            found = cache.postings.find(stems(text)).holding_all()
            return [cache.ids[doc] for doc in found[cache.columns["kind"][found] == TURN].tolist()]

    def nearest_thoughts(
        self, vector: NDArray[np.float32], *, namespace: Namespace, k: int = 5
    ) -> list[tuple[str, float]]:
        """Ids and cosines of the live thoughts nearest to a unit vector, nearest first."""
        with self._current(namespace) as cache:
            _check_dimension(cache, vector)
            columns = cache.columns
            thoughts = cache.live & (columns["kind"] == THOUGHT) & (columns["state"] == STATES.index("live"))
            found = zip(*cache.vectors.search(vector, k, thoughts), strict=True)
            return [(cache.ids[doc], float(cosine)) for doc, cosine in found]

    def drop(self, namespace: Namespace) -> None:
        """Let go of everything held in RAM of a namespace."""
        with self._lock:
            self._caches.pop(namespace, None)

    def _cache(self, namespace: Namespace) -> NamespaceCache:
        """The namespace's cache, which now stands last in `_caches`: the first was not asked for the longest time."""
        with self._lock:
            cache = self._caches.pop(namespace, None)
            if cache is None:
                self._make_room()
                cache = self._new_cache(namespace)
            self._caches[namespace] = cache
            return cache

    def _make_room(self) -> None:
        """Let go of caches, those first that were not asked for the longest time, until another one may be filled. Who
        is at work with one keeps it until then."""
        sizes = {namespace: len(cache) + _OF_A_CACHE for namespace, cache in self._caches.items()}
        held = sum(sizes.values())
        for namespace, size in sizes.items():
            if held <= self._most_held:
                return
            del self._caches[namespace]
            held -= size

    def _new_cache(self, namespace: Namespace) -> NamespaceCache:
        if self._indexing is None:
            return NamespaceCache(namespace, self._new_index)
        return OutsideCache(namespace, self._indexing)

    @contextmanager
    def _current(self, namespace: Namespace) -> Iterator[NamespaceCache]:
        cache = self._cache(namespace)
        with cache.lock, self._backend.read() as reader:
            cache.refresh(reader)
            yield cache


def _check_dimension(cache: NamespaceCache, vector: NDArray[np.float32] | None) -> None:
    if vector is not None and len(cache.vectors) and cache.vectors.dimension != len(vector):
        raise EmbedderMismatchError(
            f"the query's vector has {len(vector)} numbers, those in the store {cache.vectors.dimension}: "
            "use the embedder that made them, or run `agentmem reindex`"
        )


def _best(docs: Docs, scores: Scores, k: int) -> tuple[list[int], Scores]:
    """The `k` highest-scored of some ascending documents and their scores, best first; of equals the earlier."""
    if len(docs) > k:
        first = np.sort(np.argpartition(-scores, k - 1)[:k]) if k > 0 else slice(0)
        docs, scores = docs[first], scores[first]
    order = np.argsort(-scores, kind="stable")
    return docs[order].tolist(), scores[order]


def _walked(
    reader: Reader,
    cache: NamespaceCache,
    docs: Docs,
    scores: Scores,
    k: int,
    budget: int | None,
    had: Sequence[int],
) -> _Walk:
    """Walk down the ranking, passing over what says the same as a better one and what the budget has no room for."""
    wanted = 4 * k + 20
    while True:
        walk = _Walk(reader, cache, k, budget)
        walk.pass_over(had)
        walk.along(*_best(docs, scores, wanted))
        if len(walk.picked) == k or wanted >= len(docs):
            return walk
        wanted *= 4


@dataclass
class _Walk:
    """Chooses among documents."""

    reader: Reader
    cache: NamespaceCache
    k: int
    budget: int | None
    picked: dict[int, int] = field(default_factory=dict)
    _passed_over: bool = False
    _alike: dict[_Key, list[int]] = field(default_factory=dict)
    _said: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _records: dict[int, Turn | Thought] = field(default_factory=dict)
    _order: Spread = NOTHING

    def pass_over(self, docs: Sequence[int]) -> None:
        """What says the same as one of these is not picked."""
        for doc, key in self._keys(docs).items():
            self._alike.setdefault(key, []).append(doc)

    def along(self, docs: Sequence[int], scores: Scores) -> None:
        """Visit documents, given best first, in the order in which they repeat least."""
        self._order, keys = spread(self.cache, docs, scores, self._texts), self._keys(docs)
        for doc in self._order.repeated:
            self._visit(doc, keys[doc])

    def _visit(self, doc: int, key: _Key) -> None:
        alike = self._alike.setdefault(key, [])
        same = next((other for other in alike if self._says(other) == self._says(doc)), None)
        if same in self.picked:
            self.picked[same] += 1
        elif same is None and len(self.picked) < self.k and self._fits(int(self.cache.columns["tokens"][doc])):
            self.picked[doc] = 1
            alike.append(doc)

    def _keys(self, docs: Sequence[int]) -> dict[int, _Key]:
        """By document: what two that say the same have in common; seldom do others have it."""
        columns, numbers = self.cache.columns, np.array(docs, dtype=np.int32)
        of_each = (columns["kind"][numbers], columns["role"][numbers], self.cache.postings.prints(numbers))
        return dict(zip(docs, zip(*(values.tolist() for values in of_each), strict=True), strict=True))

    @property
    def full(self) -> bool:
        """More documents would not be taken."""
        return len(self.picked) == self.k or self._passed_over

    def _fits(self, tokens: int) -> bool:
        if self.budget is None:
            return True
        if tokens <= self.budget:
            self.budget -= tokens
            return True
        self._passed_over = True
        return False

    def _says(self, doc: int) -> tuple[str, ...]:
        if doc not in self._said:
            self._said[doc] = _says(self._read([doc])[doc])
        return self._said[doc]

    def _read(self, docs: Sequence[int]) -> dict[int, Turn | Thought]:
        self._records |= _records(self.reader, self.cache, [doc for doc in docs if doc not in self._records])
        return self._records

    def _texts(self, docs: Sequence[int]) -> dict[int, str]:
        records = self._read(docs)
        return {doc: records[doc].text for doc in docs}

    def fetched(self) -> list[_Picked]:
        records = self._read(list(self.picked))
        return [_Picked(doc, records[doc], repeats, self._order.signals(doc)) for doc, repeats in self.picked.items()]


def _says(record: Turn | Thought) -> tuple[str, ...]:
    """What must be equal too before two records of one kind, role and set of stems say the same: their words in order,
    small ones too ("I had tea" is not "I like tea"), and whether they ask."""
    text = index_text(record)
    return *(words(text) or [normalise(text)]), "?" if text.rstrip().endswith("?") else ""


def _records(reader: Reader, cache: NamespaceCache, docs: Sequence[int]) -> dict[int, Turn | Thought]:
    found: dict[int, Turn | Thought] = {}
    for kind, number in KINDS.items():
        ids = [cache.ids[doc] for doc in docs if cache.columns["kind"][doc] == number]
        if ids:
            found |= {cache.ids.number(r.id): r for r in reader.get(kind, ids, namespace=cache.namespace)}
    return found


def _items(
    reader: Reader, cache: NamespaceCache, scene: Scene, fused: Fused, picked: Sequence[_Picked]
) -> list[RecallItem]:
    thoughts = [p.record.id for p in picked if isinstance(p.record, Thought)]
    origins = _source_turns(reader, cache.namespace, thoughts) if thoughts else {}
    explanation = Explanation(scene, fused, [p.doc for p in picked])
    return [_item(p, fused, explanation, origins) for p in picked]


def _item(p: _Picked, fused: Fused, explanation: Explanation, origins: Mapping[str, list[str]]) -> RecallItem:
    signals, measures = (*fused.signals(p.doc), *p.lost), explanation.measures(p.doc)
    return RecallItem(
        id=p.record.id,
        kind="thought" if isinstance(p.record, Thought) else "turn",
        text=p.record.text,
        score=float(fused.score[fused.place(p.doc)]) + sum(signal.contribution for signal in p.lost),
        time=p.record.valid_from if isinstance(p.record, Thought) else p.record.occurred_at,
        source=_source(p.record, origins),
        why=explanation.why(p.doc, signals, measures, p.repeats),
        signals=signals,
        measures=measures,
    )


def _source_turns(reader: Reader, namespace: Namespace, thoughts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for edge in reader.edges(namespace=namespace, children=thoughts, relation="source"):
        found.setdefault(edge.child, []).append(edge.parent)
    return found


def _source(record: Turn | Thought, origins: Mapping[str, list[str]]) -> dict[str, Any]:
    if isinstance(record, Thought):
        return {"origin": record.origin, "trusted": record.trusted, "turns": origins.get(record.id, [])}
    fields = {name: getattr(record, name) for name in ("session", "seq", "role", "speaker", "source", "external_id")}
    return {**record.metadata, **fields}
