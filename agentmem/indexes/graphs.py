"""Graphs of FAISS over rows that stay where they are: building, searching, saving without the vectors.

FAISS builds on a copy; then the graph reads the caller's own rows through a view, so that there is one copy of them,
and zeroing a row there takes it out of the graph's storage too. Nothing can be removed from a graph: its nodes stay,
and hold nothing but the numbers of rows.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from agentmem.errors import SnapshotError
from agentmem.indexes.rows import BLOCK, NONE, Codec, Codes, Docs, Mask, Numbers, Vector
from agentmem.indexes.twins import Twins
from agentmem.interfaces import Matrix

LINKS = 16
"""FAISS's M: a node links to 16 others, to 32 on the lowest level (136 bytes)."""
BUILD_BREADTH = 200
SEARCH_BREADTH = 192
"""efConstruction and efSearch, the least: twice as wide as what is asked for. See "Vector indexes" in
benchmarks/LOG.md."""

_MAGIC = b"agentmem graph\n"
_HEADER = struct.Struct("<HHIII")
_DIGEST = 16
_FORMAT = 1


def _faiss() -> Any:
    """Imported when the first graph is; its stubs lack half of what is used here."""
    import faiss

    return faiss


class Work(Protocol):
    """Something slow that needs no lock."""

    def run(self, stopped: Callable[[], bool] = ...) -> bool:
        """Do it; False where `stopped`, asked several times a second, said so first."""


class Graph:
    """An HNSW graph (Malkov & Yashunin 2018) over the first rows of a segment.

    Every row is a node, but those that were empty and those that repeat others, `twins`, have no links.
    """

    def __init__(self, index: Any, twins: Twins | None = None) -> None:
        self._index = index
        self.twins = twins or Twins()
        self._storage: Any = None
        self._codes: Codes | None = None

    @property
    def rows(self) -> int:
        return int(self._index.ntotal)

    def attach(self, codes: Codes, codec: Codec) -> None:
        """Read these rows, shape (at least `rows`, dimension), from now on. They must stay where they are."""
        faiss = _faiss()
        storage = codec.storage(codes.shape[1])
        flat = codes.view(np.uint8).reshape(-1)
        nobody = faiss.MaybeOwnedVectorUInt8().owner
        storage.codes = faiss.MaybeOwnedVectorUInt8.create_view(faiss.swig_ptr(flat), flat.size, nobody)
        storage.ntotal = len(codes)
        self._read(storage)
        self._codes = codes  # the view does not keep them alive

    def _read(self, storage: Any) -> None:
        self._index.own_fields = False
        self._index.storage = storage
        storage.this.own(True)  # assigning it gave it away, to an index that has just been told not to free it
        self._storage = storage

    def search(self, vector: Vector, count: int, breadth: int = SEARCH_BREADTH) -> tuple[Numbers, Vector]:
        """About the `count` nearest rows, nearest first; rows that hold nothing among them."""
        asked = _faiss().SearchParametersHNSW(efSearch=max(2 * count, breadth))
        cosines, rows = self._index.search(vector[None], count, params=asked)
        found = rows[0] != NONE
        return rows[0][found].astype(np.intp), cosines[0][found]

    def pack(self) -> bytes:
        """FAISS's own form of the graph, without the vectors."""
        faiss = _faiss()
        writer = faiss.VectorIOWriter()
        faiss.write_index(self._index, writer, faiss.IO_FLAG_SKIP_STORAGE)
        return bytes(faiss.vector_to_array(writer.data))

    @classmethod
    def unpack(cls, packed: bytes, twins: Twins) -> Graph:
        faiss = _faiss()
        reader = faiss.VectorIOReader()
        faiss.copy_array_to_vector(np.frombuffer(packed, dtype=np.uint8), reader.data)
        return cls(faiss.read_index(reader), twins)

    def damaged(self, dimension: int, rows: int) -> bool:
        """Whether it is another graph than one over so many rows, or leads out of them."""
        faiss = _faiss()
        if not isinstance(self._index, faiss.IndexHNSWFlat) or self._index.d != dimension or self.rows != rows:
            return True
        links = faiss.vector_to_array(self._index.hnsw.neighbors)
        named = np.concatenate([links, self.twins.rows, self.twins.originals])
        inside = len(named) == 0 or (named.min() >= NONE and named.max() < rows)
        return not inside or not NONE < self._index.hnsw.entry_point < rows

    @classmethod
    def build(
        cls,
        base: Graph | None,
        held: Codes,
        added: Iterable[tuple[Codes, Mask]],
        rows: int,
        codec: Codec,
        stopped: Callable[[], bool],
    ) -> Graph | None:
        """A new graph: `base`, over the rows `held`, extended to `rows`; None where it was stopped. On one thread.

        The rows are copied, and come with a mask of those that get links. `base` stays as it is.
        """
        faiss = _faiss()
        base = base or _blank(held.shape[1])
        graph = cls.unpack(base.pack(), base.twins)  # a copy without storage
        storage = codec.storage(held.shape[1])
        storage.codes.resize(rows * storage.code_size)  # reserved at once: growing would copy
        for start in range(0, len(held), BLOCK):
            storage.add(codec.decode(held[start : start + BLOCK]))
        graph._read(storage)
        graph._index.hnsw.rng = faiss.RandomGenerator(len(held) + 1)  # a fresh one would draw the same levels again
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # of this thread alone; others have questions to answer
        try:
            for codes, linked in added:
                if stopped():
                    return None
                graph._extend(codec.decode(codes), linked)
        finally:
            faiss.omp_set_num_threads(threads)
        return graph

    def _extend(self, vectors: Matrix, linked: Mask) -> None:
        """Add rows in runs of those that get links and those that don't."""
        bounds = np.flatnonzero(np.diff(linked)) + 1
        for start, stop in pairwise([0, *bounds.tolist(), len(linked)]):
            if linked[start]:
                self._index.add(vectors[start:stop])
            else:
                self._storage.add(vectors[start:stop])
                self._index.hnsw.prepare_level_tab(stop - start)
                self._index.ntotal = self._storage.ntotal


def _blank(dimension: int) -> Graph:
    faiss = _faiss()
    index = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_BREADTH
    return Graph(index)


@dataclass(frozen=True, slots=True)
class GraphDump:
    """A graph that was saved, checked as far as it can be without its vectors."""

    graph: Graph
    dimension: int
    docs: Docs
    """The document of each of the graph's rows, NONE for those that held nothing; shape (rows,)."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A graph as it is now: `dump` needs no lock."""

    version: int
    """Another number, larger than all before, for every graph that was ever adopted or loaded."""
    dimension: int
    docs: Docs
    graph: Graph

    def dump(self) -> bytes:
        """Header, documents, twins, FAISS's graph, digest: no vector, and no document that was forgotten."""
        twins = self.graph.twins
        header = _MAGIC + _HEADER.pack(_FORMAT, LINKS, self.dimension, len(self.docs), len(twins))
        numbers = np.concatenate([self.docs, twins.originals, twins.rows]).astype("<i4")
        body = header + numbers.tobytes() + self.graph.pack()
        return body + _digest(body)


def read_dump(blob: bytes) -> GraphDump:
    """What `Sealed.dump` wrote. Raises SnapshotError for anything else, and for damage."""
    start = len(_MAGIC) + _HEADER.size
    if not blob.startswith(_MAGIC) or len(blob) < start + _DIGEST:
        raise SnapshotError("This is no saved graph; it is built anew from the vectors.")
    form, links, dimension, rows, repeated = _HEADER.unpack_from(blob, len(_MAGIC))
    body, digest = blob[:-_DIGEST], blob[-_DIGEST:]
    if (form, links) != (_FORMAT, LINKS):
        raise SnapshotError(f"A graph saved in form {form} with {links} links is not read; it is built anew.")
    if _digest(body) != digest:
        raise SnapshotError("The saved graph is damaged; it is built anew from the vectors.")
    numbers = np.frombuffer(body, dtype="<i4", count=rows + 2 * repeated, offset=start)
    originals, twins = numbers[rows:].reshape(2, repeated).astype(np.intp)
    try:
        graph = Graph.unpack(body[start + numbers.nbytes :], Twins(originals, twins))
    except RuntimeError as error:
        raise SnapshotError("This FAISS cannot read the saved graph; it is built anew from the vectors.") from error
    if graph.damaged(dimension, rows):
        raise SnapshotError("The saved graph is not what its header says; it is built anew from the vectors.")
    return GraphDump(graph, dimension, numbers[:rows].astype(np.int32))


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
