"""Exact dense search in RAM over the vectors of one namespace."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agentmem.blas import single_threaded
from agentmem.errors import SnapshotError
from agentmem.indexes.graphs import GraphDump, Sealed, Work
from agentmem.indexes.rows import NONE, Bytes, Codec, Codes, Docs, Float32, Found, Mask, Numbers, Vector
from agentmem.indexes.segments import GATHERING, Segment
from agentmem.interfaces import Matrix

SEGMENT = 131_072
"""Rows of a segment: what a graph is built, rebuilt and saved for."""


class FlatIndex:
    """Unit vectors by document number; documents not embedded yet have none. Not thread-safe: its cache locks.

    `compressed` holds a vector in one byte a component: a quarter of the memory, cosines off by about 0.001.
    """

    def __init__(self, *, compressed: bool = False, segment: int = SEGMENT) -> None:
        self._compressed = compressed
        self._most = segment
        self._drop_all(0, Float32())

    def _drop_all(self, dimension: int, codec: Codec) -> None:
        self._dimension, self._codec = dimension, codec
        self._segments: list[Segment] = []
        # Where each document's row is: number of the segment * rows a segment has at most + number of the row.
        self._slots = np.zeros(0, dtype=np.int32)

    @property
    def dimension(self) -> int:
        """Of the vectors held, 0 before the first."""
        return self._dimension

    def __len__(self) -> int:
        return sum(segment.alive for segment in self._segments)

    def holds(self, doc: int) -> bool:
        return doc < len(self._slots) and bool(self._slots[doc] != NONE)

    def present(self, size: int) -> Mask:
        """Which of the documents 0 … size - 1 have a vector, shape (size,)."""
        out = np.zeros(size, dtype=np.bool_)
        out[: len(self._slots)] = self._slots[:size] != NONE
        return out

    def set(self, docs: Numbers, vectors: Matrix) -> None:
        """Set the vectors of documents, shapes (n,) and (n, dimension). Another dimension drops all that was held."""
        if len(docs) == 0:
            return
        if vectors.shape[1] != self._dimension:
            self._drop_all(int(vectors.shape[1]), Bytes(vectors) if self._compressed else Float32())
        docs, vectors = last_of_each(docs, vectors)
        self._cover(int(docs.max()) + 1)
        codes = self._codec.encode(vectors)
        for at in np.flatnonzero(self._slots[docs] != NONE):
            self._put(int(docs[at]), codes[at])
        fresh = self._slots[docs] == NONE
        self._append(docs[fresh].astype(np.int32), codes if fresh.all() else codes[fresh])

    def _cover(self, size: int) -> None:
        if size > len(self._slots):
            grown = np.full(max(size, 2 * len(self._slots), 16), NONE, dtype=np.int32)
            grown[: len(self._slots)] = self._slots
            self._slots = grown

    def _put(self, doc: int, code: Codes) -> None:
        """Another vector for a document that has one: in its row, or nowhere where a graph knows the row."""
        number, row = divmod(int(self._slots[doc]), self._most)
        if row < self._segments[number].frozen:
            self.clear(doc)
        else:
            self._segments[number].codes[row] = code

    def _append(self, docs: Docs, codes: Codes) -> None:
        start = 0
        while start < len(docs):
            if not self._segments or self._segments[-1].used == self._most:
                self._segments.append(Segment.empty(self._dimension, self._codec))
            last = self._segments[-1]
            stop = min(len(docs), start + self._most - last.used)
            first = (len(self._segments) - 1) * self._most + last.used
            self._slots[docs[start:stop]] = np.arange(first, first + stop - start)
            last.append(docs[start:stop], codes[start:stop], self._most)
            start = stop

    def clear(self, doc: int) -> None:
        """Zero a document's vector; it is found no more."""
        if self.holds(doc):
            self._drop(np.array([doc], dtype=np.intp))

    def _drop(self, docs: Numbers) -> None:
        """Zero the vectors of documents that have one. A segment that holds nothing more gives its memory back."""
        for number, rows, _ in self._places(self._slots[docs]):
            if len(rows) == self._segments[number].alive:
                self._segments[number] = Segment.empty(self._dimension, self._codec)
            else:
                self._segments[number].vacate(rows)
        self._slots[docs] = NONE

    def _places(self, slots: Docs) -> Iterator[tuple[int, Numbers, Numbers]]:
        """Slots by segment: its number, the rows, and where in `slots` they stand. NONE is passed over."""
        numbers = np.where(slots == NONE, NONE, slots // self._most)
        for number in np.unique(numbers[numbers != NONE]):
            at = np.flatnonzero(numbers == number)
            yield int(number), slots[at].astype(np.intp) - int(number) * self._most, at

    def _slots_of(self, docs: Numbers) -> Docs:
        """The slots of documents, NONE for those without a vector."""
        out = np.full(len(docs), NONE, dtype=np.int32)
        known = docs < len(self._slots)
        out[known] = self._slots[docs[known]]
        return out

    def scores(self, vector: Vector, size: int) -> Vector:
        """Cosines of the documents 0 … size - 1 with a unit vector, shape (dimension,); 0 where there is no vector."""
        out = np.zeros(max(size, len(self._slots)), dtype=np.float32)
        with single_threaded():
            for segment in self._segments:
                docs, found = segment.exact(0, segment.used, vector, None)
                out[docs] = found
        return out[:size]

    def scores_at(self, vector: Vector, docs: Numbers) -> Vector:
        """Cosines of some documents with a unit vector, shape (docs,); 0 where there is no vector."""
        out = np.zeros(len(docs), dtype=np.float32)
        with single_threaded():
            for number, rows, at in self._places(self._slots_of(docs)):
                out[at] = self._segments[number].gather(rows, vector)
        return out

    def vectors_at(self, docs: Numbers) -> Matrix:
        """The vectors of some documents, shape (docs, dimension); zeros where there is none."""
        out = np.zeros((len(docs), self._dimension), dtype=np.float32)
        for number, rows, at in self._places(self._slots_of(docs)):
            out[at] = self._codec.decode(self._segments[number].codes[rows])
        return out

    def search(self, vector: Vector, k: int, allowed: Mask | None = None) -> Found:
        """The k nearest of the documents that `allowed`, a mask by document number, lets through (None: all do).

        Numbers and cosines, nearest first; fewer only where fewer have a vector.
        """
        if allowed is not None and GATHERING * np.count_nonzero(allowed) < len(self):
            return self._nearest_of(vector, k, np.flatnonzero(allowed))
        wide = None if allowed is None else self._let(allowed)
        with single_threaded():
            found = [nearest([s.exact(0, s.used, vector, wide)], k) for s in self._segments]
        return nearest(found, k)

    def _nearest_of(self, vector: Vector, k: int, docs: Numbers) -> Found:
        docs = docs[self._slots_of(docs) != NONE]
        return nearest([(docs, self.scores_at(vector, docs))], k)

    def _let(self, allowed: Mask) -> Mask:
        """The mask, long enough for every document held."""
        missing = len(self._slots) - len(allowed)
        return allowed if missing <= 0 else np.concatenate([allowed, np.zeros(missing, dtype=np.bool_)])

    def pending(self) -> Work | None:
        """What can be built without the lock, and then given to `adopt`: here nothing."""
        return None

    def adopt(self, work: Work) -> bool:  # noqa: ARG002 (the protocol has it; a scan builds nothing)
        """Take over what was built; False where it does not fit any more."""
        return False

    def sealed(self) -> list[Sealed]:
        """The graphs held, ready to be saved: here none."""
        return []

    def load(self, dump: GraphDump) -> None:  # noqa: ARG002 (the protocol has it; a scan has no graph)
        """Take over a saved graph over vectors that were set before. Raises SnapshotError where it does not fit."""
        raise SnapshotError("This index has no graphs: a saved one cannot be used.")


def nearest(found: list[Found], k: int) -> Found:
    """The k nearest of several lists, nearest first, equal ones by number."""
    docs = np.concatenate([np.zeros(0, np.intp), *(numbers for numbers, _ in found)])
    cosines = np.concatenate([np.zeros(0, np.float32), *(values for _, values in found)])
    if len(docs) > k:
        kept = np.argpartition(-cosines, k)[:k] if k > 0 else np.zeros(0, np.intp)
        docs, cosines = docs[kept], cosines[kept]
    order = np.lexsort((docs, -cosines))
    return docs[order], cosines[order]


def last_of_each(docs: Numbers, vectors: Matrix) -> tuple[Numbers, Matrix]:
    """A document given several times keeps its last vector."""
    if np.all(docs[1:] > docs[:-1]):
        return docs, vectors
    _, last = np.unique(docs[::-1], return_index=True)
    kept = np.sort(len(docs) - 1 - last)
    return docs[kept], vectors[kept]
