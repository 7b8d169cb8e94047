"""Rows in RAM, each once. A scan, a graph and a hash all read these same rows.

Rows are written in the order in which vectors come, whatever their documents' numbers, and zeroed when their document
is forgotten or gets another vector.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agentmem.blas import single_threaded
from agentmem.indexes.graphs import Graph
from agentmem.indexes.rows import BLOCK, NONE, Codec, Codes, Docs, Found, Mask, Numbers, Vector

GATHERING = 4
"""A row fetched from anywhere costs as much as so many rows that lie one after the other."""


@dataclass(slots=True)
class Segment:
    """Rows one after the other: the first `used` were written, `alive` of them belong to a document."""

    codes: Codes
    """Shape (capacity, dimension)."""
    codec: Codec
    docs: Docs = field(default_factory=lambda: np.zeros(0, np.int32))
    """The document of each row, NONE where there is none; shape (capacity,)."""
    used: int = 0
    alive: int = 0
    lowest: int = np.iinfo(np.int32).max
    highest: int = NONE
    """Bounds of the documents' numbers that were ever here."""
    graph: Graph | None = None
    """Over the first rows."""
    version: int = 0
    """Of the graph."""
    frozen: int = 0
    """The first rows, those of the graph and those it is being extended by: given to no other vector."""

    @classmethod
    def empty(cls, dimension: int, codec: Codec) -> Segment:
        return cls(np.zeros((0, dimension), dtype=codec.dtype), codec)

    @classmethod
    def of(cls, docs: Docs, codes: Codes, codec: Codec) -> Segment:
        """A segment that holds these rows; `docs` has NONE where a row holds nothing."""
        alive = docs[docs != NONE]
        made = cls(codes, codec, docs, used=len(docs), alive=len(alive))
        made._widen(alive)
        return made

    @property
    def held(self) -> Docs:
        """The documents of the rows written, shape (used,)."""
        return self.docs[: self.used]

    @property
    def linked(self) -> int:
        """The first rows, which the graph covers; the others are scanned."""
        return 0 if self.graph is None else self.graph.rows

    @property
    def linked_empty(self) -> int:
        """Rows of the graph that hold nothing any more."""
        return int(np.count_nonzero(self.docs[: self.linked] == NONE))

    def append(self, docs: Docs, codes: Codes, most: int) -> None:
        """Write rows; the capacity grows by doubling, up to `most`."""
        stop = self.used + len(docs)
        if stop > len(self.docs):
            self._grow(min(most, max(stop, 2 * len(self.docs), 16)))
        self.codes[self.used : stop], self.docs[self.used : stop] = codes, docs
        self.used = stop
        self.alive += len(docs)
        self._widen(docs)

    def _widen(self, docs: Docs) -> None:
        if len(docs):
            self.lowest, self.highest = min(self.lowest, int(docs.min())), max(self.highest, int(docs.max()))

    def _grow(self, capacity: int) -> None:
        codes = np.zeros((capacity, self.codes.shape[1]), dtype=self.codes.dtype)
        codes[: self.used] = self.codes[: self.used]
        docs = np.full(capacity, NONE, dtype=np.int32)
        docs[: self.used] = self.held
        self.codes, self.docs = codes, docs
        if self.graph is not None:
            self.graph.attach(codes, self.codec)

    def link(self, graph: Graph, version: int) -> None:
        """Search the first rows through a graph from now on."""
        graph.attach(self.codes, self.codec)
        self.graph, self.version, self.frozen = graph, version, max(self.frozen, graph.rows)

    def vacate(self, rows: Numbers) -> None:
        """Zero rows that belong to documents."""
        self.codes[rows] = 0
        self.docs[rows] = NONE
        self.alive -= len(rows)

    def move(self, row: int, to: int) -> None:
        """A document with its vector from one row to another; the first is empty then."""
        self.codes[to], self.docs[to] = self.codes[row], self.docs[row]
        self.codes[row], self.docs[row] = 0, NONE

    def wanted(self, start: int, stop: int, allowed: Mask | None) -> Mask:
        """Which of these rows hold a document that is let through, shape (stop - start,)."""
        docs = self.docs[start:stop]
        held: Mask = docs != NONE
        return held if allowed is None else held & allowed[docs]

    def exact(self, start: int, stop: int, vector: Vector, allowed: Mask | None) -> Found:
        """All documents of these rows that are let through, and their cosines."""
        wanted = self.wanted(start, stop, allowed)
        rows = np.flatnonzero(wanted) + start
        docs = self.docs[rows].astype(np.intp)
        with single_threaded():
            if GATHERING * len(rows) < stop - start:
                return docs, self.gather(rows, vector)
            return docs, self.codec.products(self.codes[start:stop], vector)[wanted]

    def gather(self, rows: Numbers, vector: Vector) -> Vector:
        """Inner products of some rows with a vector, shape (rows,)."""
        out = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            out[part] = self.codec.products(self.codes[rows[part]], vector)
        return out
