"""A namespace's cache whose vectors are not in RAM: an index outside of the process (`VectorIndex`) says who is near,
and every cosine is taken of the store's own vectors.

So what comes back is exact but for what the index overlooks, as with a graph in RAM: filters are masks over documents,
another namespace's ids have no document here, and what was forgotten or not yet put is told from the change log. Where
few documents are in question they are scanned, and where the index cannot be asked, all are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agentmem.blas import single_threaded
from agentmem.cache import NamespaceCache
from agentmem.columns import THOUGHT, TURN
from agentmem.errors import SnapshotError
from agentmem.indexes.arrays import grown
from agentmem.indexes.flat import nearest
from agentmem.indexes.graphs import GraphDump, Sealed, Work
from agentmem.indexes.ids import NOT_THERE
from agentmem.indexes.rows import Found, Mask, Numbers, Vector
from agentmem.indexing import KINDS, Indexing
from agentmem.interfaces import Matrix, Reader
from agentmem.types import Namespace

WHOLE = 2048
"""Documents up to which all are scored: so many vectors are read from a store in some 10 ms."""
SCANNED = 2048
"""So few documents are scanned without asking the index."""
MOST_SCANNED = 100_000
"""Vectors that are scanned, the newest, where an index that should have been asked cannot be: about a second."""
_WIDEST = 8192
"""Ids an index is asked for at most; a filter that lets so little through is scanned."""
_BLOCK = 4096
"""Vectors of the store to have in RAM at once."""
_UNKNOWN, _HELD, _LACKING = 0, 1, 2


class OutsideCache(NamespaceCache):
    """A cache over `OutsideIndex`. The summaries of its chunks, one for eight turns, stay in RAM."""

    def __init__(self, namespace: Namespace, indexing: Indexing) -> None:
        self._indexing = indexing
        self._reader: Reader | None = None
        super().__init__(namespace)

    def _clear(self) -> None:
        super()._clear()
        self.vectors = self._outside = OutsideIndex(self, self._indexing)

    @property
    def reader(self) -> Reader:
        """The view of the store that the recall under way has."""
        assert self._reader is not None, "a cache is refreshed before it is read"
        return self._reader

    def refresh(self, reader: Reader) -> bool:
        self._reader = reader
        self._outside.begin()
        return super().refresh(reader)

    def _load_vectors(self, reader: Reader) -> None:
        self._outside.open(reader)


class OutsideIndex:
    """A `DocumentIndex` that holds a byte a document, and no vector longer than one recall needs it."""

    def __init__(self, cache: OutsideCache, indexing: Indexing) -> None:
        self._cache = cache
        self._indexing = indexing
        self._dimension = 0
        # What is known of each document's vector, and, of the vector asked for now, its cosine.
        self._state = np.zeros(0, np.int8)
        self._cosines = np.zeros(0, np.float32)
        self._asked: Vector | None = None
        # Not in the index yet: these, or (`_unsure`) nobody knows which.
        self._fresh: set[int] = set()
        self._unsure = True
        self._behind = False

    # -- what is held -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Another view of the store: what was read in the last one is let go of."""
        self._asked, self._cosines = None, np.zeros(0, np.float32)

    def open(self, reader: Reader) -> None:
        """Find out what of a cache's documents the index holds, and how long vectors are."""
        self._find_dimension()
        missed = self._indexing.missed(reader, namespace=self._cache.namespace)
        self._unsure = missed is None
        for line in missed or ():
            self._behind = True
            doc = self._cache.ids.number(line.id)
            if line.op == "vector" and line.kind in KINDS and doc != NOT_THERE:
                self._fresh.add(doc)

    def _find_dimension(self) -> None:
        """Of the first vector that there is."""
        for start in range(0, len(self._cache), _BLOCK):
            docs = np.arange(start, min(start + _BLOCK, len(self._cache)))
            for part in (docs[:16], docs[16:]):
                if len(self._read(part)[0]):
                    return

    @property
    def dimension(self) -> int:
        """Of the vectors held, 0 before the first."""
        return self._dimension

    def __len__(self) -> int:
        """Documents, as far as there are vectors at all: which of them wait for theirs only the store knows."""
        return self._cache.ids.held if self._dimension else 0

    def holds(self, doc: int) -> bool:
        if self._known(doc + 1)[doc] == _UNKNOWN:
            self._read(np.array([doc]))
        return bool(self._state[doc] == _HELD)

    def present(self, size: int) -> Mask:
        """Which of the documents 0 … size - 1 have a vector, as far as they were asked for; others are taken to."""
        there: Mask = self._known(size)[:size] != _LACKING
        return there

    def _known(self, size: int) -> NDArray[np.int8]:
        self._state = grown(self._state, size)
        return self._state

    def set(self, docs: Numbers, vectors: Matrix) -> None:
        """Note that documents got vectors, which stay in the store."""
        if not len(docs):
            return
        if vectors.shape[1] != self._dimension:
            self._state[:] = _UNKNOWN
            self._dimension = int(vectors.shape[1])
        self._known(int(docs.max()) + 1)[docs] = _HELD
        self._fresh.update(docs.tolist())

    def clear(self, doc: int) -> None:
        self._known(doc + 1)[doc] = _LACKING
        self._fresh.discard(doc)
        self._behind = True

    # -- cosines, from the store --------------------------------------------------------------------------------

    def _read(self, docs: Numbers) -> tuple[Numbers, Matrix]:
        """Those of the documents that have a vector, and the vectors."""
        cache, reader = self._cache, self._cache.reader
        docs = docs[cache.live[docs]]
        found: list[tuple[Numbers, Matrix]] = []
        for kind, number in zip(KINDS, (TURN, THOUGHT), strict=True):
            own = docs[cache.columns["kind"][docs] == number]
            ids = [cache.ids[doc] for doc in own.tolist()]
            names, vectors = reader.vectors(kind, namespace=cache.namespace, ids=ids) if ids else ([], None)
            if names and vectors is not None:
                found.append((cache.ids.numbers(names).astype(np.intp), vectors))
        self._note(docs, found)
        if not found:
            return np.zeros(0, np.intp), np.zeros((0, self._dimension), np.float32)
        return np.concatenate([held for held, _ in found]), np.concatenate([vectors for _, vectors in found])

    def _note(self, docs: Numbers, found: list[tuple[Numbers, Matrix]]) -> None:
        if len(docs):
            self._known(int(docs.max()) + 1)[docs] = _LACKING
        for held, vectors in found:
            self._state[held] = _HELD
            self._dimension = self._dimension or int(vectors.shape[1])

    def scores(self, vector: Vector, size: int) -> Vector:
        """Cosines of the documents 0 … size - 1 with a unit vector; 0 where there is no vector."""
        return self.scores_at(vector, np.arange(size))

    def scores_at(self, vector: Vector, docs: Numbers) -> Vector:
        """Cosines of some documents with a unit vector, shape (docs,); 0 where there is no vector."""
        if self._asked is not vector:
            self._asked, self._cosines = vector, np.full(len(self._cache), np.nan, np.float32)
        wanted = np.unique(docs[np.isnan(self._cosines[docs])])
        for start in range(0, len(wanted), _BLOCK):
            part = wanted[start : start + _BLOCK]
            held, vectors = self._read(part)
            self._cosines[part] = 0
            with single_threaded():
                self._cosines[held] = vectors @ vector
        return self._cosines[docs]

    def vectors_at(self, docs: Numbers) -> Matrix:
        """The vectors of some documents, shape (docs, dimension); zeros where there is none."""
        held, vectors = self._read(np.unique(docs))
        out = np.zeros((len(docs), self._dimension), np.float32)
        if len(held):
            order = np.argsort(held)
            at = np.minimum(np.searchsorted(held[order], docs), len(held) - 1)
            there = held[order][at] == docs
            out[there] = vectors[order[at[there]]]
        return out

    # -- who is near --------------------------------------------------------------------------------------------

    def search(self, vector: Vector, k: int, allowed: Mask | None = None) -> Found:
        """The k nearest of the documents that `allowed`, a mask by document number, lets through (None: all do).

        Where the index cannot be asked, of the newest MOST_SCANNED of them.
        """
        let = self._let(allowed)
        few = int(np.count_nonzero(let)) <= SCANNED
        found = None if few or self._unsure or k < 1 else self._near(vector, k, let)
        if found is None or len(found) < k:
            found = np.flatnonzero(let)[-MOST_SCANNED:]
        cosines = self.scores_at(vector, found)
        held = self._state[found] == _HELD
        return nearest([(found[held], cosines[held])], k)

    def _let(self, allowed: Mask | None) -> Mask:
        """Which documents are there and let through."""
        if allowed is None:
            return self._cache.live
        let: Mask = self._cache.live.copy()
        let[: len(allowed)] &= allowed[: len(let)]
        let[len(allowed) :] = False
        return let

    def _near(self, vector: Vector, k: int, let: Mask) -> Numbers | None:
        """What the index holds to be near of what is let through, and what it has not got yet; None where it fails."""
        count = min(_WIDEST, int(k * len(let) / np.count_nonzero(let)) + 16)
        while True:
            ids = self._indexing.nearest(vector, count, namespace=self._cache.namespace)
            if ids is None:
                self._unsure = True
                return None
            docs = self._cache.ids.numbers(ids).astype(np.intp)
            docs = docs[docs != NOT_THERE]
            docs = docs[let[docs]]
            if len(docs) >= k or len(ids) < count or count == _WIDEST:
                fresh = np.array(sorted(self._fresh), dtype=np.intp)
                return np.union1d(docs, fresh[let[fresh]])
            count = min(_WIDEST, 4 * count)

    # -- keeping the index in step ------------------------------------------------------------------------------

    def pending(self) -> Work | None:
        """To bring the index up to date, where it is behind and can be reached."""
        waits = self._fresh or self._unsure or self._behind
        return (
            CatchUp(self._cache, self._indexing, frozenset(self._fresh)) if waits and self._indexing.ready() else None
        )

    def adopt(self, work: Work) -> bool:
        """Rely on the index for what was brought to it."""
        if not isinstance(work, CatchUp) or work.reached is None or work.reached < work.seen:
            return False
        self._fresh -= work.docs
        self._unsure, self._behind = False, work.reached < self._cache.seen
        return True

    def sealed(self) -> list[Sealed]:
        """The graphs held: here none."""
        return []

    def load(self, dump: GraphDump) -> None:  # noqa: ARG002 (the protocol has it; graphs are the outside index's own)
        raise SnapshotError("The vectors of this namespace are in an index outside: a saved graph cannot be used.")


class CatchUp:
    """A step: the index brought to where the cache is, and further."""

    def __init__(self, cache: OutsideCache, indexing: Indexing, docs: frozenset[int]) -> None:
        self._namespace, self._indexing = cache.namespace, indexing
        self.docs, self.seen = docs, cache.seen
        self.reached: int | None = None

    def run(self, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Bring it there; False where it cannot be reached, or was stopped."""
        self.reached = self._indexing.catch_up(self._namespace, stopped)
        return self.reached is not None
