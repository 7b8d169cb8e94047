"""Approximate dense search: a graph of FAISS for every segment of rows, an exact scan of what no graph covers yet.

Graphs are built step by step behind the answers (`pending`, `run` without the lock, `adopt`). A forgotten document's
row is zeroed at once and its node stays, empty; a segment with too many empty nodes is built anew without them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agentmem.errors import SnapshotError
from agentmem.indexes.flat import SEGMENT, FlatIndex, nearest
from agentmem.indexes.graphs import Graph, GraphDump, Sealed, Work
from agentmem.indexes.rows import BLOCK, NONE, Docs, Found, Mask, Numbers, Vector
from agentmem.indexes.segments import Segment
from agentmem.indexes.twins import twins_among

STEP = 1024
"""Rows that wait for a graph are scanned; so many are worth a step (0.02 ms of scanning)."""
LONGEST_STEP = 8192
"""Rows a step takes at most: about two seconds' work."""
EMPTY_SHARE = 0.2
"""A graph with more empty nodes than this is built anew."""
_ROWS_PER_ANSWER = 32
"""One more answer of a graph costs as much as so many rows scanned."""
_SCANNED = 2048
"""So few documents are scanned without asking any graph."""
_FEWEST = 16
"""Rows to ask a graph for at least: more cost nothing."""


class HnswIndex(FlatIndex):
    """Nearly exact: recall@10 above 0.99 over float32 rows, 0.98 compressed, less while nodes are empty.

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
        fronts = [_Front(segment, segment.graph, vector) for segment in self._segments if segment.graph]
        narrow = allowed is not None and np.count_nonzero(allowed) <= _SCANNED
        if not fronts or narrow or k < 1:
            return super().search(vector, k, allowed)
        wide = None if allowed is None else self._let(allowed)
        rest = [s.exact(s.linked, s.used, vector, wide) for s in self._segments if s.used > s.linked]
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
            self._link(number, work.graph)
        return bool(numbers)

    def _link(self, number: int, graph: Graph) -> None:
        """Search a segment through a graph; what was cleared while that was built leaves its place to a twin."""
        self._version += 1
        self._segments[number].link(graph, self._version)
        self._inherit(number, np.unique(graph.twins.originals))

    def _drop(self, docs: Numbers) -> None:
        left = [(number, rows, self._segments[number]) for number, rows, _ in self._places(self._slots[docs])]
        super()._drop(docs)
        for number, rows, segment in left:
            if segment is self._segments[number] and segment.graph and len(segment.graph.twins):
                self._inherit(number, rows)

    def _inherit(self, number: int, rows: Numbers) -> None:
        """Into each of these rows that is empty moves a living twin: the graph leads to this row, not to the twin's."""
        segment = self._segments[number]
        assert segment.graph
        for row in rows[segment.docs[rows] == NONE]:
            twins = segment.graph.twins.of(row[None])
            for twin in twins[segment.docs[twins] != NONE][:1]:
                segment.move(twin, row)
                self._slots[segment.docs[row]] = number * self._most + row

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
        number = self._in_place(slots)
        docs = np.where(slots == NONE, np.int32(NONE), dump.docs)
        segment = self._gathered(docs, slots) if number is None else self._segments[number]
        dump.graph.attach(segment.codes, self._codec)
        if not _fits(segment, dump.graph):
            raise SnapshotError("The saved graph was built over other vectors; it is built anew.")
        self._link(self._moved_in(segment) if number is None else number, dump.graph)

    def _in_place(self, slots: Docs) -> int | None:
        """The segment without a graph that has these slots at its beginning; None where they lie otherwise."""
        first = int(slots[0]) if len(slots) else NONE
        number, row = divmod(first, self._most)
        lie = first != NONE and row == 0 and bool(np.all(slots == first + np.arange(len(slots))))
        return number if lie and self._segments[number].graph is None else None

    def _moved_in(self, segment: Segment) -> int:
        """Number of a new segment, whose documents are held no more where they were."""
        self._drop(segment.held[segment.held != NONE].astype(np.intp))
        if self._segments and not self._segments[-1].used:
            self._segments.pop()
        self._segments.append(segment)
        self._place(len(self._segments) - 1)
        return len(self._segments) - 1

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
        # Growing puts other arrays in their places; of these, rows are only ever zeroed or equal ones put in.
        self._codes = segment.codes
        self._rows = np.arange(self.stop) if kept is None else kept
        self._linked = segment.docs[self._rows] != NONE

    def run(self, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Build; takes seconds, on one thread. False where `stopped`, asked every tenth of a second, said so first."""
        base = self.base if self.kept is None else None
        start = base.rows if base else 0
        linked = self._linked.copy()
        if base:
            linked[base.twins.rows] = False
        twins = twins_among(self._codes, self._rows, self.segment.codec, start, linked)
        linked[twins.rows] = False
        parts = (slice(at, at + BLOCK) for at in range(start, len(self._rows), BLOCK))
        added = ((self._codes[self._rows[part]], linked[part]) for part in parts)
        self.graph = Graph.build(base, self._codes[:start], added, len(self._rows), self.segment.codec, stopped)
        if self.graph:
            self.graph.twins = self.graph.twins.joined(twins)
        return self.graph is not None


class _Front:
    """What one segment's graph has answered so far: all nearer than `bound` is among `found`."""

    def __init__(self, segment: Segment, graph: Graph, vector: Vector) -> None:
        self._segment, self._graph, self._vector = segment, graph, vector
        self._allowed: Mask | None = None
        self._likely = segment.linked
        self.bound = -np.inf
        self.found: Found = np.zeros(0, np.intp), np.zeros(0, np.float32)

    def start(self, k: int, total: int, allowed: Mask | None) -> None:
        """Ask for this segment's part of the k nearest among `total` vectors, and for what chance may add to it."""
        segment = self._segment
        share = 1.0
        if allowed is not None:
            self._allowed = allowed
            between = allowed[segment.lowest : segment.highest + 1]
            share = np.count_nonzero(between) / len(between)
            self._likely = int(share * segment.linked)
        expected = k * segment.alive / total
        if share:
            self.ask(max(_FEWEST, int((expected + 3 * expected**0.5) / share)))

    def ask(self, count: int) -> None:
        """Let the graph answer with so many rows; scan instead where that is as quick, or it fails."""
        self.count = count
        if count * _ROWS_PER_ANSWER < self._likely:
            rows, cosines = self._graph.search(self._vector, count)
            if len(rows) == count:
                self._take(rows, cosines)
                return
        self.bound = -np.inf
        self.found = self._segment.exact(0, self._segment.linked, self._vector, self._allowed)

    def _take(self, rows: Numbers, cosines: Vector) -> None:
        self.bound = float(cosines[-1])
        if len(self._graph.twins):
            twins = self._graph.twins.of(rows)
            rows = np.concatenate([rows, twins])
            cosines = np.concatenate([cosines, self._segment.gather(twins, self._vector)])
        docs = self._segment.docs[rows]
        let = docs != NONE if self._allowed is None else (docs != NONE) & self._allowed[docs]
        self.found = docs[let].astype(np.intp), cosines[let]


def _fits(segment: Segment, graph: Graph) -> bool:
    """Whether a search for a row's vector finds it: nearly always in a graph over these rows, else hardly ever."""
    alive = np.flatnonzero(segment.docs[: graph.rows] != NONE)
    asked = alive[:: max(1, len(alive) // 32)]
    found = 0
    for row in asked:
        vector = segment.codec.decode(segment.codes[row : row + 1])[0]
        best = graph.search(vector, 1, breadth=16)[1]  # a broad one finds it in any graph
        found += len(best) > 0 and bool(best[0] > segment.gather(row[None], vector)[0] - 1e-3)
    return len(alive) > 0 and found >= 0.75 * len(asked)
