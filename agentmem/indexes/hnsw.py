"""Approximate dense search: a graph of FAISS for every segment of rows, an exact scan of what no graph covers yet.

Graphs are built step by step behind the answers (`pending`, `run` without the lock, `adopt`). A forgotten document's
row is zeroed at once and its node stays, empty; a segment with too many empty nodes is built anew without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from agentmem.blas import single_threaded
from agentmem.errors import SnapshotError
from agentmem.indexes.flat import SEGMENT, FlatIndex, nearest
from agentmem.indexes.graphs import SEARCH_BREADTH, Graph, GraphDump, Sealed, Work
from agentmem.indexes.rows import BLOCK, NONE, Codes, Docs, Found, Mask, Numbers, Vector
from agentmem.indexes.segments import Segment

STEP = 1024
"""Rows that wait for a graph are scanned; so many are worth a step (0.02 ms of scanning)."""
LONGEST_STEP = 8192
"""Rows a step takes at most: about two seconds' work."""
EMPTY_SHARE = 0.2
"""A graph with more empty nodes than this is built anew."""
_ROWS_PER_ANSWER = 16
"""One more answer of a graph costs as much as so many rows scanned."""
_SURE = 0.5
"""The share of a graph's answers, the nearest ones, among which hardly any is missed."""


class HnswIndex(FlatIndex):
    """Nearly exact: recall@10 above 0.99 where `benchmarks/indexes.py` measures it.

    Exact while fewer than `exact_below` vectors are held, for filters that let little through, and for what no graph
    covers yet.
    """

    def __init__(
        self, *, compressed: bool = False, segment: int = SEGMENT, step: int = STEP, exact_below: int = 0
    ) -> None:
        super().__init__(compressed=compressed, segment=segment)
        self._step = step
        self._exact_below = exact_below
        self._version = 0

    def search(self, vector: Vector, k: int, allowed: Mask | None = None) -> Found:
        """As `FlatIndex.search`, but that a graph may miss one of the nearest."""
        fronts = [_Front(segment, vector) for segment in self._segments if segment.graph]
        narrow = allowed is not None and np.count_nonzero(allowed) <= _ROWS_PER_ANSWER * SEARCH_BREADTH
        if not fronts or narrow or k < 1:
            return super().search(vector, k, allowed)
        wide = None if allowed is None else self._let(allowed)
        with single_threaded():
            rest = [nearest([s.exact(s.linked, s.used, vector, wide)], k) for s in self._segments]
            for front in fronts:
                front.start(k, len(self), wide)
            while True:
                found = nearest([*rest, *(front.found for front in fronts)], k)
                limit = float(found[1][-1]) if len(found[1]) == k else -np.inf
                short = [front for front in fronts if front.bound > limit]
                if not short:
                    return found
                for front in short:
                    front.ask(4 * front.count)

    def pending(self) -> Work | None:
        """The next step of building, or None. Run one at a time; one that is not adopted is lost, and offered again."""
        if len(self) < self._exact_below:
            return None
        for segment in self._segments:
            if segment.linked_empty > EMPTY_SHARE * segment.linked:
                return Build(segment, np.flatnonzero(segment.held != NONE))
        for number, segment in enumerate(self._segments):
            waiting = segment.used - segment.linked
            full = number < len(self._segments) - 1 or segment.used == self._most
            if waiting >= self._step or (full and waiting):
                return Build(segment)
        return None

    def adopt(self, work: Work) -> bool:
        """Search through what was built. False where that came to nothing, or its segment is gone or has another."""
        if not isinstance(work, Build) or work.graph is None or work.segment.graph is not work.base:
            return False
        numbers = [number for number, segment in enumerate(self._segments) if segment is work.segment]
        for number in numbers:
            if work.kept is not None:
                self._close_holes(number, np.concatenate([work.kept, np.arange(work.stop, work.segment.used)]))
            self._version += 1
            self._segments[number].link(work.graph, self._version)
        return bool(numbers)

    def _close_holes(self, number: int, rows: Numbers) -> None:
        """Keep only these rows of a segment, in this order."""
        old = self._segments[number]
        self._segments[number] = Segment.of(old.docs[rows], old.codes[rows], old.codec)
        self._place(number)

    def _place(self, number: int) -> None:
        """Note where the documents of a new segment are."""
        docs = self._segments[number].held
        rows = np.flatnonzero(docs != NONE)
        self._slots[docs[rows]] = number * self._most + rows

    def sealed(self) -> list[Sealed]:
        """The graphs held, each as it is now, ready to be saved without the lock."""
        return [
            Sealed(segment.version, self.dimension, segment.docs[: segment.linked].copy(), segment.graph)
            for segment in self._segments
            if segment.graph
        ]

    def load(self, dump: GraphDump) -> None:
        """Take over a saved graph over vectors that were set before.

        `dump.docs` may be renumbered first; documents that have no vector now stay out. Raises SnapshotError, and
        changes nothing, where the graph was built over other vectors or does not fit this index.
        """
        named = dump.docs[dump.docs != NONE]
        if dump.dimension != self.dimension or len(dump.docs) > self._most or len(np.unique(named)) < len(named):
            raise SnapshotError("The saved graph is over other dimensions or rows than this index; it is built anew.")
        slots = np.where(dump.docs == NONE, np.int32(NONE), self._slots_of(dump.docs.astype(np.intp)))
        made = self._gathered(np.where(slots == NONE, np.int32(NONE), dump.docs), slots)
        made.link(dump.graph, self._version + 1)
        if not _fits(made):
            raise SnapshotError("The saved graph was built over other vectors; it is built anew.")
        self._drop(made.held[made.held != NONE].astype(np.intp))
        if self._segments and not self._segments[-1].used:
            self._segments.pop()
        self._segments.append(made)
        self._place(len(self._segments) - 1)
        self._version += 1

    def _gathered(self, docs: Docs, slots: Docs) -> Segment:
        """A segment with copies of the rows at these slots."""
        codes = np.zeros((len(docs), self.dimension), dtype=self._codec.dtype)
        for number, rows, at in self._places(slots):
            codes[at] = self._segments[number].codes[rows]
        return Segment.of(docs, codes, self._codec)


class Build:
    """A step: a segment's graph extended by the rows that wait, or built anew over the rows `kept`."""

    def __init__(self, segment: Segment, kept: Numbers | None = None) -> None:
        self.segment, self.kept = segment, kept
        self.base = segment.graph
        self.graph: Graph | None = None
        self.stop = segment.used if kept is not None else min(segment.used, segment.linked + LONGEST_STEP)
        segment.frozen = max(segment.frozen, self.stop)
        # Growing puts other arrays in their places; these are only ever zeroed, which a graph bears.
        self._codes = segment.codes

    def run(self, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Build; takes seconds, on one thread. False where `stopped`, asked every tenth of a second, said so first."""
        extends = self.base if self.kept is None else None
        held = self._codes[: extends.rows if extends else 0]
        self.graph = Graph.build(extends, held, self._added(), self.segment.codec, stopped)
        return self.graph is not None

    def _added(self) -> Iterator[Codes]:
        if self.kept is None:
            start = self.segment.linked if self.base else 0
            bounds = range(start, self.stop, BLOCK)
            return (self._codes[at : min(at + BLOCK, self.stop)] for at in bounds)
        kept = self.kept
        return (self._codes[kept[at : at + BLOCK]] for at in range(0, len(kept), BLOCK))


class _Front:
    """What one segment's graph has answered so far: all nearer than `bound` is among `found`."""

    def __init__(self, segment: Segment, vector: Vector) -> None:
        self._segment, self._vector = segment, vector
        self._allowed: Mask | None = None
        self._likely = segment.linked

    def start(self, k: int, total: int, allowed: Mask | None) -> None:
        """Ask for this segment's part of the k nearest among `total` vectors, and for twice as many to be sure."""
        segment = self._segment
        share = 1.0
        if allowed is not None:
            self._allowed = allowed
            share = float(allowed[segment.lowest : segment.highest + 1].mean())
            self._likely = int(share * segment.linked)
        expected = k * segment.alive / total
        wanted = (expected + 3 * expected**0.5) / _SURE
        self.ask(max(SEARCH_BREADTH, int(wanted / max(share, 1e-6))))

    def ask(self, count: int) -> None:
        """Let the graph answer with so many rows; scan instead where that is as quick, or it fails."""
        self.count = count
        assert self._segment.graph
        if count * _ROWS_PER_ANSWER < self._likely:
            rows, cosines = self._segment.graph.search(self._vector, count)
            if len(rows) == count:
                self._take(rows, cosines)
                return
        self.bound = -np.inf
        self.found = self._segment.exact(0, self._segment.linked, self._vector, self._allowed)

    def _take(self, rows: Numbers, cosines: Vector) -> None:
        self.bound = float(cosines[int(_SURE * self.count) - 1])
        docs = self._segment.docs[rows]
        let = docs != NONE if self._allowed is None else (docs != NONE) & self._allowed[docs]
        self.found = docs[let].astype(np.intp), cosines[let]


def _fits(segment: Segment) -> bool:
    """Whether a search for a row's vector finds it: nearly always in a graph over these rows, else hardly ever."""
    assert segment.graph
    alive = np.flatnonzero(segment.held != NONE)
    asked = alive[:: max(1, len(alive) // 32)]
    found = 0
    for row in asked:
        vector = segment.codec.decode(segment.codes[row : row + 1])[0]
        found += int(row) in segment.graph.search(vector, min(segment.linked, 64))[0]
    return len(alive) > 0 and found >= 0.75 * len(asked)
