"""Recall: what of a namespace bears on a query, by rank, each item with the reasons why (agentmem.explain)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import NamespaceCache
from agentmem.clock import utc_now
from agentmem.columns import STATES, THOUGHT, TURN
from agentmem.episodes import Docs
from agentmem.errors import EmbedderMismatchError
from agentmem.explain import Explanation, reading
from agentmem.filters import KINDS, Conditions, allowed
from agentmem.fusion import DEFAULT, Fused, Query, Weights, everything, fuse
from agentmem.interfaces import Backend, Clock, Reader
from agentmem.text import index_text, normalise, stems
from agentmem.types import Namespace, RecallItem, Thought, Turn

ANYTHING = Conditions()


@dataclass(frozen=True, slots=True)
class _Picked:
    """A record chosen for the answer, with how many near-equal ones it stands for."""

    doc: int
    record: Turn | Thought
    repeats: int


class RecallEngine:
    """Searches a backend's namespaces through caches in RAM. Thread-safe.

    Not to be called by a thread that is inside a write transaction: another one may wait for it while holding a cache.
    """

    def __init__(self, backend: Backend, *, clock: Clock = utc_now, weights: Weights = DEFAULT) -> None:
        self._backend = backend
        self._clock = clock
        self._weights = weights
        self._caches: dict[Namespace, NamespaceCache] = {}
        self._lock = threading.Lock()

    def recall(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        *,
        namespace: Namespace,
        k: int = 10,
        budget: int | None = None,
        conditions: Conditions = ANYTHING,
    ) -> list[RecallItem]:
        """The `k` best items by rank, near-equal ones taken once, together of at most `budget` tokens.

        `vector` is the query's unit vector, shape (dimension,), or None: full text alone. Superseded turns never come
        back. Raises EmbedderMismatchError where the vector's dimension is not that of the vectors held.
        """
        asked = Query(query, vector)
        cache = self._cache(namespace)
        with cache.lock, self._backend.read() as reader:
            cache.refresh(reader)
            _check_dimension(cache, vector)
            if not len(cache):
                return []
            fused = fuse(everything(cache, asked), self._weights)
            passing = allowed(cache, reader, conditions, now=self._clock(), docs=fused.docs) & (fused.score > 0)
            picked = _pick(reader, cache, fused.docs[passing], fused.score[passing], k, budget)
            return _items(reader, cache, fused, asked, picked)

    def reading(self, query: str, *, namespace: Namespace) -> dict[str, tuple[str, ...]]:
        """What a query is read as in a namespace, see `explain.reading`."""
        with self._current(namespace) as cache:
            return reading(cache, Query(query, None))

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
        with self._lock:
            if namespace not in self._caches:
                self._caches[namespace] = NamespaceCache(namespace)
            return self._caches[namespace]

    @contextmanager
    def _current(self, namespace: Namespace) -> Iterator[NamespaceCache]:
        cache = self._cache(namespace)
        with cache.lock:
            with self._backend.read() as reader:
                cache.refresh(reader)
            yield cache


def _check_dimension(cache: NamespaceCache, vector: NDArray[np.float32] | None) -> None:
    if vector is not None and len(cache.vectors) and cache.vectors.dimension != len(vector):
        raise EmbedderMismatchError(
            f"the query's vector has {len(vector)} numbers, those in the store {cache.vectors.dimension}: "
            "use the embedder that made them, or run `agentmem reindex`"
        )


def _best(docs: Docs, scores: NDArray[np.float32], k: int) -> list[int]:
    """The `k` highest-scored of some ascending documents, best first; of equals the earlier."""
    if len(docs) > k:
        first = np.sort(np.argpartition(-scores, k - 1)[:k]) if k > 0 else slice(0)
        docs, scores = docs[first], scores[first]
    best: list[int] = docs[np.argsort(-scores, kind="stable")].tolist()
    return best


def _pick(
    reader: Reader, cache: NamespaceCache, docs: Docs, scores: NDArray[np.float32], k: int, budget: int | None
) -> list[_Picked]:
    """Walk down the ranking, passing over what says the same as a better one and what the budget has no room for."""
    wanted = 2 * k + 8
    while True:
        walk = _Walk(reader, cache, k, budget)
        for doc in _best(docs, scores, wanted):
            walk.visit(doc)
        if len(walk.picked) == k or wanted >= len(docs):
            return walk.fetched()
        wanted *= 4


@dataclass
class _Walk:
    """Chooses among documents offered best first."""

    reader: Reader
    cache: NamespaceCache
    k: int
    budget: int | None
    picked: dict[int, int] = field(default_factory=dict)
    _alike: dict[tuple[int, int, frozenset[int]], list[int]] = field(default_factory=dict)
    _said: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def visit(self, doc: int) -> None:
        columns = self.cache.columns
        key = (int(columns["kind"][doc]), int(columns["role"][doc]), self.cache.postings.signature(doc))
        alike = self._alike.setdefault(key, [])
        same = next((other for other in alike if self._says(other) == self._says(doc)), None)
        if same is not None:
            self.picked[same] += 1
        elif len(self.picked) < self.k and self._fits(int(columns["tokens"][doc])):
            self.picked[doc] = 1
            alike.append(doc)

    def _fits(self, tokens: int) -> bool:
        if self.budget is None:
            return True
        if tokens <= self.budget:
            self.budget -= tokens
            return True
        return False

    def _says(self, doc: int) -> tuple[str, ...]:
        if doc not in self._said:
            self._said[doc] = _says(_records(self.reader, self.cache, [doc])[doc])
        return self._said[doc]

    def fetched(self) -> list[_Picked]:
        records = _records(self.reader, self.cache, list(self.picked))
        return [_Picked(doc, records[doc], repeats) for doc, repeats in self.picked.items()]


def _says(record: Turn | Thought) -> tuple[str, ...]:
    """What must be equal too before two records of one kind, role and set of stems say the same.

    Stems in order, so that "A loves B" is not "B loves A"; the text itself where stop words are all there is.
    """
    return tuple(stems(index_text(record))) or (normalise(index_text(record)),)


def _records(reader: Reader, cache: NamespaceCache, docs: Sequence[int]) -> dict[int, Turn | Thought]:
    found: dict[int, Turn | Thought] = {}
    for kind, number in KINDS.items():
        ids = [cache.ids[doc] for doc in docs if cache.columns["kind"][doc] == number]
        if ids:
            found |= {cache.doc_of[r.id]: r for r in reader.get(kind, ids, namespace=cache.namespace)}
    return found


def _items(
    reader: Reader, cache: NamespaceCache, fused: Fused, query: Query, picked: Sequence[_Picked]
) -> list[RecallItem]:
    thoughts = [p.record.id for p in picked if isinstance(p.record, Thought)]
    origins = _source_turns(reader, cache.namespace, thoughts) if thoughts else {}
    explanation = Explanation(cache, fused, query, [p.doc for p in picked])
    return [_item(p, fused, explanation, origins) for p in picked]


def _item(p: _Picked, fused: Fused, explanation: Explanation, origins: Mapping[str, list[str]]) -> RecallItem:
    signals = fused.signals(p.doc)
    return RecallItem(
        id=p.record.id,
        kind="thought" if isinstance(p.record, Thought) else "turn",
        text=p.record.text,
        score=float(fused.score[fused.place(p.doc)]),
        time=p.record.valid_from if isinstance(p.record, Thought) else p.record.occurred_at,
        source=_source(p.record, origins),
        why=explanation.why(p.doc, signals, p.repeats),
        signals=signals,
        measures=explanation.measures(p.doc),
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
